//! Which groups of the directory become groups of the organization, and how they are named.

use std::ops::Range;

use regex::Regex;
use serde::Deserialize;

use super::Search;
use crate::model::{Digest, SourceName};

/// One `[[group]]`: groups of a source that become groups of the organization.
#[derive(Clone, Debug)]
pub struct GroupRule {
    /// The source where they are.
    pub source: SourceName,
    /// Which entries they are.
    pub search: Search,
    /// The attribute with a group's immutable key.
    pub key: String,
    /// The attribute with a group's name in the directory.
    pub name_attribute: String,
    /// What that name has to match as a whole.
    pub pattern: Regex,
    /// The name of the organization's group, with `$1`, `${team}` for what the pattern captured.
    pub name: String,
    /// Whether the members of groups in it are its members; else those are left out.
    pub nested: bool,
    /// What becomes of the organization's group when the directory's is gone.
    pub on_leave: GroupDeparture,
    /// Which groups that the organization has are taken over.
    pub adopt: GroupAdoption,
    /// Whether members who are nobody's account are taken out.
    pub exact: bool,
    /// Its bytes in the file.
    pub span: Range<usize>,
}

impl GroupRule {
    /// What the rule searches for and how it names what it finds, as one word: after a change of
    /// it, a group that is not found any more may still be there.
    pub fn fingerprint(&self) -> String {
        let GroupRule {
            source,
            search,
            key,
            name_attribute,
            pattern,
            name,
            nested: _,
            on_leave: _,
            adopt: _,
            exact: _,
            span: _,
        } = self;
        let bases: Vec<&str> = search.bases.iter().map(|(base, _)| base.as_str()).collect();
        let text = format!(
            "{source:?} {bases:?} {:?} {:?} {key:?} {name_attribute:?} {:?} {name:?}",
            search.scope,
            search.filter_text,
            pattern.as_str()
        );
        let digest = Digest::of_text(&text);
        digest.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The rule, for people: where it searches.
    pub fn place(&self) -> String {
        let bases: Vec<&str> = self
            .search
            .bases
            .iter()
            .map(|(base, _)| base.as_str())
            .collect();
        bases.join(" and ")
    }
}

/// What becomes of the organization's group when the directory's is gone.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupDeparture {
    /// It stays as it is.
    #[default]
    Keep,
    /// It stays, without our people.
    Empty,
    /// It is deleted.
    Delete,
}

/// Which groups that the organization has are taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupAdoption {
    /// None.
    Never,
    /// Those with the same externalId.
    #[default]
    ByKey,
    /// Those with the same name too.
    ByName,
}
