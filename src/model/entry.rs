//! One LDAP entry as read from a server or an LDIF file.

use std::{fmt, str};

/// One LDAP entry as read: its DN and its attributes, values as octets (RFC 4511 section 4.5.2).
///
/// Attribute descriptions are compared without regard to case (RFC 4512 section 2.5) and so kept
/// in lower case; options (`cn;lang-de`, `usercertificate;binary`) are a part of the description.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    dn: String,
    /// Sorted by description. An entry has so few that going through them is faster than a tree,
    /// and a comparison of names mostly ends with their lengths.
    attributes: Vec<(Box<str>, Vec<Vec<u8>>)>,
}

/// A value that should be text is not UTF-8 (RFC 4517 section 3.3.6, Directory String).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "entry {dn:?}: a value of {attribute} is not UTF-8 text; map another attribute, or correct it in the directory"
)]
pub struct NotText {
    /// The DN of the entry.
    pub dn: String,
    /// The attribute, as it was asked for.
    pub attribute: String,
}

impl Entry {
    /// An entry without attributes.
    pub fn new(dn: impl Into<String>) -> Self {
        Self {
            dn: dn.into(),
            attributes: Vec::new(),
        }
    }

    /// Adds a value to an attribute, after those it already has.
    pub fn push(&mut self, name: &str, value: Vec<u8>) {
        if let Some(at) = self.position(name) {
            self.attributes[at].1.push(value);
        } else {
            let name = name.to_ascii_lowercase().into_boxed_str();
            let at = self.attributes.partition_point(|(other, _)| *other < name);
            self.attributes.insert(at, (name, vec![value]));
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.attributes
            .iter()
            .position(|(other, _)| **other == *name || other.eq_ignore_ascii_case(name))
    }

    /// The distinguished name, as it was read.
    pub fn dn(&self) -> &str {
        &self.dn
    }

    /// The values of an attribute in the order they were read; none when it is absent.
    pub fn values(&self, name: &str) -> &[Vec<u8>] {
        self.position(name)
            .map_or(&[], |at| self.attributes[at].1.as_slice())
    }

    /// What the entry has of an attribute with further options (RFC 4512 section 2.5): these
    /// options in lower case without the first `;`, such as `lang-en` or `range=0-1499`, and the
    /// values, sorted by the options.
    pub fn with_options(&self, name: &str) -> impl Iterator<Item = (&str, &[Vec<u8>])> {
        self.attributes.iter().filter_map(move |(other, values)| {
            let (start, rest) = other.split_at_checked(name.len())?;
            let options = rest.strip_prefix(';')?;
            start
                .eq_ignore_ascii_case(name)
                .then_some((options, values.as_slice()))
        })
    }

    /// The values of an attribute as text.
    ///
    /// # Errors
    /// [`NotText`] when one of them is not UTF-8.
    pub fn texts(&self, name: &str) -> Result<Vec<&str>, NotText> {
        self.values(name)
            .iter()
            .map(|value| self.decode(name, value))
            .collect()
    }

    /// The first value of an attribute as text.
    ///
    /// # Errors
    /// [`NotText`] when it is not UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<&str>, NotText> {
        self.values(name)
            .first()
            .map(|value| self.decode(name, value))
            .transpose()
    }

    /// The attribute descriptions in lower case, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(|(name, _)| &**name)
    }

    /// A value of this entry's attribute as text.
    ///
    /// # Errors
    /// [`NotText`] when it is not UTF-8.
    pub fn decode<'v>(&self, name: &str, value: &'v [u8]) -> Result<&'v str, NotText> {
        str::from_utf8(value).map_err(|_| NotText {
            dn: self.dn.clone(),
            attribute: name.to_owned(),
        })
    }
}

/// Shows the DN and how many values each attribute has, never a value: an entry may carry `userPassword`, and a debug
/// line must not.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self
            .attributes
            .iter()
            .map(|(name, values)| (name, values.len()));
        write!(f, "Entry {:?} ", self.dn)?;
        f.debug_map().entries(counts).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn names_are_compared_without_case() {
        let mut entry = Entry::new("cn=a");
        entry.push("Mail", b"a@example.org".to_vec());
        entry.push("MAIL", b"b@example.org".to_vec());
        entry.push("cn;lang-DE", b"A".to_vec());
        assert_eq!(entry.dn(), "cn=a");
        assert_eq!(
            entry.texts("mAil").unwrap(),
            ["a@example.org", "b@example.org"]
        );
        assert_eq!(entry.text("mail").unwrap(), Some("a@example.org"));
        assert_eq!(
            entry.names().collect::<Vec<_>>(),
            ["cn;lang-de", "mail"],
            "options stay"
        );
        assert!(entry.values("cn").is_empty());
        assert_eq!(entry.text("cn").unwrap(), None);
    }

    #[test]
    fn octets_are_not_text() {
        let mut entry = Entry::new("cn=a");
        entry.push("photo", b"fine".to_vec());
        entry.push("photo", vec![0xff, 0xd8]);
        assert_eq!(entry.text("Photo").unwrap(), Some("fine"));
        let error = entry.texts("Photo").unwrap_err();
        assert_eq!(
            error,
            NotText {
                dn: "cn=a".into(),
                attribute: "Photo".into()
            }
        );
        assert!(error.to_string().contains("Photo is not UTF-8"));
    }

    #[test]
    fn options_are_told_from_longer_names() {
        let mut entry = Entry::new("cn=a");
        for name in [
            "cn;lang-en",
            "CN;lang-DE;x-old",
            "cn",
            "cname",
            "c;lang-de",
            "c\u{e9};lang-de",
        ] {
            entry.push(name, b"A".to_vec());
        }
        let options = |name: &str| {
            let found = entry.with_options(name);
            found
                .map(|(options, _)| options.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(options("Cn"), ["lang-de;x-old", "lang-en"]);
        assert_eq!(options("cn;LANG-de"), ["x-old"]);
        assert_eq!(options("c"), ["lang-de"]);
        assert!(options("cname").is_empty() && options("sn").is_empty());
    }

    #[test]
    fn debug_shows_no_value() {
        let mut entry = Entry::new("cn=a");
        entry.push("userPassword", b"hunter2".to_vec());
        assert_eq!(format!("{entry:?}"), r#"Entry "cn=a" {"userpassword": 1}"#);
    }
}
