//! How fast entries become desired accounts: `cargo bench --bench mapping`.
//!
//! Plain on purpose, without a framework: one row a step, in nanoseconds of processor time an
//! entry and entries a second of it, the median of several rounds of 100,000 entries. They are
//! the same few again and again, as in a run each entry is mapped while it is still in the
//! processor's cache.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::path::Path;

use chrono::Utc;
use dirsyncd::config::Config;
use dirsyncd::mapping::Mapping;
use dirsyncd::model::{DesiredAccount, Entry};

const PEOPLE: usize = 100_000;
const IN_HAND: usize = 100;
const ROUNDS: usize = 9;

fn main() {
    for (preset, source, rules) in [
        ("openldap", "", ""),
        ("active-directory", "", ""),
        (
            "openldap",
            "exclude = 'attr(\"mail\").matches(\"^test-[0-9]+@\")'",
            "",
        ),
        (
            "openldap",
            "",
            "nickName = { expr = 'attr(\"mail\").split(\"@\")[0].upperAscii()' }",
        ),
    ] {
        let mapping = mapping(preset, source, rules);
        println!("{preset} {source}{rules}");
        let now = Utc::now();
        let people: Vec<Entry> = (0..IN_HAND).map(person).collect();
        let map = |entry| mapping.map(entry, now).unwrap();
        let accounts: Vec<DesiredAccount> = people.iter().map(map).collect();
        measured("copy the entry", &people, Entry::clone);
        measured("map", &people, map);
        measured("copy the account", &accounts, DesiredAccount::clone);
        measured("digest", &accounts, DesiredAccount::digest);
    }
}

/// Does the work for [`PEOPLE`] of the items in hand, several times over, and tells the median.
fn measured<'a, T, R>(what: &str, items: &'a [T], work: impl Fn(&'a T) -> R) {
    let mut times: Vec<u64> = (0..ROUNDS)
        .map(|_| {
            let start = processor_time();
            for item in items.iter().cycle().take(PEOPLE) {
                black_box(work(black_box(item)));
            }
            processor_time() - start
        })
        .collect();
    times.sort_unstable();
    let each = times[ROUNDS / 2] as f64 / PEOPLE as f64;
    println!(
        "  {what:<20} {each:>7.0} ns an entry {:>12.0} entries/s",
        1e9 / each
    );
}

/// What this thread has used, in nanoseconds: what else the machine does counts less than in
/// wall time. The first number of schedstat (proc(5)), which the kernel counts every few
/// milliseconds.
fn processor_time() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    schedstat.split(' ').next().unwrap().parse().unwrap()
}

fn mapping(preset: &str, source: &str, rules: &str) -> Mapping {
    let text = format!(
        "[organization]\nid = \"o\"\ndirectory = \"d\"\nscim_key = {{ env = \"K\" }}\n[[source]]\n\
         kind = \"ldif\"\nfile = \"f\"\nbase = \"dc=example\"\npreset = \"{preset}\"\n{source}\n\
         [source.mapping]\n{rules}\n"
    );
    let config = Config::parse(Path::new("config.toml"), &text).unwrap();
    Mapping::compile(&config.sources[0], &config.organization.provisioning).unwrap()
}

/// A person with what either kind of directory sends of them.
fn person(number: usize) -> Entry {
    let mut entry = Entry::new(format!("uid=user{number:06},ou=people,dc=example,dc=org"));
    let mut guid = [0x42; 16];
    guid[..8].copy_from_slice(&number.to_le_bytes());
    entry.push("objectGUID", guid.to_vec());
    for (name, value) in [
        ("entryUUID", format!("8f2a1c3e-0000-4000-8000-{number:012}")),
        ("cn", format!("Zoë Müller-{number:06}")),
        ("displayName", format!("Müller-{number:06}, Zoë")),
        ("givenName", "Zoë".to_owned()),
        ("sn", format!("Müller-{number:06}")),
        ("mail", format!("zoe.mueller.{number:06}@example.org")),
        ("title", "Engineer".to_owned()),
        ("departmentNumber", format!("{}", number % 97)),
        ("department", format!("Department {}", number % 97)),
        ("o", "Example Ltd".to_owned()),
        ("company", "Example Ltd".to_owned()),
        ("ou", "people".to_owned()),
        ("preferredLanguage", "de".to_owned()),
        ("telephoneNumber", format!("+49 30 1234 {number:06}")),
        ("userAccountControl", "512".to_owned()),
    ] {
        entry.push(name, value.into_bytes());
    }
    entry
}
