//! How fast a directory is compared with the snapshot and planned: `cargo bench --bench planner`.
//!
//! By criterion, of 10,000, 100,000 and 1,000,000 people: unchanged, and one in a hundred with another title. What is
//! measured is from the first mapped entry to the plan; the snapshot's digests are loaded before. Then, of the same, the
//! memory that the digests and what differs take for each person, and how much longer a person takes among the most
//! than among the fewest, in one run.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use dirsyncd::config::{Guards, Policies};
use dirsyncd::model::{Attribute, Complete, DesiredAccount, PullEnd, SourceName};
use dirsyncd::plan::{Comparison, Index, Known, Plan, Population, plan};
use support::{account, person};

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
/// Of one in so many something has changed; 0 is of nobody.
const CHANGED: [usize; 2] = [0, 100];
/// How many entries are made ready at a time, which is not measured: as many as a page of a pull has.
const PAGE: usize = 1000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for one_in in CHANGED {
        let name = if one_in == 0 {
            "unchanged"
        } else {
            "1 % changed"
        };
        let mut group = criterion.benchmark_group(name);
        group.sampling_mode(SamplingMode::Flat).sample_size(10);
        for people in SIZES {
            group.throughput(Throughput::Elements(people as u64));
            group.bench_with_input(
                BenchmarkId::from_parameter(people),
                &people,
                |bencher, people| {
                    bencher
                        .iter_custom(|times| (0..times).map(|_| planned(*people, one_in).0).sum());
                },
            );
        }
        group.finish();
    }
    criterion.final_summary();
    for one_in in CHANGED {
        let mut per_person = Vec::new();
        for people in SIZES {
            let mut rounds: Vec<(Duration, usize)> =
                (0..5).map(|_| planned(people, one_in)).collect();
            rounds.sort_unstable();
            let (time, _) = rounds[rounds.len() / 2];
            let bytes = rounds.iter().map(|(_, bytes)| bytes).max().unwrap();
            let one = time.as_secs_f64() / people as f64;
            println!(
                "{people:>9} people, {:>3} % changed: {:>5.0} ns and {:>4} bytes a person, {:>9.0} entries a second",
                100_usize.checked_div(one_in).unwrap_or_default(),
                one * 1e9,
                bytes / people,
                1.0 / one,
            );
            per_person.push(one);
        }
        let ratio = per_person.last().unwrap() / per_person[0];
        println!(
            "    a person among {} takes {ratio:.2} times as long as among {}",
            SIZES[2], SIZES[0]
        );
    }
}

/// How long it takes to compare so many people with the snapshot and to plan what differs, and how many bytes of memory
/// came in use.
fn planned(people: usize, one_in: usize) -> (Duration, usize) {
    let now = Utc::now();
    let source = SourceName::new("directory");
    let before = resident();
    let mut index = Index::new(vec![source.clone()], HashSet::new());
    let mut population = Population::default();
    let mut accounts = HashMap::new();
    let is_changed = |at: usize| one_in > 0 && at % one_in == 7;
    for at in 0..people {
        let account = account(person(at, &source));
        index.insert_account(&account);
        population.enter(&account);
        if is_changed(at) {
            accounts.insert(account.key.clone(), account);
        }
    }
    let mut comparison = Comparison::with(index);
    let mut time = Duration::ZERO;
    for first in (0..people).step_by(PAGE) {
        let page: Vec<DesiredAccount> = (first..people.min(first + PAGE))
            .map(|at| {
                let mut person = person(at, &source);
                if is_changed(at) {
                    person.profile.set(Attribute::Title, "Head of Everything");
                }
                person
            })
            .collect();
        let start = Instant::now();
        for person in page {
            comparison.observe(Ok(person));
        }
        time += start.elapsed();
    }
    let bytes = resident().saturating_sub(before);
    let known = Known {
        accounts,
        keeps_keys: true,
        population,
        ..Known::default()
    };
    let start = Instant::now();
    let plan = finish(comparison, &source, people, &known, now);
    time += start.elapsed();
    let changed = (0..people).filter(|at| is_changed(*at)).count();
    assert_eq!(plan.operations.len(), changed);
    (time, bytes)
}

fn finish(
    comparison: Comparison,
    source: &SourceName,
    people: usize,
    known: &Known,
    now: DateTime<Utc>,
) -> Plan {
    let complete = Complete::attest(PullEnd {
        entries: people as u64,
        changed: None,
        clean: Ok(()),
    });
    let desired = comparison.finish(BTreeMap::from([(source.clone(), complete)]));
    plan(
        &desired,
        known,
        &Policies::default(),
        &Guards::default(),
        now,
    )
    .unwrap()
}

/// How much memory this process has in use.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes * 1024
}
