//! What goes on that people are told of. Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::apply::{Applied, EndedBy};
use crate::config::{Event, Job};
use crate::model::{Digest, RunId};
use crate::plan::groups::GroupNoticed;
use crate::plan::{Plan, RefusalReason, SkipReason};

/// So many people are named in one message.
const NAMED: usize = 20;

/// Something that goes on, and that people are told of when it begins, when it gets worse, once a day as long
/// as it goes on, and when it is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matter {
    /// What it is, by a name that stays the same: `hold deactivate`, `sync`, `quarantine`.
    pub topic: String,
    /// In a few words, without any person.
    pub title: String,
    /// In a sentence, without any person.
    pub text: String,
    /// The command that shows more.
    pub look: String,
    /// How much of it there is: operations, people; 1 of what is no number.
    pub count: u64,
    /// Names, addresses and errors, which not everybody is told; some of them, if they are many.
    pub people: Vec<String>,
    /// Of what it is made, by digest, to see what is new.
    pub items: BTreeSet<String>,
}

/// What was seen at one time.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The run that has shown it.
    pub run: Option<RunId>,
    /// What goes on, each with what kind of event it is.
    pub matters: Vec<(Event, Matter)>,
    /// What would have been seen as well: what of it is not among the matters is over.
    looked_at: LookedAt,
}

#[derive(Clone, Debug, Default)]
struct LookedAt {
    topics: BTreeSet<&'static str>,
    plan: bool,
}

/// That the daemon hangs.
const HANGS: &str = "hang";
/// That the daemon does not start.
const START: &str = "start";

/// What is no part of a plan.
fn is_of_no_plan(topic: &str) -> bool {
    [HANGS, START].contains(&topic) || Job::ALL.iter().any(|job| topic == of_job(*job))
}

/// The topic of a job: a full sync is a sync.
fn of_job(job: Job) -> &'static str {
    match job {
        Job::Full => Job::Sync.name(),
        job => job.name(),
    }
}

impl Seen {
    /// That a job went well, or did not: by what it ended, in words without any person, and in all words.
    pub fn job(job: Job, trouble: Option<(Event, &str, String)>) -> Self {
        let topic = of_job(job);
        let trouble = trouble.map(|(event, brief, detail)| {
            let matter = Matter {
                topic: topic.to_owned(),
                title: match event {
                    Event::Refusal => format!("the {job} is refused"),
                    _ => format!("the {job} failed"),
                },
                text: format!("the {job} came to nothing: {brief}"),
                look: "dirsyncd status".to_owned(),
                count: 1,
                people: vec![detail],
                items: BTreeSet::new(),
            };
            (event, matter)
        });
        Self::daemon(topic, trouble)
    }

    /// That the daemon hangs, or goes on.
    pub fn hanging(hangs: bool) -> Self {
        let what = "the work of the daemon does not go on";
        Self::daemon(
            HANGS,
            hangs.then(|| trouble(HANGS, what, what, String::new())),
        )
    }

    /// That the daemon does not start, and why in all words; or that it has started.
    pub fn start(why: Option<String>) -> Self {
        let what = "the daemon does not start";
        Self::daemon(START, why.map(|why| trouble(START, what, what, why)))
    }

    fn daemon(topic: &'static str, matter: Option<(Event, Matter)>) -> Self {
        Seen {
            run: None,
            matters: matter.into_iter().collect(),
            looked_at: LookedAt {
                topics: BTreeSet::from([topic]),
                plan: false,
            },
        }
    }

    /// What a sync of everybody planned, and what became of it.
    pub fn sync(run: RunId, plan: &Plan, applied: &Applied) -> Self {
        let mut matters = held(plan);
        matters.extend(not_believed(plan));
        matters.extend(refused(plan));
        matters.extend(failing(plan, applied));
        if let Some(EndedBy::Error(error)) = &applied.ended_by {
            matters.push(trouble(
                of_job(Job::Sync),
                "the sync ended early",
                "the sync ended before all operations were sent, by an error that each would have met",
                error.clone(),
            ));
        }
        Seen {
            run: Some(run),
            matters,
            looked_at: LookedAt {
                topics: BTreeSet::from([of_job(Job::Sync)]),
                plan: true,
            },
        }
    }

    /// Whether it is over, if it is not among the matters.
    pub(super) fn would_show(&self, topic: &str) -> bool {
        self.looked_at.topics.contains(topic) || (self.looked_at.plan && !is_of_no_plan(topic))
    }
}

fn trouble(topic: &str, title: &str, text: &str, detail: String) -> (Event, Matter) {
    let matter = Matter {
        topic: topic.to_owned(),
        title: title.to_owned(),
        text: text.to_owned(),
        look: "dirsyncd status".to_owned(),
        count: 1,
        people: Some(detail)
            .into_iter()
            .filter(|one| !one.is_empty())
            .collect(),
        items: BTreeSet::new(),
    };
    (Event::Failure, matter)
}

/// A matter of these, each with what it is known by and what is told of it by name.
fn of_these(topic: &str, look: &str, these: &[(String, String)]) -> Matter {
    let digest = |text: &str| {
        let Digest(octets) = Digest::of_text(text);
        octets[..4]
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect()
    };
    let mut people: Vec<String> = these
        .iter()
        .map(|(_, told)| told.clone())
        .take(NAMED)
        .collect();
    if these.len() > NAMED {
        people.push(format!("and {} more", these.len() - NAMED));
    }
    Matter {
        topic: topic.to_owned(),
        title: String::new(),
        text: String::new(),
        look: look.to_owned(),
        count: these.len() as u64,
        people,
        items: these.iter().map(|(key, _)| digest(key)).collect(),
    }
}

fn held(plan: &Plan) -> Vec<(Event, Matter)> {
    let mut matters = Vec::new();
    for (at, hold) in plan.holds.iter().enumerate() {
        let of_people = plan.operations.iter().filter(|one| one.holds.contains(&at));
        let of_people = of_people.map(|one| {
            let operation = &one.operation;
            let (kind, key) = (operation.kind.name(), operation.key.as_str());
            let told = format!("{kind} {} ({})", operation.label(), operation.dn);
            (format!("{kind} {key}"), told)
        });
        let groups = plan.groups.iter().flat_map(|groups| &groups.operations);
        let of_groups = groups.filter(|one| one.holds.contains(&at)).map(|one| {
            let (kind, name) = (one.operation.kind.name(), &one.operation.name);
            (
                format!("{kind} {}", one.operation.key.as_str()),
                format!("{kind} {name}"),
            )
        });
        let these: Vec<_> = of_people.chain(of_groups).collect();
        let matter = Matter {
            title: format!("the hold `{}` is open, with {}", hold.name, hold.planned),
            text: hold.to_string(),
            count: hold.planned,
            ..of_these(&format!("hold {}", hold.name), "dirsyncd holds", &these)
        };
        matters.push((Event::Refusal, matter));
    }
    matters
}

fn not_believed(plan: &Plan) -> Vec<(Event, Matter)> {
    let of_people = plan.suspensions.iter().map(|suspension| {
        let source = suspension.source.as_str();
        let matter = Matter {
            topic: format!("absences {source}"),
            title: format!("absences of source `{source}` are not believed"),
            text: format!(
                "{} people were not seen in source `{source}`, and it is not proven that they have left: nobody departs",
                suspension.absent
            ),
            look: "dirsyncd plan".to_owned(),
            count: suspension.absent,
            people: vec![suspension.why.to_string()],
            items: BTreeSet::new(),
        };
        (Event::Refusal, matter)
    });
    let groups = plan.groups.iter().flat_map(|groups| &groups.suspensions);
    let groups: Vec<_> = groups
        .map(|one| {
            let group = one.group.as_deref().unwrap_or_default();
            (
                format!("{group} {}", one.place),
                format!("{}: {}", one.place, one.why),
            )
        })
        .collect();
    let of_groups = (!groups.is_empty()).then(|| {
        let matter = Matter {
            title: "nobody is taken out of some groups".to_owned(),
            text: format!(
                "of {} groups, or places with groups, it is not known who is in them: nobody is taken out",
                groups.len()
            ),
            ..of_these("members", "dirsyncd plan", &groups)
        };
        (Event::Refusal, matter)
    });
    of_people.chain(of_groups).collect()
}

fn refused(plan: &Plan) -> Vec<(Event, Matter)> {
    let groups = || plan.groups.iter().flat_map(|groups| &groups.refusals);
    let of_people = |in_quarantine: bool| {
        plan.refusals
            .iter()
            .filter(move |one| matches!(one.why, RefusalReason::Quarantined(_)) == in_quarantine)
            .map(|one| (one.dn.clone(), format!("{}: {}", one.dn, one.why)))
    };
    let of_groups = |in_quarantine: bool| {
        groups()
            .filter(move |one| one.in_quarantine == in_quarantine)
            .map(|one| {
                (
                    format!("group {}", one.dn),
                    format!("{}: {}", one.dn, one.why),
                )
            })
    };
    let counted = |people: usize, groups: usize| match (people, groups) {
        (people, 0) => number(people, "person", "people"),
        (0, groups) => number(groups, "group", "groups"),
        (people, groups) => format!(
            "{} and {}",
            number(people, "person", "people"),
            number(groups, "group", "groups")
        ),
    };
    let mut matters = Vec::new();
    for (in_quarantine, event, topic) in [
        (false, Event::Refusal, "refused"),
        (true, Event::Quarantine, "quarantine"),
    ] {
        let mut these: Vec<_> = of_people(in_quarantine).collect();
        let people = these.len();
        these.extend(of_groups(in_quarantine));
        if these.is_empty() {
            continue;
        }
        let whom = counted(people, these.len() - people);
        let (title, text) = match in_quarantine {
            false => (
                format!("refused: {whom}"),
                format!("nothing is done for {whom}, as something is wrong there"),
            ),
            true => (
                format!("in quarantine: {whom}"),
                format!(
                    "what is to be done for {whom} has failed so often that it is not tried any more, until the directory wants something else or `dirsyncd retry` lets it go again"
                ),
            ),
        };
        let matter = Matter {
            title,
            text,
            ..of_these(topic, "dirsyncd plan", &these)
        };
        matters.push((event, matter));
    }
    matters
}

/// What has failed now, or has failed before and is put off.
fn failing(plan: &Plan, applied: &Applied) -> Option<(Event, Matter)> {
    let failed = applied.failed.iter().map(|(operation, error)| {
        let told = format!("{} ({}): {error}", operation.label(), operation.dn);
        (operation.key.as_str().to_owned(), told)
    });
    let of_groups = applied.groups.failed.iter().map(|(operation, error)| {
        let told = format!("{}: {error}", operation.name);
        (format!("group {}", operation.name), told)
    });
    let put_off = plan
        .skipped
        .iter()
        .filter_map(|skipped| match &skipped.why {
            SkipReason::Failing(failing) => Some((
                failing.key.as_str().to_owned(),
                format!("{}: {}", skipped.dn, skipped.why),
            )),
            _ => None,
        });
    let groups = plan.groups.iter().flat_map(|groups| &groups.notices);
    let groups = groups.filter_map(|notice| match &notice.what {
        GroupNoticed::PutOff(why) => Some((
            format!("group {}", notice.group),
            format!("{}: {why}", notice.group),
        )),
        _ => None,
    });
    let these: Vec<_> = failed
        .chain(of_groups)
        .chain(put_off)
        .chain(groups)
        .collect();
    let matter = Matter {
        title: number(these.len(), "operation fails", "operations fail"),
        text: format!(
            "{}, and later runs try again",
            number(
                these.len(),
                "operation has failed",
                "operations have failed"
            )
        ),
        ..of_these("operations", "dirsyncd history --failed", &these)
    };
    (!these.is_empty()).then_some((Event::Failure, matter))
}

fn number(count: usize, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}
