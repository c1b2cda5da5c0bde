//! What is told when, and how.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;

use super::decide::Told;
use super::message::{Kind, State};
use super::*;
use crate::apply::Applied;
use crate::config::{Event, Job};
use crate::model::RunId;
use crate::plan::Plan;

fn at(minutes: i64) -> Timestamp {
    let start: Timestamp = "2026-11-25T00:00:00Z".parse().unwrap();
    start + TimeDelta::minutes(minutes)
}

fn matter(topic: &str, items: &[u32]) -> Matter {
    Matter {
        topic: topic.to_owned(),
        title: format!("{topic} is so"),
        text: format!("{topic} is so, as it is"),
        look: "dirsyncd holds".to_owned(),
        count: items.len() as u64,
        people: vec!["uid=zoe <zoe@example.org>".to_owned()],
        items: items.iter().map(u32::to_string).collect(),
    }
}

/// A sync that has shown these.
fn sync(matters: &[(Event, Matter)]) -> Seen {
    let mut seen = Seen::sync(RunId(7), &Plan::default(), &Applied::default());
    seen.matters = matters.to_vec();
    seen
}

fn failed() -> Seen {
    Seen::job(
        Job::Sync,
        Some((Event::Failure, "no", "the server said no".to_owned())),
    )
}

/// Topics with their states.
type Topics = Vec<(String, State)>;

/// Matters with the kinds of their events.
type Matters = Vec<(Event, Matter)>;

/// What a story of observations tells: minute, event, and each topic with its state.
fn story(seen: &[(i64, Option<Seen>)]) -> Vec<(i64, &'static str, Topics)> {
    let mut told = AllTold::new();
    let mut all = Vec::new();
    for (minute, seen) in seen {
        let (then, messages) = decide(told, seen.as_ref(), at(*minute));
        told = then;
        for message in messages {
            let parts = message.parts.iter();
            let parts = parts
                .map(|part| (part.matter.topic.clone(), part.state))
                .collect();
            all.push((*minute, message.kind.name(), parts));
        }
    }
    all
}

fn one(topic: &str, state: State) -> Topics {
    vec![(topic.to_owned(), state)]
}

#[test]
fn what_goes_on_is_told_once_and_when_it_is_over() {
    let held = (Event::Refusal, matter("hold deactivate", &[1, 2, 3]));
    let told = story(&[
        (0, Some(sync(&[]))),
        (15, Some(sync(std::slice::from_ref(&held)))),
        (30, Some(sync(std::slice::from_ref(&held)))),
        // Of what a sync that failed did not see, nothing is over.
        (45, Some(failed())),
        (60, Some(failed())),
        (75, Some(sync(&[held]))),
        (80, Some(Seen::job(Job::Reconcile, None))),
        (90, Some(sync(&[]))),
        (105, Some(sync(&[]))),
    ]);
    assert_eq!(
        told,
        [
            (15, "refusal", one("hold deactivate", State::New)),
            (45, "failure", one("sync", State::New)),
            (75, "recovery", one("sync", State::Over)),
            (90, "recovery", one("hold deactivate", State::Over)),
        ]
    );
}

#[test]
fn what_grows_is_told_again_and_what_goes_on_once_a_day() {
    let of = |items: &[u32]| Some(sync(&[(Event::Quarantine, matter("quarantine", items))]));
    let many: Vec<u32> = (0..30).collect();
    let told = story(&[
        (0, of(&[1, 2])),
        (15, of(&[1])),
        (30, of(&[1, 3])),
        (45, of(&[1, 2, 3])),
        (60, of(&many)),
        // Two more of thirty are no news.
        (75, of(&[&many[..], &[40, 41]].concat())),
        (90, of(&[&many[..], &[40, 41, 42]].concat())),
        (90 + 24 * 60 - 1, None),
        (90 + 24 * 60, None),
        (90 + 24 * 60 + 1, None),
        (90 + 48 * 60 + 5, of(&many)),
        (90 + 48 * 60 + 6, of(&[])),
        (90 + 48 * 60 + 7, Some(sync(&[]))),
        // The clock is set back.
        (3, of(&[1])),
    ]);
    let states: Vec<(i64, State)> = told
        .iter()
        .map(|(minute, _, parts)| (*minute, parts[0].1))
        .collect();
    assert_eq!(
        states,
        [
            (0, State::New),
            (30, State::Worse),
            (45, State::Worse),
            (60, State::Worse),
            (90, State::Worse),
            (90 + 24 * 60, State::Ongoing),
            (90 + 48 * 60 + 5, State::Ongoing),
            (90 + 48 * 60 + 7, State::Over),
            (3, State::New),
        ]
    );
}

#[test]
fn a_sync_without_a_fault_tells_nothing_and_judges_neither_daemon_nor_other_jobs() {
    let told = story(&[
        (0, Some(Seen::hanging(true))),
        (1, Some(Seen::start(Some("no database".to_owned())))),
        (
            2,
            Some(Seen::job(
                Job::Prune,
                Some((Event::Failure, "no", "no".to_owned())),
            )),
        ),
        (3, Some(sync(&[]))),
        (4, Some(Seen::hanging(false))),
        (5, Some(Seen::start(None))),
        (6, Some(Seen::job(Job::Prune, None))),
    ]);
    let kinds: Vec<(i64, &str)> = told
        .iter()
        .map(|(minute, kind, _)| (*minute, *kind))
        .collect();
    assert_eq!(
        kinds,
        [
            (0, "failure"),
            (1, "failure"),
            (2, "failure"),
            (4, "recovery"),
            (5, "recovery"),
            (6, "recovery")
        ]
    );
}

fn channel(text: &str) -> Channel {
    notify(&format!("[[notify.webhook]]\nurl = \"https://hooks.example.org/x\"\nsecret = {{ env = \"S\" }}\n{text}"))
        .channels
        .remove(0)
}

fn notify(text: &str) -> Notify {
    let config = format!(
        "[organization]\nid = \"1a2b\"\ndirectory = \"d\"\nscim_key = {{ env = \"K\" }}\n[[source]]\nkind = \"ldif\"\npreset = \"openldap\"\nfile = \"x\"\nbase = \"dc=example\"\n{text}"
    );
    Config::parse(Path::new("c.toml"), &config).unwrap().notify
}

fn message(kind: Event, parts: &[(Event, Matter, State)]) -> Message {
    let parts = parts.iter();
    Message {
        kind: Kind::Event(kind),
        parts: parts
            .map(|(event, matter, state)| message::Part::of(*event, matter, *state, at(0)))
            .collect(),
        run: Some(7),
        ..Message::test(at(5))
    }
}

fn place() -> Place {
    Place {
        host: "sync1".to_owned(),
        organization: "1a2b".to_owned(),
    }
}

#[test]
fn nobody_is_named_unless_that_is_wanted() {
    let mut told = matter("hold deactivate", &[1]);
    told.people.push("line\nbreak <all>".to_owned());
    let message = message(Event::Refusal, &[(Event::Refusal, told, State::New)]);
    let without = message.render(&channel(""), "msg_1", &place()).unwrap();
    let everything = format!("{without:?}");
    assert!(
        !everything.contains("zoe") && everything.contains("deactivate is so, as it is"),
        "{everything}"
    );
    let with = message
        .render(&channel("people = true\n"), "msg_1", &place())
        .unwrap();
    assert!(
        with.text
            .contains("uid=zoe <zoe@example.org>; line break <all>"),
        "{}",
        with.text
    );
    assert_eq!(
        with.json["data"]["matters"][0]["people"][0],
        "uid=zoe <zoe@example.org>"
    );
    for rendered in [&without, &with] {
        let schema: Value = serde_json::from_str(NOTIFICATION_SCHEMA).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let faults: Vec<String> = validator
            .iter_errors(&rendered.json)
            .map(|e| e.to_string())
            .collect();
        assert!(faults.is_empty(), "{faults:?}");
    }
    insta::assert_snapshot!("text", without.text);
    insta::assert_json_snapshot!("json", without.json);
}

#[test]
fn a_channel_gets_what_it_wants_and_hears_no_end_of_what_it_was_not_told() {
    let parts = [
        (Event::Refusal, matter("refused", &[1]), State::Over),
        (Event::Failure, matter("sync", &[]), State::Over),
    ];
    let over = message(Event::Recovery, &parts);
    let topics = |events: &str| -> Option<Vec<String>> {
        let message = for_channel(&over, &channel(&format!("events = {events}\n")))?;
        Some(
            message
                .parts
                .iter()
                .map(|part| part.matter.topic.clone())
                .collect(),
        )
    };
    assert_eq!(topics("[\"failure\"]"), None);
    assert_eq!(topics("[\"quarantine\", \"recovery\"]"), None);
    assert_eq!(topics("[\"failure\", \"recovery\"]").unwrap(), ["sync"]);
    assert_eq!(for_channel(&over, &channel("")), Some(over.clone()));
}

#[test]
fn templates_of_a_channel_make_its_subject_and_text() {
    let channel = channel(
        "subject = \"[{{ event|upper }}] {{ headline }}\\r\\nBcc: x\"\ntext = '''{% for line in lines %}* {{ line }}\n{% endfor %}run {{ run }}'''\n",
    );
    let still = message(
        Event::Failure,
        &[(Event::Failure, matter("sync", &[]), State::Ongoing)],
    );
    let rendered = still.render(&channel, "msg_1", &place()).unwrap();
    assert_eq!(rendered.subject, "[FAILURE] still: sync is so Bcc: x");
    assert_eq!(
        rendered.text,
        "* sync is so, as it is (still so; since 2026-11-25 00:00 UTC)\nrun 7"
    );
}

#[test]
fn the_signature_is_that_of_standard_webhooks() {
    // That of the tests of the Standard Webhooks libraries.
    let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let signed = http::signature(
        &secret,
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        "{\"test\": 2432232314}",
    );
    assert_eq!(
        signed.unwrap(),
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    );
    for wrong in [
        "",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8G",
        "whsec_*",
    ] {
        let error = http::signature(&SecretString::from(wrong), "m", 1, "{}").unwrap_err();
        assert!(
            error.for_good && error.trouble.to_string().contains("openssl rand"),
            "{wrong}"
        );
    }
}

#[test]
fn slack_gets_no_links_and_no_calls_and_no_more_than_it_takes() {
    let rendered = message::Rendered {
        subject: format!("<!channel> {}", "s".repeat(300)),
        text: format!("a & b <https://evil.example|here> {}", "&".repeat(4000)),
        json: Value::Null,
    };
    let payload = http::slack_payload(&rendered);
    let section = payload["blocks"][1]["text"]["text"].as_str().unwrap();
    assert!(
        section.starts_with("a &amp; b &lt;https://evil.example|here&gt; &amp;"),
        "{section}"
    );
    assert!(
        section.chars().count() <= 3000 && section.ends_with("&amp;…"),
        "{section}"
    );
    assert!(
        payload["text"]
            .as_str()
            .unwrap()
            .starts_with("&lt;!channel&gt; s")
    );
    let header = &payload["blocks"][0]["text"];
    assert_eq!(
        (
            &header["type"],
            header["text"].as_str().unwrap().chars().count()
        ),
        (&"plain_text".into(), 150)
    );
}

#[test]
fn waits_grow_to_an_hour() {
    let waits: Vec<i64> = [1, 2, 3, 7, 8, 9, 40]
        .map(|n| backoff(n).num_seconds())
        .to_vec();
    assert_eq!(waits, [30, 60, 120, 1920, 3600, 3600, 3600]);
}

#[test]
fn messages_that_are_too_many_become_one_that_names_them() {
    let of = |minute: i64, event: Event| Message {
        at: at(minute),
        ..message(event, &[(event, matter("sync", &[]), State::New)])
    };
    assert_eq!(sum_up(Vec::new()), None);
    let all = (0..70)
        .map(|minute| of(minute, Event::Failure))
        .chain([of(80, Event::Recovery)]);
    let first = sum_up(all.collect()).unwrap();
    let whole = sum_up(vec![first, of(90, Event::Refusal)]).unwrap();
    assert_eq!(
        (whole.kind, whole.at),
        (Kind::Event(Event::Refusal), at(90))
    );
    assert_eq!((whole.summed_up.len(), whole.omitted), (50, 21));
    assert_eq!(whole.summed_up[49].kind, Kind::Event(Event::Recovery));
    let rendered = whole.render(&channel(""), "msg_1", &place()).unwrap();
    assert!(
        rendered.text.contains("- 21 more before these\n"),
        "{}",
        rendered.text
    );
    assert!(
        rendered
            .text
            .contains("- 2026-11-25 01:20:00 UTC: over: sync is so\n"),
        "{}",
        rendered.text
    );
}

prop_compose! {
    /// What a sync may show of three topics.
    fn shown()(each in prop::collection::vec(prop::option::of(prop::collection::btree_set(0..12_u32, 0..6)), 3)) -> Matters {
        let of = [("refused", Event::Refusal), ("operations", Event::Failure), ("quarantine", Event::Quarantine)];
        let each = each.into_iter().zip(of);
        each.filter_map(|(items, (topic, event))| {
            let items: Vec<u32> = items?.into_iter().collect();
            Some((event, matter(topic, &items)))
        }).collect()
    }
}

/// One observation: minutes since the one before, and what was seen; `None` of a failed sync.
fn observations() -> impl Strategy<Value = Vec<(i64, Option<Matters>)>> {
    prop::collection::vec((1..600_i64, prop::option::weighted(0.8, shown())), 1..40)
}

proptest! {
    /// Whatever happens: what goes on was told, and told last no longer ago than a day; what is over is told
    /// once; nothing is told twice without a reason; and every end was a beginning.
    #[test]
    fn each_matter_is_told_begin_and_end(observations in observations()) {
        let mut told = AllTold::new();
        let mut open: BTreeSet<String> = BTreeSet::new();
        let mut now = 0;
        for (minutes, seen) in observations {
            now += minutes;
            let seen = seen.map_or_else(failed, |matters| sync(&matters));
            let before = told.clone();
            let (then, messages) = decide(told, Some(&seen), at(now));
            for message in &messages {
                prop_assert!(!message.parts.is_empty());
                for part in &message.parts {
                    let topic = &part.matter.topic;
                    match part.state {
                        State::New => prop_assert!(open.insert(topic.clone())),
                        State::Over => prop_assert!(open.remove(topic)),
                        State::Ongoing => {
                            let Told { at: last, .. } = &before[topic];
                            prop_assert!(at(now) - *last >= REMIND_AFTER);
                        }
                        State::Worse => {
                            let (_, matter) = seen.matters.iter().find(|(_, one)| one.topic == *topic).unwrap();
                            prop_assert!(!matter.items.is_subset(&before[topic].matter.items));
                        }
                    }
                }
            }
            for (_, matter) in &seen.matters {
                prop_assert!(then.contains_key(&matter.topic));
            }
            let kept: BTreeSet<String> = then.keys().cloned().collect();
            prop_assert_eq!(&kept, &open);
            prop_assert!(then.values().all(|one| at(now) - one.at < REMIND_AFTER));
            // The same again is no news.
            let (again, more) = decide(then.clone(), Some(&seen), at(now));
            prop_assert_eq!((&again, more), (&then, Vec::new()));
            told = then;
        }
    }

    /// In no hour there are more than may be, and there is room as soon as there can be.
    #[test]
    fn the_rate_is_kept(gaps in prop::collection::vec(0..40_i64, 1..80), at_most in 1..6_u32) {
        let (mut sent, mut now) = (Vec::new(), 0);
        for gap in gaps {
            now += gap;
            if room(&sent, at_most, at(now)) > 0 {
                sent.push(at(now));
                let hour = sent.iter().filter(|one| at(now) - **one < TimeDelta::hours(1)).count();
                prop_assert!(hour <= at_most as usize);
            } else {
                let then = room_at(&sent, at_most, at(now));
                prop_assert!(then > at(now) && then <= at(now) + TimeDelta::hours(1));
                prop_assert!(room(&sent, at_most, then) > 0);
                prop_assert_eq!(room(&sent, at_most, then - TimeDelta::milliseconds(1)), 0);
            }
        }
    }
}
