//! Two hundred people and an organization in trouble: whatever goes wrong, at most one more run ends in the right
//! state, with nobody twice and no storm of requests.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::people::directory;
use crate::support::{Dirsyncd, Organization, Person, database};

const PEOPLE: usize = 200;

fn people() -> Vec<Person> {
    Person::several(PEOPLE)
}

/// The first sync under these rules, and what must be true in the end.
#[track_caller]
fn expect_everybody_in_two_runs(what: &str, rules: &Value) {
    let organization = Organization::start();
    let dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people()));
    let mark = organization.mark();
    organization.faults(rules);

    let first = dirsyncd.run(&["sync"]);
    assert!(
        matches!(first.code, Some(0 | 1 | 4)),
        "{what}: the first sync: {first}"
    );
    organization.heal();
    // Whoever has failed beside others is put off.
    database::wait(&dirsyncd.database(), 10);
    let second = dirsyncd.run(&["sync"]);
    assert_eq!(second.code, Some(0), "{what}: the second sync: {second}");

    dirsyncd.expect_nothing_to_do();
    let accounts = organization.accounts();
    assert_eq!(accounts.len(), PEOPLE, "{what}");
    let keys: BTreeSet<_> = accounts
        .iter()
        .map(|account| &account.external_id)
        .collect();
    assert_eq!(keys.len(), PEOPLE, "{what}: somebody is there twice");
    assert!(accounts.iter().all(|account| account.active), "{what}");
    // One request a person, some for planning, and a few for each thing that went wrong.
    let requests = organization.requests_since(mark).len();
    assert!(requests < 2 * PEOPLE, "{what}: {requests} requests");
}

/// A rule for the creations.
fn creations(times: usize, effect: Value) -> Value {
    let mut rule = json!({"match": "^POST .*/Users$", "times": times});
    let effect = effect.as_object().unwrap().clone();
    rule.as_object_mut().unwrap().extend(effect);
    json!([rule])
}

#[test]
fn latency() {
    expect_everybody_in_two_runs("latency", &creations(PEOPLE, json!({"delay_ms": 20})));
}

#[test]
fn storms_of_429() {
    let wait = json!({"status": 429, "headers": {"Retry-After": "1"}});
    expect_everybody_in_two_runs("429 with Retry-After", &creations(20, wait));
    let bare = json!({"status": 429});
    expect_everybody_in_two_runs("429 that says nothing", &creations(20, bare));
}

#[test]
fn failures_in_the_server() {
    for status in [500, 502, 503] {
        let effect = json!({"status": status});
        expect_everybody_in_two_runs(&format!("{status}"), &creations(12, effect));
    }
}

#[test]
fn connections_that_are_cut() {
    for when in ["before", "after"] {
        let effect = json!({"cut": when});
        expect_everybody_in_two_runs(&format!("cut {when}"), &creations(12, effect));
    }
}

#[test]
fn answers_that_are_no_answers() {
    for (what, effect) in [
        ("truncated", json!({"truncate": true})),
        ("HTML, not carried out", json!({"html": "before"})),
        ("HTML, carried out", json!({"html": "after"})),
        ("slow drip", json!({"drip_ms_per_byte": 1})),
    ] {
        expect_everybody_in_two_runs(what, &creations(12, effect));
    }
}

#[test]
fn reads_that_lag_behind_lost_writes() {
    // What was just created is not seen yet, and the answers are lost as well.
    let rules = json!([
        {"match": "^POST .*/Users$", "times": 6, "stale_ms": 1500},
        {"match": "^POST .*/Users$", "times": 6, "cut": "after"},
    ]);
    expect_everybody_in_two_runs("stale reads", &rules);
}

#[test]
fn spoiled_reads_before_anything_is_sent() {
    for (what, effect) in [
        ("a list that is cut", json!({"cut": "before"})),
        ("a list of HTML", json!({"html": "before"})),
        ("a truncated list", json!({"truncate": true})),
    ] {
        let mut rule = json!({"match": "^GET .*/Users", "times": 2});
        let effect = effect.as_object().unwrap().clone();
        rule.as_object_mut().unwrap().extend(effect);
        expect_everybody_in_two_runs(what, &json!([rule]));
    }
}

#[test]
fn the_limit_is_kept_without_a_single_429() {
    let organization = Organization::start();
    let dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people()));
    organization.limits(&json!({"scim": {"requests": 60, "seconds": 1}}));
    let mark = organization.mark();

    dirsyncd.sync(0);

    let requests = organization.requests_since(mark);
    let throttled = requests
        .iter()
        .filter(|request| request.status == Some(429));
    assert_eq!(throttled.count(), 0);
    assert!(requests.len() >= PEOPLE);
    organization.limits(&json!({}));
    dirsyncd.expect_nothing_to_do();
}
