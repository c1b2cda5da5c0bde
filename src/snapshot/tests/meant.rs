//! Who is meant by a name: found by indexes and row by row, and the same as by everybody at once.

use serde_json::Value;

use super::*;
use crate::snapshot::dossier::{ACCOUNTS_NAMED, everybody};

/// Few enough that many have several of them, and others the same in another form.
const NAMES: [&str; 12] = [
    "zoe",
    "Zoe",
    "zo\u{eb}",
    "ZO\u{cb}",
    "ann",
    "anne",
    "k-1",
    "K-1",
    "\u{212a}-1",
    "max",
    "maxi",
    "ab=",
];

fn one_of<'a>(random: &mut fastrand::Rng, names: &[&'a str]) -> &'a str {
    names[random.usize(..names.len())]
}

fn dn(random: &mut fastrand::Rng) -> String {
    let name = one_of(random, &NAMES).replace('=', "\\=");
    match random.u8(..4) {
        0 => format!("UID={name} , ou=People,dc=example"),
        1 => format!("uid={name},OU=people, dc=example"),
        2 => format!("cn=x+uid={name},ou=people,dc=example"),
        _ => format!("no name at all: {name}"),
    }
}

fn profile(random: &mut fastrand::Rng) -> Value {
    let mut profile = serde_json::Map::new();
    for (attribute, end) in [
        ("userName", ""),
        ("email", "@example.org"),
        ("displayName", " Lovelace"),
    ] {
        if random.u8(..4) > 0 {
            let value = format!("{}{end}", one_of(random, &NAMES));
            profile.insert(attribute.to_owned(), value.into());
        }
    }
    profile.into()
}

/// A few people with accounts, wishes, verdicts, holds and attempts, of whom some have several and some none.
async fn company(random: &mut fastrand::Rng) -> (tempfile::TempDir, Journal) {
    let (folder, mut journal) = new_journal().await;
    let mut accounts = Vec::new();
    for n in 0..random.usize(..12) {
        accounts.push(ManagedAccount {
            key: ExternalId::new(one_of(random, &NAMES)),
            dn: dn(random),
            profile: serde_json::from_value(profile(random)).unwrap(),
            ..account(&format!("p{n}"))
        });
    }
    let mut seen = HashSet::new();
    accounts.retain(|account| seen.insert(account.key.clone()));
    journal.note(&accounts).await.unwrap();
    let run = journal.begin_run("test", now()).await.unwrap();
    sqlx::query("INSERT INTO holds VALUES (9, 'create', '', '{}', 0, 1, ?1, ?1, NULL, NULL), (10, 'update', '', '{}', 0, 1, ?1, ?1, NULL, NULL)")
        .bind(run.0)
        .execute(&mut journal.connection)
        .await
        .unwrap();
    for _ in 0..random.usize(..24) {
        let key = one_of(random, &NAMES);
        let (dn, profile) = (dn(random), profile(random));
        let wants = json!({"dn": dn, "profile": profile});
        let source = one_of(random, &["directory", "partners"]);
        let (query, detail) = match random.u8(..7) {
            0 => (
                "INSERT OR IGNORE INTO deviations VALUES (?1, ?2, ?3, NULL)",
                json!({"wants": wants}),
            ),
            1 => (
                "INSERT OR IGNORE INTO deviations VALUES (?1, ?2, ?3, NULL)",
                json!({"unmapped": {"dn": dn}}),
            ),
            2 => (
                "INSERT OR IGNORE INTO deviations VALUES (?1, ?2, ?3, NULL)",
                json!("gone"),
            ),
            3 => (
                "INSERT INTO verdicts (run_id, source, external_id, dn, kind, sentence, wants) VALUES (?4, ?1, ?2, ?5, 'skipped', '', ?3)",
                wants,
            ),
            4 => (
                "INSERT INTO verdicts (run_id, source, dn, kind, sentence, wants) VALUES (?4, ?1, ?5, 'skipped', '', iif(?6, ?3, NULL))",
                wants,
            ),
            5 => (
                "INSERT INTO held_operations VALUES (9 + ?6, randomblob(16), ?2, 'create', ?3)",
                json!({"dn": dn, "account": profile["displayName"], "addresses": [profile["email"], profile["userName"]]}),
            ),
            _ => (
                "INSERT INTO operations (run_id, external_id, kind, detail, state, intended_at) VALUES
                    (?4, ?2, iif(?6, 'create', 'update'), ?3, ?7, 0)",
                json!({"dn": dn, "after": profile}),
            ),
        };
        sqlx::query(query)
            .bind(source)
            .bind(key)
            .bind(detail.to_string())
            .bind(run.0)
            .bind(dn)
            .bind(random.bool())
            .bind(one_of(
                random,
                &["intended", "sent", "done", "failed", "left"],
            ))
            .execute(&mut journal.connection)
            .await
            .unwrap();
    }
    (folder, journal)
}

#[tokio::test]
async fn who_is_meant_is_the_same_as_by_everybody_at_once() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut seen = [0; 3];
    for _ in 0..60 {
        let (_folder, mut journal) = company(&mut random).await;
        let mut typed: Vec<String> = ["", "=", "nobody", "example", "uid=zoe,ou=people,dc=example"]
            .map(str::to_owned)
            .to_vec();
        for name in NAMES {
            typed.extend([
                name.to_owned(),
                name.to_uppercase(),
                format!("{name}@example.org"),
                format!("{name}x"),
            ]);
        }
        typed.extend((0..8).map(|_| dn(&mut random)));
        for who in typed {
            let expected = journal.meant_of_everybody(&who).await.unwrap();
            assert_eq!(journal.meant(&who).await.unwrap(), expected, "{who:?}");
            seen[match expected {
                Meant::One(_) => 0,
                Meant::Several(_) => 1,
                Meant::Nobody(near) if near.is_empty() => continue,
                Meant::Nobody(_) => 2,
            }] += 1;
        }
        journal.close().await.unwrap();
    }
    assert!(seen.iter().all(|times| *times > 100), "{seen:?}");
}

/// The steps by which SQLite answers a query.
async fn steps_of(journal: &mut Journal, query: &str) -> Vec<String> {
    let query = format!("EXPLAIN QUERY PLAN {query}");
    let rows = sqlx::query(sqlx::AssertSqlSafe(query))
        .fetch_all(&mut journal.connection)
        .await;
    rows.unwrap().iter().map(|row| row.get(3)).collect()
}

#[tokio::test]
async fn no_account_but_those_meant_is_read_for_a_key_or_an_address() {
    let (_folder, mut journal) = new_journal().await;
    let called = rows::select_called("zoe@example.org");
    for (query, most) in [(ACCOUNTS_NAMED, 5), (&called, 3)] {
        let steps = steps_of(&mut journal, query).await;
        let reads: Vec<&String> = steps
            .iter()
            .filter(|step| step.contains("accounts"))
            .collect();
        assert!(reads.len() >= most, "{steps:?}");
        // The index is of the few keys alone that SQLite cannot fold.
        let is_bounded = |step: &&&String| {
            step.starts_with("SEARCH accounts USING")
                || step.ends_with("accounts_by_key_beyond_ascii")
        };
        assert_eq!(
            reads.iter().filter(is_bounded).count(),
            reads.len(),
            "{steps:?}"
        );
    }
    journal.close().await.unwrap();
}

#[tokio::test]
async fn for_the_nearest_names_no_account_is_sorted_and_no_operation_read_that_is_done() {
    let (_folder, mut journal) = new_journal().await;
    let steps = steps_of(&mut journal, &everybody()).await;
    let accounts = steps
        .iter()
        .position(|step| step == "SCAN accounts")
        .expect("they are read");
    assert!(!steps[accounts + 1].contains("TEMP B-TREE"), "{steps:?}");
    assert!(
        !steps
            .iter()
            .any(|step| step.starts_with("SCAN operations")
                && !step.contains("operations_not_created")),
        "{steps:?}"
    );
    journal.close().await.unwrap();
}
