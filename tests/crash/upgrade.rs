//! A database of an earlier version, and the program is killed while it brings it up to date.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::people::directory;
use crate::support::{Dirsyncd, Organization, Person, database};
use crate::trap::{How, Trap, Trapped, count};

/// What is written to the database, and what waits for the disk.
const STORE: &str = "ps";

/// A company whose database has a history.
struct Company {
    organization: Organization,
    dirsyncd: Dirsyncd,
    people: Vec<Person>,
    /// Its database as the program left it.
    database: PathBuf,
}

impl Company {
    fn new() -> Self {
        let organization = Organization::start();
        let mut people = Person::several(8);
        let dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
        dirsyncd.sync(0);
        people[0].title = "Countess".to_owned();
        people[1].mail = Some("hopper@example.org".to_owned());
        people.remove(5);
        dirsyncd.write_ldif(&directory(&people));
        dirsyncd.sync(0);
        let database = dirsyncd.folder().join("as-it-was.db");
        std::fs::copy(dirsyncd.database(), &database).unwrap();
        Company {
            organization,
            dirsyncd,
            people,
            database,
        }
    }

    /// Puts a database in place that is the company's own as this schema has it.
    fn go_back(&self, schema: i64) {
        self.remove_database();
        database::write_older(&self.dirsyncd.database(), schema, &self.database);
    }

    fn remove_database(&self) {
        for file in std::fs::read_dir(self.dirsyncd.state()).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
    }

    /// Brings the database up to date and does nothing else; into this trap. The events.
    fn upgrade(&self, trap: Trap) -> (Option<i32>, String) {
        let ports = (self.organization.port(), 0);
        let trapped = Trapped::start(&self.dirsyncd, ports, &["retry", "--all"], trap, 0);
        let (output, events) = trapped.wait(Duration::from_secs(60));
        (output.code, events)
    }
}

fn schema(path: &Path) -> i64 {
    let tables = database::texts(
        path,
        "SELECT name FROM sqlite_schema WHERE name = '_sqlx_migrations'",
    );
    assert_eq!(tables.len(), 1);
    let version = "SELECT max(version) || '' FROM _sqlx_migrations WHERE success";
    database::texts(path, version)[0].parse().unwrap()
}

#[test]
fn a_database_of_every_earlier_schema_is_brought_up_to_date_and_nothing_is_to_do() {
    let company = Company::new();
    let path = company.dirsyncd.database();
    let right = database::accounts(&company.database);
    for version in 1..database::newest_schema() {
        company.go_back(version);
        company
            .dirsyncd
            .run(&["plan"])
            .expect_code(1)
            .expect_words(&["is of an older dirsyncd"]);
        assert_eq!(schema(&path), version);
        let mark = company.organization.mark();
        company.dirsyncd.sync(0);
        assert!(
            company.organization.writes_since(mark).is_empty(),
            "schema {version}"
        );
        assert_eq!(schema(&path), database::newest_schema());
        assert_eq!(database::accounts(&path), right, "schema {version}");
        company.dirsyncd.expect_nothing_to_do();
        for person in &company.people {
            let told = company
                .dirsyncd
                .run(&["explain", person.mail.as_deref().unwrap()]);
            told.expect_code(0).expect_words(&[&person.dn()]);
        }
        let history = "SELECT kind FROM operations WHERE state = 'done' ORDER BY kind";
        let history = |path: &Path| database::texts(path, history);
        assert_eq!(
            history(&path),
            history(&company.database),
            "schema {version}"
        );
    }
}

#[test]
fn killed_while_it_brings_a_database_up_to_date_it_leaves_a_schema_whole_and_goes_on_from_there() {
    let company = Company::new();
    let path = company.dirsyncd.database();
    let newest = database::newest_schema();
    company.go_back(1);
    let old = company.dirsyncd.folder().join("old.db");
    std::fs::copy(&path, &old).unwrap();
    let (code, events) = company.upgrade(Trap {
        what: STORE,
        ..Trap::NONE
    });
    assert_eq!(code, Some(0));
    let all = count(&events, STORE);
    assert!(all > 40, "{events}");
    let right = database::rows_as_in(&path, &company.database);

    let mut seen = std::collections::BTreeSet::new();
    // Every fourth step, each in one of the ways.
    for at in (1..=all).step_by(4) {
        company.remove_database();
        std::fs::copy(&old, &path).unwrap();
        let how = How::KILLS[usize::try_from(at / 4).unwrap() % How::KILLS.len()];
        let trap = Trap {
            what: STORE,
            at,
            how,
        };
        let (code, _) = company.upgrade(trap);
        assert_eq!(code, None, "{trap:?}");

        assert_eq!(
            database::texts(&path, "PRAGMA integrity_check"),
            ["ok"],
            "{trap:?}"
        );
        let version = schema(&path);
        assert!((1..=newest).contains(&version), "{trap:?}");
        seen.insert(version);
        // It is exactly a database of that schema.
        let tables = "SELECT coalesce(sql, name) FROM sqlite_schema WHERE name NOT GLOB '_sqlx_*' ORDER BY name";
        let whole = company
            .dirsyncd
            .folder()
            .join(format!("whole-{version}.db"));
        if !whole.exists() {
            database::write_older(&whole, version, &company.database);
        }
        assert_eq!(
            database::texts(&path, tables),
            database::texts(&whole, tables),
            "{trap:?}"
        );

        let (code, _) = company.upgrade(Trap::NONE);
        assert_eq!(code, Some(0), "{trap:?}");
        assert_eq!(schema(&path), newest, "{trap:?}");
        assert_eq!(
            database::rows_as_in(&path, &company.database),
            right,
            "{trap:?}"
        );
    }
    assert!(seen.contains(&1) && seen.contains(&newest), "{seen:?}");
    assert!(seen.len() > 5, "{seen:?}");
}
