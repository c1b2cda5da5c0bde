//! Who is none of the source's people, though the search finds the entry.

use std::sync::Arc;

use cel::Env;

use super::expression::{Expression, Wanted};
use super::problem::{Exclusion, MappingError, Problem};
use super::rule::compile_expression;
use super::trace::Witness;
use super::value::{Description, is_computed};
use crate::config::{PlacedExpression, Search};
use crate::model::{Dn, Entry, Scope as Depth, Timestamp};

/// What excludes entries, in the order in which it is asked.
pub(super) struct Scope(Vec<Excluder>);

/// One thing that may exclude an entry.
pub(super) enum Excluder {
    /// A part of the tree.
    Base(String, Dn),
    /// Who is included.
    Include(Expression),
    /// Who is excluded.
    Exclude(Expression),
}

/// What excludes people by another configuration than that of a [`Mapping`](super::Mapping).
pub struct Exclusions(Scope);

impl Exclusions {
    /// Compiles them.
    ///
    /// # Errors
    /// When an expression is none.
    pub fn compile(search: &Search) -> Result<Self, MappingError> {
        let environment = super::functions::environment().map_err(|error| MappingError {
            place: "the scope".to_owned(),
            at: None,
            span: None,
            source: Box::new(error),
        })?;
        Ok(Exclusions(Scope::compile(search, &environment)?))
    }

    /// The LDAP attributes that they read.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.0.reads().map(Description::name)
    }

    /// Whether an entry is excluded; not where it cannot be said.
    pub fn excludes(&self, entry: &Entry, now: Timestamp) -> bool {
        let exclusion = self.0.exclusion(entry, now, &mut super::trace::Unwatched);
        matches!(exclusion, Ok(Some(_)))
    }
}

impl Excluder {
    /// The key in the configuration.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Excluder::Base(..) => "exclude_base",
            Excluder::Include(_) => "include",
            Excluder::Exclude(_) => "exclude",
        }
    }

    /// What stands there.
    pub(super) fn written(&self) -> &str {
        match self {
            Excluder::Base(text, _) => text,
            Excluder::Include(expression) | Excluder::Exclude(expression) => expression.written(),
        }
    }

    /// The attributes that it reads.
    pub(super) fn reads(&self) -> impl Iterator<Item = &Description> {
        let expression = match self {
            Excluder::Base(..) => None,
            Excluder::Include(expression) | Excluder::Exclude(expression) => Some(expression),
        };
        expression.into_iter().flat_map(Expression::reads)
    }

    /// Whether it excludes the entry.
    fn excludes(&self, entry: &Entry, now: Timestamp) -> Result<bool, Problem> {
        match self {
            Excluder::Base(_, base) => match Dn::parse(entry.dn()) {
                Ok(dn) => Ok(dn.is_within(base, Depth::Subtree)),
                Err(error) => Err(Problem::Base(error.to_string())),
            },
            Excluder::Include(expression) => expression
                .truth(&self.name(), entry, now)
                .map(|is_included| !is_included),
            Excluder::Exclude(expression) => expression.truth(&self.name(), entry, now),
        }
    }

    fn exclusion(&self) -> Exclusion {
        let text = self.written().to_owned();
        match self {
            Excluder::Base(..) => Exclusion::Base { base: text },
            Excluder::Include(_) => Exclusion::NotIncluded { expression: text },
            Excluder::Exclude(_) => Exclusion::Excluded { expression: text },
        }
    }
}

impl Scope {
    pub(super) fn compile(search: &Search, env: &Arc<Env>) -> Result<Self, MappingError> {
        let bases = search.exclude_bases.iter().cloned();
        let mut excluders: Vec<Excluder> =
            bases.map(|(text, dn)| Excluder::Base(text, dn)).collect();
        let compile = |name: &str, written: &PlacedExpression| {
            compile_expression(name, written, Wanted::Truth, env)
        };
        if let Some(written) = &search.include {
            excluders.push(Excluder::Include(compile("include", written)?));
        }
        if let Some(written) = &search.exclude {
            excluders.push(Excluder::Exclude(compile("exclude", written)?));
        }
        Ok(Scope(excluders))
    }

    /// The attributes that it reads.
    pub(super) fn reads(&self) -> impl Iterator<Item = &Description> {
        self.0.iter().flat_map(Excluder::reads)
    }

    /// Why entries come in or go out that have not changed, if they do.
    pub(super) fn untrackable(&self) -> Option<String> {
        self.0.iter().find_map(|excluder| {
            let name = excluder.name();
            match excluder {
                Excluder::Include(expression) | Excluder::Exclude(expression)
                    if expression.depends_on_time() =>
                {
                    Some(format!("`{name}` depends on the time (`now`)"))
                }
                _ => {
                    let mut read = excluder.reads().map(Description::name);
                    let computed = read.find(|read| is_computed(read))?;
                    Some(super::reads_computed(&format!("`{name}`"), computed))
                }
            }
        })
    }

    /// What excludes the entry, if something does.
    ///
    /// # Errors
    /// When it cannot be said, as an expression fails.
    pub(super) fn exclusion(
        &self,
        entry: &Entry,
        now: Timestamp,
        witness: &mut impl Witness,
    ) -> Result<Option<Exclusion>, Problem> {
        for excluder in &self.0 {
            let excludes = excluder.excludes(entry, now);
            witness.judged(excluder, entry, &excludes);
            if excludes? {
                return Ok(Some(excluder.exclusion()));
            }
        }
        Ok(None)
    }
}
