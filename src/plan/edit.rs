//! What an edit of the configuration does to the scope.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Cause, ExternalId, SourceName};

/// What an edit does to the scope.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Edit {
    /// Who is in scope by the new configuration only.
    pub entering: Vec<Person>,
    /// Who is in scope by the old configuration only.
    pub leaving: Vec<Person>,
    /// How many are in scope by both.
    pub staying: u64,
    /// The pulls that were not complete, each with why: whoever is in what was not read is not
    /// among those above.
    pub incomplete: Vec<String>,
}

/// Somebody who enters or leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Person {
    /// The key.
    pub key: ExternalId,
    /// The source by which the person is, or was, in scope.
    pub source: SourceName,
    /// Where the entry stands.
    pub dn: String,
    /// Whether the snapshot has an account of the person.
    pub has_account: bool,
    /// Why the person is out of scope by the new configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// In scope by one of the configurations: from which source, and where.
pub type InScope = BTreeMap<ExternalId, (SourceName, String)>;

impl Edit {
    /// What differs between two scopes; of whoever leaves the source is taken to be gone.
    pub fn between(before: &InScope, after: &InScope) -> Self {
        let only_in = |one: &InScope, other: &InScope, cause: Option<Cause>| {
            let mut people: Vec<Person> = one
                .iter()
                .filter(|(key, _)| !other.contains_key(*key))
                .map(|(key, (source, dn))| Person {
                    key: key.clone(),
                    source: source.clone(),
                    dn: dn.clone(),
                    has_account: false,
                    cause,
                })
                .collect();
            people.sort_by(|a, b| (&a.source, &a.dn, &a.key).cmp(&(&b.source, &b.dn, &b.key)));
            people
        };
        let entering = only_in(after, before, None);
        Edit {
            staying: (after.len() - entering.len()) as u64,
            entering,
            leaving: only_in(before, after, Some(Cause::Rescoped)),
            incomplete: Vec::new(),
        }
    }
}
