//! From a group's entry to the key and the name of the organization's group.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::value::Description;
use super::{MappingError, Problem, RuleError, key};
use crate::config::{GroupRule, Source};
use crate::model::{Dn, Entry, ExternalId, fold};

/// The longest name of a group, in characters (the API refuses longer ones).
pub const LONGEST_GROUP_NAME: usize = 255;

/// The compiled naming of one `[[group]]`.
pub struct GroupMapping {
    key: Description,
    name: Description,
    person: Description,
    pattern: regex::Regex,
    template: String,
}

/// What is wrong with a group's entry. Each message names the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupFault {
    /// Its key or its name cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Problem),
    /// It is something else.
    #[error(
        "the entry is no group: none of its object classes that can be read is that of one; correct `filter`, or let the bind DN read `objectClass`"
    )]
    NoGroup,
    /// The attribute with the name has no value.
    #[error("the entry has no `{0}`: check `name_attribute`, and that the bind DN may read it")]
    NoName(String),
    /// Several values give different names.
    #[error(
        "several of its names match, and each makes another name of the group: {0}; correct `match`, or the entry"
    )]
    SeveralNames(String),
    /// The template gives nothing.
    #[error("`match` and `name` make an empty name of `{0}`: correct them")]
    EmptyName(String),
    /// The name is too long.
    #[error(
        "the name `{name}` has {length} characters, and a group's has at most {LONGEST_GROUP_NAME}: shorten it by `match` and `name`"
    )]
    LongName {
        /// The name.
        name: String,
        /// Its length.
        length: usize,
    },
    /// The name holds control characters.
    #[error("the name `{}` holds control characters: correct the entry", .0.escape_debug())]
    OddName(String),
}

/// A group that no group of the organization can be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmappedGroup {
    /// The entry.
    pub dn: String,
    /// Its key, where that at least could be read.
    pub key: Option<ExternalId>,
    /// What is wrong.
    pub why: GroupFault,
}

impl GroupMapping {
    /// Compiles a rule over this source.
    pub fn compile(rule: &GroupRule, source: &Source) -> Result<Self, MappingError> {
        let named = |name: &str, what: &str| {
            Description::named(name).map_err(|source: RuleError| MappingError {
                place: format!("{what} of [[group]]"),
                at: None,
                span: Some(rule.span.clone()),
                source: Box::new(source),
            })
        };
        Ok(GroupMapping {
            key: named(&rule.key, "`key`")?,
            name: named(&rule.name_attribute, "`name_attribute`")?,
            person: named(&source.key, "the source's key")?,
            pattern: rule.pattern.clone(),
            template: rule.name.clone(),
        })
    }

    /// The key of a person who is a member.
    pub fn person(&self, entry: &Entry) -> Option<ExternalId> {
        key::read(entry, &self.person).ok()
    }

    /// The value that the rule matches, and what it makes of it. Of several it is the one in the
    /// entry's RDN; else they must all make the same name.
    fn made<'n>(
        &self,
        entry: &Entry,
        names: &'n [Cow<'_, str>],
    ) -> Result<Option<(&'n str, String)>, GroupFault> {
        let mut all: BTreeMap<&str, String> = BTreeMap::new();
        for name in names {
            if let Some(captures) = self.pattern.captures(name) {
                let mut made = String::new();
                captures.expand(&self.template, &mut made);
                all.insert(name, made);
            }
        }
        let dn = Dn::parse(entry.dn()).ok();
        let in_rdn = dn.as_ref().and_then(|dn| {
            all.keys()
                .copied()
                .find(|name| dn.is_named_by(self.name.name(), name))
        });
        if let Some(found) = in_rdn.and_then(|name| all.remove_entry(name)) {
            return Ok(Some(found));
        }
        let different: BTreeSet<String> = all.values().map(|made| fold(made.trim())).collect();
        match different.len() {
            0 | 1 => Ok(all.pop_first()),
            _ => Err(GroupFault::SeveralNames(
                all.into_keys()
                    .map(|name| format!("`{name}`"))
                    .collect::<Vec<_>>()
                    .join(", "),
            )),
        }
    }

    /// The key and the name; `None` for a group whose name the rule does not match.
    pub fn map(&self, entry: &Entry) -> Result<Option<(ExternalId, String)>, UnmappedGroup> {
        let key = key::read(entry, &self.key);
        let refuse = |why: GroupFault| UnmappedGroup {
            dn: entry.dn().to_owned(),
            key: key.as_ref().ok().cloned(),
            why,
        };
        let names = self.name.all(entry, None);
        let names = names.map_err(|problem| refuse(problem.into()))?;
        if names.is_empty() {
            return Err(refuse(GroupFault::NoName(self.name.name().to_owned())));
        }
        let Some((name, made)) = self.made(entry, &names).map_err(refuse)? else {
            return Ok(None);
        };
        let made = made.trim();
        let length = made.chars().count();
        if made.is_empty() {
            return Err(refuse(GroupFault::EmptyName(name.to_string())));
        }
        if length > LONGEST_GROUP_NAME {
            return Err(refuse(GroupFault::LongName {
                name: made.to_owned(),
                length,
            }));
        }
        if made.chars().any(char::is_control) {
            return Err(refuse(GroupFault::OddName(made.to_owned())));
        }
        match key {
            Ok(key) => Ok(Some((key, made.to_owned()))),
            Err(problem) => Err(UnmappedGroup {
                dn: entry.dn().to_owned(),
                key: None,
                why: problem.into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::config::Config;

    /// A rule with these keys.
    fn mapping(keys: &str) -> GroupMapping {
        let text = format!(
            "[organization]\nid = \"o\"\ndirectory = \"d\"\nscim_key = {{ file = \"k\" }}\n\
             [[source]]\nkind = \"ldif\"\nfile = \"f\"\npreset = \"openldap\"\nbase = \"dc=x\"\n\
             [[group]]\nbase = \"dc=x\"\n{keys}\n"
        );
        let config = Config::parse("config.toml".as_ref(), &text).unwrap();
        GroupMapping::compile(&config.groups[0], &config.sources[0]).unwrap()
    }

    fn entry(names: &[&[u8]], key: Option<&str>) -> Entry {
        let mut entry = Entry::new("cn=g,dc=x");
        for name in names {
            entry.push("cn", name.to_vec());
        }
        if let Some(key) = key {
            entry.push("entryUUID", key.as_bytes().to_vec());
        }
        entry
    }

    #[test]
    fn a_name_is_made_by_pattern_and_template() {
        let long = "ä".repeat(255);
        let template = "match = \"a-(?<team>.*)-(b|c)\"\nname = \"${team} $2$$\"";
        for (keys, name, expected) in [
            ("", "dev", Some("dev")),
            ("", " dev ", Some("dev")),
            ("", &long, Some(long.as_str())),
            (template, "a-x-y-b", Some("x-y b$")),
            (template, "a-x-d", None),
            // As a whole.
            ("match = \"a|b\"", "ab", None),
            ("match = \"a|b\"", "b", Some("b")),
            ("match = \"(?i)DEV\"", "dev", Some("dev")),
            ("match = \"a\"", "a\n", None),
        ] {
            let mapped = mapping(keys)
                .map(&entry(&[name.as_bytes()], Some("k")))
                .unwrap();
            let found = mapped.map(|(key, name)| {
                assert_eq!(key.as_str(), "k");
                name
            });
            assert_eq!(found.as_deref(), expected, "{keys} {name:?}");
        }
    }

    #[test]
    fn of_several_names_it_is_the_one_in_the_rdn_or_they_make_the_same() {
        let one = "match = \"(?i)(a|b)-.*\"\nname = \"$1\"";
        for (keys, names, expected) in [
            // The entry is `cn=g`.
            ("", ["a", "g"], Ok(Some("g"))),
            ("", ["A, b", "G "], Ok(Some("G"))),
            // The smallest does not match, or the one in the RDN.
            ("match = \"b\"", ["a", "b"], Ok(Some("b"))),
            (one, ["g", "b-1"], Ok(Some("b"))),
            (one, ["b-2", "B-1"], Ok(Some("B"))),
            (one, ["g", "z"], Ok(None)),
            (one, ["b-1", "a-1"], Err("`a-1`, `b-1`")),
            ("", ["b", "a"], Err("`a`, `b`")),
        ] {
            for names in [names, [names[1], names[0]]] {
                let names = names.map(str::as_bytes);
                let mapped = mapping(keys).map(&entry(&names, Some("k")));
                match (mapped, expected) {
                    (Ok(mapped), Ok(expected)) => {
                        let name = mapped.map(|(_, name)| name);
                        assert_eq!(name.as_deref(), expected, "{keys} {names:?}");
                    }
                    (Err(unmapped), Err(expected)) => {
                        assert!(unmapped.why.to_string().contains(expected));
                        assert_eq!(unmapped.key, Some(ExternalId::new("k")));
                    }
                    (mapped, expected) => panic!("{mapped:?}, expected {expected:?}"),
                }
            }
        }
    }

    #[test]
    fn a_member_is_known_by_the_key_of_the_source() {
        let person = |key| mapping("").person(&entry(&[], key));
        assert_eq!(person(Some("Z-1")), Some(ExternalId::new("z-1")));
        assert_eq!(person(None), None);
    }

    #[test]
    fn what_makes_no_name_is_told_with_the_key() {
        let too_long = "ä".repeat(256);
        for (keys, names, why) in [
            ("", &[][..], "the entry has no `cn`"),
            ("", &[b"\xff".as_ref()], "a value of cn is not UTF-8"),
            ("", &[b" ".as_ref()], "make an empty name of ` `"),
            (
                "match = \"a(b)?\"\nname = \"$1\"",
                &[b"a".as_ref()],
                "make an empty name of `a`",
            ),
            (
                "",
                &[b"a\tb".as_ref()],
                "the name `a\\tb` holds control characters",
            ),
            ("", &[too_long.as_bytes()], "has 256 characters"),
        ] {
            let unmapped = mapping(keys).map(&entry(names, Some("k"))).unwrap_err();
            assert!(unmapped.why.to_string().contains(why), "{}", unmapped.why);
            assert_eq!(unmapped.key, Some(ExternalId::new("k")));
        }
        let unmapped = mapping("").map(&entry(&[b"dev"], None)).unwrap_err();
        assert!(unmapped.why.to_string().contains("no `entryUUID`"));
        assert_eq!(unmapped.key, None);
        // Whoever is not meant may be as odd as he likes.
        let other = mapping("match = \"a\"").map(&entry(&[b"dev"], None));
        assert_eq!(other, Ok(None));
    }
}
