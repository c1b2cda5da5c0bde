//! Who would enter and leave by an edit of the configuration, before it goes live.
//!
//! Floor 8. The directory is read by both configurations; nothing is written, and the organization
//! is not asked.

use std::collections::{BTreeMap, HashSet};

use crate::apply::Watch;
use crate::model::{Cause, ExternalId, Timestamp, Whereabouts};
use crate::plan::{Edit, InScope, Person};
use crate::pull::{PullError, everybody, selections, whereabouts};
use crate::run::{RunError, Setup};
use crate::snapshot::Snapshot;

/// Compares who is in scope by these configurations.
///
/// # Errors
/// When a source of one of them cannot be read, or the database.
pub async fn compare(
    old: &Setup,
    new: &Setup,
    now: Timestamp,
    watch: &dyn Watch,
) -> Result<Edit, RunError> {
    let mut incomplete = Vec::new();
    let before = in_scope(old, "the old", now, watch, &mut incomplete).await?;
    let after = in_scope(new, "the new", now, watch, &mut incomplete).await?;
    let mut edit = Edit {
        incomplete,
        ..Edit::between(&before, &after)
    };
    let keys: HashSet<ExternalId> = edit
        .entering
        .iter()
        .chain(&edit.leaving)
        .map(|person| person.key.clone())
        .collect();
    let mut snapshot = Snapshot::open_for_reading(&new.config.database).await?;
    let accounts = snapshot.accounts(&keys).await?;
    snapshot.close().await?;
    let causes = causes(new, &edit.leaving, now).await?;
    for person in &mut edit.leaving {
        person.cause = causes.get(&person.key).copied().or(person.cause);
    }
    for person in edit.entering.iter_mut().chain(&mut edit.leaving) {
        person.has_account = accounts.contains_key(&person.key);
    }
    Ok(edit)
}

/// Everybody who is in scope, also those of whom no account can be made.
async fn in_scope(
    setup: &Setup,
    whose: &str,
    now: Timestamp,
    watch: &dyn Watch,
    incomplete: &mut Vec<String>,
) -> Result<InScope, RunError> {
    let selections = selections(setup.config.sources.iter()).await?;
    let mut people = InScope::new();
    for sourced in setup.sourced(&selections) {
        let name = &sourced.source.name;
        let mut each = |key: ExternalId, dn: &str| {
            people
                .entry(key)
                .or_insert_with(|| (name.clone(), dn.to_owned()));
        };
        if let Err(why) = everybody(sourced, now, watch, &mut each).await? {
            incomplete.push(format!("source `{name}` of {whose} configuration: {why}"));
        }
    }
    Ok(people)
}

/// Why these are out of scope by the new configuration, as far as it has their source.
async fn causes(
    new: &Setup,
    leaving: &[Person],
    now: Timestamp,
) -> Result<BTreeMap<ExternalId, Cause>, PullError> {
    let selections = selections(new.config.sources.iter()).await?;
    let mut causes = BTreeMap::new();
    for sourced in new.sourced(&selections) {
        let people: Vec<(&ExternalId, &str)> = leaving
            .iter()
            .filter(|person| person.source == sourced.source.name)
            .map(|person| (&person.key, person.dn.as_str()))
            .collect();
        if people.is_empty() {
            continue;
        }
        for (key, place) in whereabouts(sourced, &people, now).await? {
            if let Whereabouts::Out(cause) = place {
                causes.insert(key, cause);
            }
        }
    }
    Ok(causes)
}
