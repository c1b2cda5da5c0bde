//! Groups of the directory, and how their members are told apart.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Dn, Entry, dn::fold};

/// A kind of group, by its object class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// `groupOfNames` (RFC 4519 section 3.5) and its like: DNs in `member`.
    Names,
    /// `groupOfUniqueNames` (RFC 4519 section 3.6): DNs in `uniqueMember`.
    UniqueNames,
    /// `posixGroup` (RFC 2307 section 4): values of `uid` in `memberUid`.
    Posix,
    /// `groupOfURLs`: searches in `memberURL`; servers that carry them out show `member`.
    Urls,
    /// `group` of Active Directory (MS-ADSC): DNs in `member`, and the people whose primary group it is.
    ActiveDirectory,
}

impl GroupKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Names,
        Self::UniqueNames,
        Self::Posix,
        Self::Urls,
        Self::ActiveDirectory,
    ];

    /// Its object classes; groups without a member need other classes than `groupOfNames`.
    pub fn classes(self) -> &'static [&'static str] {
        match self {
            Self::Names => &["groupOfNames", "groupOfMembers", "groupOfEntries"],
            Self::UniqueNames => &["groupOfUniqueNames"],
            Self::Posix => &["posixGroup"],
            Self::Urls => &["groupOfURLs"],
            Self::ActiveDirectory => &["group"],
        }
    }

    /// The kinds of an entry: none when it is no group, more than one for a `posixGroup` that is also a
    /// `groupOfNames` (RFC 2307bis).
    pub fn of(entry: &Entry) -> Vec<Self> {
        let has = |class: &&str| {
            let classes = entry.values("objectClass").iter();
            classes
                .map(|value| value.trim_ascii())
                .any(|value| value.eq_ignore_ascii_case(class.as_bytes()))
        };
        Self::ALL
            .into_iter()
            .filter(|kind| kind.classes().iter().any(has))
            .collect()
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ActiveDirectory => "Active Directory group",
            other => other.classes().first().copied().unwrap_or_default(),
        })
    }
}

/// A group as its entry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its DN.
    pub dn: String,
    /// What it is; never empty.
    pub kinds: Vec<GroupKind>,
    /// The DNs of its members: people, groups and other things.
    pub members: Vec<String>,
    /// The members that are named by their `uid`.
    pub uids: Vec<String>,
    /// Its `objectSid` (MS-DTYP section 2.4.2.2), by which people name it as their primary group.
    pub sid: Option<Vec<u8>>,
    /// Whether its members are given by searches that the server did not carry out.
    pub is_unexpanded: bool,
}

impl Group {
    /// The attributes that [`Group::read`] needs.
    pub const ATTRIBUTES: [&'static str; 6] = [
        "objectClass",
        "member",
        "uniqueMember",
        "memberUid",
        "memberURL",
        "objectSid",
    ];

    /// The group that an entry is, if it is one. A value that is no text names nobody, and stays in as one that does
    /// not.
    pub fn read(mut entry: Entry) -> Option<Self> {
        let kinds = GroupKind::of(&entry);
        if kinds.is_empty() {
            return None;
        }
        let is_active_directory = kinds.contains(&GroupKind::ActiveDirectory);
        let sid = entry.take("objectSid").into_iter().next();
        let mut members = texts(entry.take("member"));
        let unique = texts(entry.take("uniqueMember"));
        members.extend(unique.iter().map(|value| without_uid(value).to_owned()));
        Some(Self {
            dn: entry.dn().to_owned(),
            is_unexpanded: members.is_empty() && !entry.values("memberURL").is_empty(),
            members,
            uids: texts(entry.take("memberUid")),
            sid: sid.filter(|_| is_active_directory),
            kinds,
        })
    }
}

fn texts(values: Vec<Vec<u8>>) -> Vec<String> {
    let text = |value| match String::from_utf8(value) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    values.into_iter().map(text).collect()
}

/// The DN of a Name And Optional UID (RFC 4517 section 3.3.21), without the UID: `#'0101'B`.
fn without_uid(value: &str) -> &str {
    let name = value.trim_end().strip_suffix("'B").and_then(|rest| {
        rest.trim_end_matches(['0', '1'])
            .strip_suffix("#'")
            .map(str::trim_end)
    });
    name.unwrap_or(value)
}

/// One member of a group as 128 bits, so that hundreds of thousands of them need little memory: a digest of the DN in
/// its normal form, of a `uid`, or of the SID of a primary group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MemberKey(u128);

impl From<MemberKey> for String {
    fn from(key: MemberKey) -> Self {
        key.digits()
    }
}

impl TryFrom<String> for MemberKey {
    type Error = &'static str;

    fn try_from(digits: String) -> Result<Self, Self::Error> {
        Self::parse(&digits).ok_or("no digest in hexadecimal digits")
    }
}

impl MemberKey {
    /// By DN; two spellings of one name have one key. What is no DN is compared as text.
    pub fn dn(text: &str) -> Self {
        if is_plain(text) {
            return Self::of(b'd', text.to_ascii_lowercase().as_bytes());
        }
        match Dn::parse(text) {
            Ok(dn) => Self::of(b'd', dn.to_string().as_bytes()),
            Err(_) => Self::of(b't', fold(text).as_bytes()),
        }
    }

    /// By the value of `uid`, without regard to case (RFC 4519 section 2.39).
    pub fn uid(text: &str) -> Self {
        Self::of(b'u', fold(text).as_bytes())
    }

    /// Everybody whose primary group has this SID.
    pub fn primary_group(sid: &[u8]) -> Self {
        Self::of(b's', sid)
    }

    /// The primary group of an entry of Active Directory: its `primaryGroupID` is the last part of the group's SID, and
    /// the parts before it are those of its own (MS-ADA3 section 2.121).
    pub fn primary_group_of(entry: &Entry) -> Option<Self> {
        let id = entry.text("primaryGroupID").ok().flatten()?;
        let id: u32 = id.trim().parse().ok()?;
        let own = entry.values("objectSid").first()?;
        let (domain, _) = own.split_last_chunk::<4>()?;
        Some(Self::primary_group(&[domain, &id.to_le_bytes()].concat()))
    }

    /// The 32 hexadecimal digits of the octets.
    pub fn digits(self) -> String {
        format!("{:032x}", self.0)
    }

    /// The key with these [`digits`](Self::digits).
    pub fn parse(digits: &str) -> Option<Self> {
        u128::from_str_radix(digits, 16).ok().map(Self)
    }

    /// The octets, for digests of many.
    pub fn octets(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    fn of(kind: u8, octets: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[kind]).update(octets);
        let mut digest = [0; 16];
        hasher.finalize_xof().fill(&mut digest);
        Self(u128::from_le_bytes(digest))
    }
}

/// Whether lower case alone is the normal form of this DN, as it is of nearly all: printable ASCII, without escapes,
/// without `+`, and with spaces only one by one inside values.
fn is_plain(text: &str) -> bool {
    text.split(',').all(|rdn| {
        let Some((kind, value)) = rdn.split_once('=') else {
            return false;
        };
        let kind_is_plain = !kind.is_empty()
            && kind
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        let mut before = b' ';
        let value_is_plain = value.bytes().all(|b| {
            let is_plain = match b {
                b' ' => before != b' ',
                b'\\' | b'"' | b'+' | b';' | b'<' | b'>' | b'#' => false,
                b => b.is_ascii_graphic(),
            };
            before = b;
            is_plain
        });
        kind_is_plain && value_is_plain && (before != b' ' || value.is_empty())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    fn entry(attributes: &[(&str, &str)]) -> Entry {
        let mut entry = Entry::new("cn=g,dc=x");
        for (name, value) in attributes {
            entry.push(name, value.as_bytes().to_vec());
        }
        entry
    }

    #[test]
    fn each_kind_has_its_members() {
        for (attributes, kinds, members, uids) in [
            (
                &[("objectClass", "GROUPOFNAMES"), ("member", "cn=a")][..],
                "groupOfNames",
                &["cn=a"][..],
                &[][..],
            ),
            (
                &[("objectClass", "groupOfMembers")],
                "groupOfNames",
                &[],
                &[],
            ),
            (
                &[
                    ("objectClass", "groupOfUniqueNames"),
                    ("uniqueMember", "cn=a"),
                    ("uniqueMember", "cn=b#'0101'B"),
                    ("uniqueMember", "cn=c #''B"),
                    ("uniqueMember", "cn=it's 'B"),
                    ("uniqueMember", "cn=d#'012'B"),
                ],
                "groupOfUniqueNames",
                &["cn=a", "cn=b", "cn=c", "cn=it's 'B", "cn=d#'012'B"],
                &[],
            ),
            (
                &[
                    ("objectClass", "posixGroup"),
                    ("objectClass", "groupOfNames"),
                    ("member", "cn=a"),
                    ("memberUid", "b"),
                ],
                "groupOfNames posixGroup",
                &["cn=a"],
                &["b"],
            ),
            (
                &[
                    ("objectClass", "groupOfURLs"),
                    ("memberURL", "ldap:///dc=x"),
                    ("member", "cn=a"),
                ],
                "groupOfURLs",
                &["cn=a"],
                &[],
            ),
        ] {
            let group = Group::read(entry(attributes)).unwrap();
            let names: Vec<String> = group.kinds.iter().map(GroupKind::to_string).collect();
            assert_eq!(names.join(" "), kinds);
            assert_eq!(group.members, members);
            assert_eq!(group.uids, uids);
            assert_eq!(group.sid, None);
            assert!(!group.is_unexpanded);
        }
        let person = entry(&[("objectClass", "person"), ("member", "cn=a")]);
        assert_eq!(Group::read(person), None);
    }

    #[test]
    fn searches_that_were_not_carried_out_are_no_members() {
        let attributes = [
            ("objectClass", "groupOfURLs"),
            ("memberURL", "ldap:///dc=x"),
        ];
        assert!(Group::read(entry(&attributes)).unwrap().is_unexpanded);
    }

    #[test]
    fn a_primary_group_is_named_by_the_end_of_its_sid() {
        // S-1-5-21-1-2-3 and then the number of the object.
        let sid = |end: u32| {
            let mut sid = vec![1, 5, 0, 0, 0, 0, 0, 5];
            for part in [21, 1, 2, 3, end] {
                sid.extend_from_slice(&u32::to_le_bytes(part));
            }
            sid
        };
        let mut group = entry(&[("objectClass", "top"), ("objectClass", "group")]);
        group.push("objectSid", sid(513));
        let group = Group::read(group).unwrap();
        assert_eq!(group.sid, Some(sid(513)));
        assert_eq!(group.kinds, [GroupKind::ActiveDirectory]);

        let mut person = entry(&[("primaryGroupID", "513")]);
        assert_eq!(MemberKey::primary_group_of(&person), None);
        person.push("objectSid", sid(1104));
        let key = MemberKey::primary_group_of(&person).unwrap();
        assert_eq!(key, MemberKey::primary_group(&sid(513)));
        assert_ne!(key, MemberKey::primary_group(&sid(512)));
    }

    #[test]
    fn spellings_of_one_name_have_one_key() {
        for (a, b) in [
            (
                "uid=ada,ou=people,dc=example,dc=org",
                "UID=Ada, OU=People , dc=example,DC=org",
            ),
            ("cn=Ada  Lovelace,dc=x", "CN=ADA LOVELACE,DC=X"),
            (r"cn=Lovelace\, Ada,dc=x", r"cn=lovelace\2C ada,dc=x"),
            (r"cn=\61da,dc=x", "cn=ada,dc=x"),
            ("cn=ZOË,dc=x", r"cn=zo\c3\ab,dc=x"),
            ("cn=a+uid=b,dc=x", "uid=b+cn=a,dc=x"),
            ("no  name at all", "No Name at all"),
        ] {
            assert_eq!(MemberKey::dn(a), MemberKey::dn(b), "{a} and {b}");
        }
        assert_ne!(MemberKey::dn("cn=a,dc=x"), MemberKey::dn("cn=b,dc=x"));
        assert_ne!(MemberKey::dn("cn=a"), MemberKey::uid("cn=a"));
        assert_eq!(MemberKey::uid("Ada"), MemberKey::uid("ada"));
    }

    proptest! {
        #[test]
        fn the_short_way_gives_what_the_long_one_does(
            text in "([ a-zA-C0-9.=#+\\\\\"<>;'é-]{0,9},?){0,4}",
            usual in "(uid|cn|OU|dc)=[a-zA-Z]{1,5}( [a-z]{1,3})?(,(ou|dc)=[a-z]{0,4}){0,3}",
        ) {
            prop_assert!(is_plain(&usual));
            for text in [text, usual] {
                if is_plain(&text) {
                    let dn = Dn::parse(&text).unwrap();
                    prop_assert_eq!(dn.to_string(), text.to_ascii_lowercase());
                }
            }
        }
    }
}
