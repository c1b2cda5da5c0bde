//! The doctor: each step with what it found, and what is to be known beforehand.

use serde_json::{Value, json};

use crate::support::{Person, World};

/// The steps with what became of them.
fn steps(world: &World, code: i32) -> Vec<(String, String, String)> {
    let output = world.dirsyncd.run(&["check", "--format", "json"]);
    let output = output.expect_code(code);
    let found: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(found["version"], 1);
    let steps = found["steps"].as_array().unwrap();
    let failed = steps.iter().filter(|one| one["result"] == "failed").count();
    assert_eq!(found["failed"], failed);
    let word = |step: &Value, name: &str| step[name].as_str().unwrap().to_owned();
    steps
        .iter()
        .map(|one| (word(one, "step"), word(one, "result"), word(one, "message")))
        .collect()
}

fn of<'s>(steps: &'s [(String, String, String)], step: &str) -> Vec<(&'s str, &'s str)> {
    let steps = steps.iter().filter(|(name, ..)| name == step);
    steps
        .map(|(_, result, found)| (result.as_str(), found.as_str()))
        .collect()
}

#[test]
fn check_tells_of_server_clock_and_keys() {
    let world = World::of(&Person::four());
    let steps = steps(&world, 0);
    let [bound, read] = of(&steps, "source `directory`")[..] else {
        panic!("{steps:?}");
    };
    assert_eq!((bound.0, read.0), ("ok", "ok"));
    for word in ["bound to OpenLDAP", "it knows paged results", "pages of "] {
        assert!(bound.1.contains(word), "{bound:?}");
    }
    assert!(
        read.1.contains("4 entries, 4 people can be mapped"),
        "{read:?}"
    );
    let [clock] = of(&steps, "clock")[..] else {
        panic!("{steps:?}");
    };
    assert_eq!(clock.0, "ok");
    assert!(clock.1.ends_with(" s from the API's"), "{clock:?}");
    assert_eq!(of(&steps, "API keys")[0].0, "note");
    let [(_, scim), (_, admin)] = of(&steps, "rate limit")[..] else {
        panic!("{steps:?}");
    };
    assert!(
        scim.starts_with("provisioning API: it tells none"),
        "{scim}"
    );
    assert!(
        admin.starts_with("organization API: it tells none"),
        "{admin}"
    );
    // The same as text, each with its sign.
    let text = world.dirsyncd.run(&["check"]).expect_code(0).stdout;
    for (step, result, _) in &steps {
        let sign = if result == "ok" { '✓' } else { '!' };
        let begins = format!("{sign} {step}: ");
        assert!(
            text.lines().any(|line| line.starts_with(&begins)),
            "{begins}\n{text}"
        );
    }
}

#[test]
fn check_counts_the_people_whom_a_plan_is_going_to_refuse() {
    let mut people = Person::four();
    people[1].mail = None;
    people[3].mail = people[2].mail.clone();
    people[0].mail = Some("ada@elsewhere.example".to_owned());
    let world = World::of(&people);
    let steps = steps(&world, 0);
    let notes: Vec<&str> = of(&steps, "source `directory`")
        .into_iter()
        .filter(|(result, _)| *result == "note")
        .map(|(_, found)| found)
        .collect();
    let [doubts, outside] = notes[..] else {
        panic!("{steps:?}");
    };
    assert_eq!(
        doubts,
        "1 entry without an e-mail address or user name, 1 entry with an address that another one has: `dirsyncd plan` names them, and what to correct"
    );
    assert!(
        outside.starts_with(
            "1 person outside the verified domains, refused by a plan: elsewhere.example (1); "
        ),
        "{outside}"
    );
}

#[test]
fn check_goes_on_after_a_step_that_fails() {
    let mut world = World::of(&Person::four());
    world.organization.kill();
    let steps = steps(&world, 1);
    assert_eq!(of(&steps, "source `directory`")[0].0, "ok");
    let failed = of(&steps, "provisioning API");
    assert_eq!(failed[0].0, "failed");
    assert!(failed[0].1.contains("cannot reach the API"), "{failed:?}");
}

#[test]
fn check_tells_what_the_api_and_the_configuration_allow() {
    let mut world = World::of(&Person::four());
    let limits = json!({"scim": {"requests": 500, "seconds": 600}});
    world.organization.limits(&limits);
    world.dirsyncd.organization += "requests_per_second = 7\n";
    let steps = steps(&world, 0);
    let (_, scim) = of(&steps, "rate limit")[0];
    assert!(
        scim.starts_with("provisioning API: 500 requests a period, of which 49"),
        "{scim}"
    );
    assert!(
        scim.ends_with("; `requests_per_second = 7` in [organization]"),
        "{scim}"
    );
}
