//! How fast a report is made: `cargo bench --bench report`.
//!
//! Plain on purpose, as `benches/mapping.rs`: a plan with 10,000 operations of all kinds, on accounts and on groups,
//! some of them held, by the real planner; then each form of its report. One row a form, in seconds of wall time, the
//! median of several rounds, in operations a second and in bytes.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hint::black_box;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use dirsyncd::config::{Guard, Guards, Limit, Policies, Policy};
use dirsyncd::mapping::{Problem, Unmapped};
use dirsyncd::model::{
    Absence, Attribute, Cause, Complete, DesiredAccount, ExistingAccount, ExternalId, GroupChange,
    GroupMember, GroupOperation, GroupOrigin, GroupReason, GroupTarget, Kind, Lifecycle,
    ManagedAccount, PullEnd, ScimId, SourceName, Timestamp,
};
use dirsyncd::plan::groups::PlannedGroup;
use dirsyncd::plan::{Comparison, GroupPlan, Index, Known, Plan, Population, plan};
use dirsyncd::report::{Detail, Form, planned};

const OPERATIONS: usize = 10_000;
const ROUNDS: usize = 9;

fn main() {
    let now = Utc::now();
    let start = Instant::now();
    let plan = everything(now);
    println!("{} operations", count(&plan));
    for kind in Kind::ALL {
        println!("  {:<12} {:>6}", kind.name(), plan.count(kind));
    }
    let groups = plan.groups.as_ref().unwrap();
    for kind in GroupChange::ALL {
        println!("  {:<12} {:>6}", kind.name(), groups.count(kind));
    }
    println!(
        "  held {}, refused {}; planned in {:.3} s",
        plan.held(),
        plan.refusals.len(),
        start.elapsed().as_secs_f64()
    );
    for (name, detail) in [
        ("", Detail::default()),
        (
            " on a terminal",
            Detail {
                width: Some(100),
                has_colour: true,
                ..Detail::default()
            },
        ),
    ] {
        for form in Form::ALL {
            if !name.is_empty() && form != Form::Text {
                continue;
            }
            let mut times: Vec<Duration> = (0..ROUNDS)
                .map(|_| {
                    let start = Instant::now();
                    black_box(planned(black_box(&plan), form, detail));
                    start.elapsed()
                })
                .collect();
            times.sort_unstable();
            let median = times[ROUNDS / 2].as_secs_f64();
            println!(
                "  {:<20} {median:>8.4} s {:>12.0} operations/s {:>10} bytes",
                format!("{}{name}", form.name()),
                count(&plan) as f64 / median,
                planned(&plan, form, detail).len(),
            );
        }
    }
}

fn count(plan: &Plan) -> usize {
    plan.operations.len() + plan.groups.as_ref().map_or(0, |all| all.operations.len())
}

/// A plan that has, of every kind, about as many.
fn everything(now: Timestamp) -> Plan {
    let kinds = Kind::ALL.len() + GroupChange::ALL.len();
    let groups = OPERATIONS / kinds * GroupChange::ALL.len();
    let people = OPERATIONS - groups;
    let source = SourceName::new("directory");
    let long_ago = now - TimeDelta::days(90);
    let deactivated = Lifecycle::Deactivated { since: long_ago };
    let mut accounts = Vec::new();
    let mut wanted = Vec::new();
    let mut existing = Vec::new();
    for at in 0..people {
        let person = support::person(at, &source);
        let account = support::account(person.clone());
        match Kind::ALL[at % Kind::ALL.len()] {
            Kind::Create => wanted.push(person),
            Kind::Adopt => {
                existing.push(ExistingAccount {
                    scim_id: account.scim_id,
                    account_id: None,
                    external_id: None,
                    profile: account.profile,
                    active: true,
                });
                wanted.push(person);
            }
            Kind::Update => {
                accounts.push(account);
                let mut person = person;
                person.profile.set(Attribute::Department, "Sales & Service");
                person
                    .profile
                    .set(Attribute::Title, "Head of \"everything\"");
                wanted.push(person);
            }
            Kind::Restore => {
                accounts.push(ManagedAccount {
                    lifecycle: deactivated,
                    ..account
                });
                wanted.push(person);
            }
            Kind::Deactivate => accounts.push(account),
            Kind::Delete => accounts.push(ManagedAccount {
                lifecycle: deactivated,
                absence: Some(Absence {
                    since: long_ago,
                    cause: Some(Cause::Deleted),
                    pulls: 3,
                }),
                ..account
            }),
        }
    }
    let mut plan = planned_by(now, &source, wanted, accounts, existing);
    plan.groups = Some(GroupPlan {
        operations: (0..groups).map(|at| group(at, &source)).collect(),
        ..GroupPlan::default()
    });
    plan
}

fn planned_by(
    now: Timestamp,
    source: &SourceName,
    wanted: Vec<DesiredAccount>,
    accounts: Vec<ManagedAccount>,
    existing: Vec<ExistingAccount>,
) -> Plan {
    let mut index = Index::new(vec![source.clone()], HashSet::new());
    let mut population = Population::default();
    for account in &accounts {
        index.insert_account(account);
        population.enter(account);
    }
    let mut comparison = Comparison::with(index);
    for person in wanted {
        comparison.observe(Ok(person));
    }
    for at in 0..100 {
        comparison.observe(Err(Box::new(Unmapped {
            source: source.clone(),
            dn: format!("uid=odd{at},ou=people,dc=example,dc=org"),
            key: Some(ExternalId::new(format!("odd-{at}"))),
            problem: Problem::Missing {
                target: Attribute::Email,
                from: "`mail`".into(),
                skip: false,
            },
        })));
    }
    let complete = Complete::attest(PullEnd {
        entries: OPERATIONS as u64,
        changed: None,
        clean: Ok(()),
    });
    let desired = comparison.finish(BTreeMap::from([(source.clone(), complete)]));
    let known = Known {
        accounts: accounts
            .into_iter()
            .map(|account| (account.key.clone(), account))
            .collect(),
        existing,
        keeps_keys: true,
        population,
        ..Known::default()
    };
    let policies = Policies {
        default: Policy {
            delete_after: Some(TimeDelta::days(30)),
            ..Policy::default()
        },
        ..Policies::default()
    };
    // One kind is held, so that reports have holds too.
    let guards = Guards {
        limits: BTreeMap::from([(
            Guard::Deactivate,
            vec![Limit {
                at_most: Some(100),
                ..Limit::default()
            }],
        )]),
        ..Guards::default()
    };
    plan(&desired, &known, &policies, &guards, now).unwrap()
}

/// A change of a group with a few members.
fn group(at: usize, source: &SourceName) -> PlannedGroup {
    let kind = GroupChange::ALL[at % GroupChange::ALL.len()];
    let member = |number: usize| GroupMember {
        name: format!("Müller-{number:06}, Zoë"),
        key: Some(ExternalId::new(format!(
            "8f2a1c3e-0000-4000-8000-{number:012}"
        ))),
        scim_id: Some(ScimId::new(format!("scim-{number:06}"))),
    };
    let key = ExternalId::new(format!("group-{at}"));
    let name = format!("atlassian-team-{at}");
    PlannedGroup {
        operation: GroupOperation {
            kind,
            reason: match kind {
                GroupChange::Create => GroupReason::Appeared,
                GroupChange::Adopt => GroupReason::Found { by: "name".into() },
                GroupChange::Rename => GroupReason::Renamed {
                    from: format!("team-{at}"),
                },
                GroupChange::Update => GroupReason::Members,
                GroupChange::Delete => GroupReason::Left,
            },
            key: key.clone(),
            name: name.clone(),
            origins: BTreeSet::from([GroupOrigin {
                source: source.clone(),
                key,
                dn: format!("cn=team-{at},ou=groups,dc=example,dc=org"),
                rule: "rule".into(),
            }]),
            target: (kind != GroupChange::Create).then(|| GroupTarget {
                scim_id: ScimId::new(format!("group-{at}")),
                name,
                members: 12,
            }),
            add: (at..at + 5).map(member).collect(),
            remove: match kind {
                GroupChange::Update => (at + 5..at + 8).map(member).collect(),
                _ => Vec::new(),
            },
            former: None,
            undoes: None,
        },
        holds: Vec::new(),
        tried_in_vain: None,
    }
}
