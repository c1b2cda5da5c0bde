//! From entries to desired accounts, by the rules of the configuration.
//!
//! Floor 2: pure. A [`Mapping`] is compiled once from a source's configuration; it knows which
//! LDAP attributes to ask for, and makes an account of an entry, or says why it cannot or why
//! none is wanted.
//!
//! - `rule` is one rule of the mapping, `expression` a CEL expression, `kinds` what can be known
//!   of it before there is an entry, `functions` and `text` what it can call;
//! - `scope` excludes entries that the search finds;
//! - `key` reads the immutable key;
//! - `value` alone knows what the octets of an attribute mean, `time` the forms of times;
//! - `trace` watches how an entry is mapped, for people to see;
//! - `problem` has what can be wrong.

mod expression;
mod functions;
mod group;
mod key;
mod kinds;
mod problem;
mod rule;
mod scope;
mod text;
mod time;
mod trace;
mod value;

use std::collections::BTreeSet;

use crate::config::{MappingTarget, Provisioning, Source, WithoutMail};
use crate::model::{
    Attribute, DesiredAccount, Entry, ExternalId, Filter, Profile, SourceName, Timestamp,
};

pub use group::{GroupFault, GroupMapping, LONGEST_GROUP_NAME, UnmappedGroup};
pub use problem::{
    Excluded, Exclusion, MappingError, NotMapped, Position, Problem, RuleError, Unmapped,
};
use rule::Rule;
pub use scope::Exclusions;
use scope::Scope;
use trace::Witness;
pub use trace::{Judged, Made, Reading, Step, Trace, Verdict};
use value::Description;
pub use value::{key_of_id, octets_of_key};

/// The compiled mapping of one source.
pub struct Mapping {
    source: SourceName,
    key: Description,
    without_mail: WithoutMail,
    /// Why the filter lets entries in or out that have not changed, if it does.
    untrackable_filter: Option<String>,
    scope: Scope,
    rules: Vec<Rule>,
}

impl Mapping {
    /// Compiles the rules of a source, as far as the way of provisioning has a use for them.
    ///
    /// # Errors
    /// The first rule that can never do, with its place in the configuration.
    pub fn compile(source: &Source, way: &Provisioning) -> Result<Self, MappingError> {
        let failed = |place: String| {
            move |error| MappingError {
                place,
                at: None,
                span: None,
                source: Box::new(error),
            }
        };
        let environment = functions::environment().map_err(failed("the mapping".to_owned()))?;
        let mut rules = Vec::new();
        for (target, placed) in &source.mapping {
            if matches!(target, MappingTarget::Attribute(attribute) if !way.supports(*attribute)) {
                continue;
            }
            rules.push(Rule::compile(*target, placed, &environment)?);
        }
        let place = format!("the key of source `{}`", source.name);
        Ok(Mapping {
            source: source.name.clone(),
            key: Description::named(&source.key).map_err(failed(place))?,
            without_mail: source.without_mail,
            untrackable_filter: untrackable_filter(&source.search.filter),
            scope: Scope::compile(&source.search, &environment)?,
            rules,
        })
    }

    /// The LDAP attributes that the mapping reads, for the search request. A server gives an
    /// attribute's values with further options, such as languages, along with it (RFC 4511
    /// section 4.5.1.8, RFC 4512 section 2.5.2).
    pub fn attributes(&self) -> Vec<String> {
        let of_scope = self.scope.reads().map(Description::name);
        let names: BTreeSet<&str> = self.names().chain(of_scope).collect();
        // Attribute names are compared without case (RFC 4512 section 2.5).
        let mut seen = BTreeSet::new();
        names
            .into_iter()
            .filter(|name| seen.insert(name.to_ascii_lowercase()))
            .map(str::to_owned)
            .collect()
    }

    /// Why asking a server for changed entries does not find all whose account changes, if so: a
    /// rule depends on the moment of the run, the mapping or the filter reads an attribute that
    /// the server computes, such as `memberOf`, which changes without a change of the entry, or
    /// the filter follows an attribute through other entries.
    pub fn untrackable(&self) -> Option<String> {
        if self.rules.iter().any(Rule::depends_on_time) {
            return Some("the mapping depends on the time (`now`)".to_owned());
        }
        let computed = self.names().filter(|name| value::is_computed(name)).min();
        computed
            .map(|name| reads_computed("the mapping", name))
            .or_else(|| self.scope.untrackable())
            .or_else(|| self.untrackable_filter.clone())
    }

    /// The attributes of the key and of the rules.
    fn names(&self) -> impl Iterator<Item = &str> {
        let of_rules = self.rules.iter().flat_map(Rule::reads);
        std::iter::once(&self.key)
            .chain(of_rules)
            .map(Description::name)
    }

    /// The attributes that the person's login, address and employee number are made from.
    pub fn names_of_identifiers(&self) -> Vec<String> {
        let identifies = |target: MappingTarget| match target {
            MappingTarget::Attribute(attribute) => attribute.identifies(),
            MappingTarget::Active => false,
        };
        let rules = self.rules.iter().filter(|rule| identifies(rule.target));
        let names: BTreeSet<&str> = rules.flat_map(Rule::reads).map(Description::name).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// The key of an entry, if it has a usable one.
    pub fn key(&self, entry: &Entry) -> Option<ExternalId> {
        key::read(entry, &self.key).ok()
    }

    /// Makes the desired account of an entry, at the moment of the run.
    ///
    /// # Errors
    /// [`NotMapped`] when none can be made, or none is wanted.
    pub fn map(&self, entry: &Entry, now: Timestamp) -> Result<DesiredAccount, NotMapped> {
        self.map_before(entry, now, &mut trace::Unwatched)
    }

    /// The same, with all that was asked, read and made on the way.
    pub fn trace(&self, entry: &Entry, now: Timestamp) -> Trace {
        let mut steps = trace::Steps::default();
        let result = self.map_before(entry, now, &mut steps);
        steps.end(self.key.name(), result)
    }

    /// What excludes an entry, at the moment of the run, if something does. Where an expression
    /// fails nothing does, and the person is [`Unmapped`].
    pub fn excluded(&self, entry: &Entry, now: Timestamp) -> Option<Exclusion> {
        let exclusion = self.scope.exclusion(entry, now, &mut trace::Unwatched);
        exclusion.ok().flatten()
    }

    fn map_before(
        &self,
        entry: &Entry,
        now: Timestamp,
        witness: &mut impl Witness,
    ) -> Result<DesiredAccount, NotMapped> {
        let exclusion = self.scope.exclusion(entry, now, witness);
        let key = key::read(entry, &self.key);
        if let Ok(Some(why)) = exclusion {
            return Err(NotMapped::Excluded(Box::new(Excluded {
                source: self.source.clone(),
                dn: entry.dn().to_owned(),
                key: key.ok(),
                why,
            })));
        }
        witness.key(&key);
        let refuse = |key: Option<ExternalId>, problem: Problem| {
            NotMapped::Unmapped(Box::new(Unmapped {
                source: self.source.clone(),
                dn: entry.dn().to_owned(),
                key,
                problem,
            }))
        };
        let key = key.map_err(|problem| refuse(None, problem))?;
        if let Err(problem) = exclusion {
            return Err(refuse(Some(key), problem));
        }
        let (profile, active) = self
            .values(entry, now, witness)
            .map_err(|problem| refuse(Some(key.clone()), problem))?;
        Ok(DesiredAccount {
            key,
            source: self.source.clone(),
            dn: entry.dn().to_owned(),
            profile,
            active,
        })
    }

    /// The values, and whether the person may log in. Of somebody who may not, what cannot be
    /// mapped is left out: no faulty value must keep a login open.
    fn values(
        &self,
        entry: &Entry,
        now: Timestamp,
        witness: &mut impl Witness,
    ) -> Result<(Profile, bool), Problem> {
        let is_active = |rule: &&Rule| rule.target == MappingTarget::Active;
        let active = match self.rules.iter().find(is_active) {
            Some(rule) => {
                let truth = rule.truth(entry, now);
                witness.decided(rule, entry, &truth);
                truth?
            }
            None => true,
        };
        let mut profile = Profile::with_capacity(self.rules.len());
        let mut first_problem = None;
        for rule in &self.rules {
            let MappingTarget::Attribute(attribute) = rule.target else {
                continue;
            };
            let value = match rule.value(attribute, entry, now) {
                Ok(None) if rule.is_required => Err(self.missing(attribute, rule, entry, now)),
                value => value,
            };
            witness.made(rule, entry, &value);
            match value {
                Ok(Some(value)) => profile.set(attribute, value),
                Ok(None) => {}
                Err(problem) => {
                    first_problem.get_or_insert(problem);
                }
            }
        }
        match first_problem {
            Some(problem) if active => Err(problem),
            _ => Ok((profile, active)),
        }
    }

    /// The attributes of an account that this mapping gives a value to. Others are not
    /// dirsyncd's business.
    pub fn managed(&self) -> impl Iterator<Item = Attribute> {
        self.rules.iter().filter_map(|rule| match rule.target {
            MappingTarget::Attribute(attribute) => Some(attribute),
            MappingTarget::Active => None,
        })
    }

    fn missing(&self, target: Attribute, rule: &Rule, entry: &Entry, now: Timestamp) -> Problem {
        Problem::Missing {
            target,
            from: rule.origin(entry, now),
            skip: target.is_required() && self.without_mail == WithoutMail::Skip,
        }
    }
}

/// Why changes of other entries decide whether an entry matches the filter, if they do.
fn untrackable_filter(filter: &Filter) -> Option<String> {
    let followed = filter.followed_attributes().into_iter().next();
    if let Some(name) = followed {
        return Some(format!(
            "the filter follows `{name}` through other entries, whose changes do not show in the entry"
        ));
    }
    let mut names = filter.attributes().into_iter();
    let computed = names.find(|name| value::is_computed(name))?;
    Some(reads_computed("the filter", computed))
}

fn reads_computed(place: &str, name: &str) -> String {
    format!("{place} reads `{name}`, which changes without a change of the entry")
}

#[cfg(test)]
mod tests;
