//! Who is meant by what somebody types: one comparison for every verb that takes a name.

use super::{
    Attribute, Dn, ExternalId, GroupOperation, ManagedAccount, ManagedGroup, Operation, Profile,
    fold,
};

/// What somebody has typed for a person or a group.
#[derive(Clone, Debug)]
pub struct Who {
    folded: String,
    dn: Option<Dn>,
}

/// What a person or a group may be called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// A key, an address, a user name, an id or the name of a group: case does not count.
    Text(&'a str),
    /// A DN, in any of its spellings.
    Dn(&'a str),
}

impl Who {
    /// Takes the text for any of them; for a DN where it is one and not the root.
    pub fn parse(text: &str) -> Self {
        Who {
            folded: fold(text),
            dn: Dn::parse(text).ok().filter(|_| text.contains('=')),
        }
    }

    /// The text as texts are compared.
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// Whether it can be a DN.
    pub fn is_dn(&self) -> bool {
        self.dn.is_some()
    }

    /// A piece, folded, of each name that is meant, if the name is of ASCII alone and escapes nothing.
    pub fn piece(&self) -> String {
        let Some(dn) = &self.dn else {
            return self.folded.clone();
        };
        // Of a DN the entry's own name, which tells it from the most others; spaces and signs may be written otherwise.
        let dn = dn.to_string();
        let own = dn.split(',').next().unwrap_or_default();
        let pieces = own.split(|one: char| !one.is_ascii_alphanumeric());
        let longest = pieces.max_by_key(|piece| piece.len()).unwrap_or_default();
        longest.to_owned()
    }

    /// Whether this name is what was typed.
    pub fn is(&self, name: Name<'_>) -> bool {
        match name {
            Name::Text(text) => fold(text) == self.folded,
            // To parse is work, and what was typed is no DN most of the time.
            Name::Dn(text) => self.dn.is_some() && Dn::parse(text).ok() == self.dn,
        }
    }

    /// Whether one of these names is what was typed.
    pub fn is_any<'a>(&self, names: impl IntoIterator<Item = Name<'a>>) -> bool {
        names.into_iter().any(|name| self.is(name))
    }
}

/// The addresses of an account.
fn addresses(profile: &Profile) -> impl Iterator<Item = Name<'_>> {
    let both = [Attribute::Email, Attribute::UserName];
    both.into_iter()
        .filter_map(|attribute| profile.get(attribute))
        .map(Name::Text)
}

impl ManagedAccount {
    /// What its person may be called by.
    pub fn names(&self) -> impl Iterator<Item = Name<'_>> {
        let ids = [self.key.as_str(), self.scim_id.as_str()].map(Name::Text);
        ids.into_iter()
            .chain(addresses(&self.profile))
            .chain([Name::Dn(&self.dn)])
    }
}

impl Operation {
    /// What the person may be called by, before and after.
    pub fn names(&self) -> impl Iterator<Item = Name<'_>> {
        let target = self.target.as_ref().map(|target| target.scim_id.as_str());
        let formerly = self.formerly.as_ref().map(ExternalId::as_str);
        let ids = [Some(self.key.as_str()), formerly, target];
        ids.into_iter()
            .flatten()
            .map(Name::Text)
            .chain(addresses(&self.before))
            .chain(addresses(&self.after))
            .chain([Name::Dn(&self.dn)])
    }
}

impl ManagedGroup {
    /// What it may be called by.
    pub fn names(&self) -> impl Iterator<Item = Name<'_>> {
        let ids = [self.key.as_str(), self.scim_id.as_str(), &self.name].map(Name::Text);
        let dns = self.origins.iter().map(|origin| Name::Dn(&origin.dn));
        ids.into_iter().chain(dns)
    }
}

impl GroupOperation {
    /// What the group may be called by, before and after, and the groups of the directory behind it.
    pub fn names(&self) -> impl Iterator<Item = Name<'_>> {
        let target = self.target.as_ref().map(|target| target.scim_id.as_str());
        let names = [self.key.as_str(), &self.name, self.present_name()];
        let dns = self.origins.iter().map(|origin| Name::Dn(&origin.dn));
        names.into_iter().chain(target).map(Name::Text).chain(dns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_the_spelling_of_a_dn_do_not_count() {
        let ada = [
            Name::Text("K-1"),
            Name::Text("Ada@Example.org"),
            Name::Dn("uid=ada,ou=people,dc=example,dc=org"),
        ];
        for typed in [
            "k-1",
            "ADA@EXAMPLE.ORG",
            "UID=Ada , OU=People,DC=example,DC=org",
        ] {
            assert!(Who::parse(typed).is_any(ada), "{typed}");
        }
        for typed in ["", "k", "ada", "uid=ada,dc=example,dc=org", "dc=org"] {
            assert!(!Who::parse(typed).is_any(ada), "{typed}");
        }
    }

    #[test]
    fn a_name_that_is_meant_has_the_piece() {
        for (typed, piece) in [
            ("Ada@Example.org", "ada@example.org"),
            ("ou=X+UID=Ada , OU=People,DC=example", "ada"),
            (r"uid=ad\61,dc=org", "ada"),
            (r"cn=Lovelace\, Ada,dc=org", "lovelace"),
            ("=", "="),
        ] {
            assert_eq!(Who::parse(typed).piece(), piece, "{typed}");
        }
    }

    #[test]
    fn nothing_typed_is_no_dn() {
        assert!(!Who::parse("").is(Name::Dn("")));
        assert!(!Who::parse(" ").is(Name::Dn("")));
    }
}
