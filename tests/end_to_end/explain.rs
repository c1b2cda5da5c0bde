//! `dirsyncd explain` tells of one person what is known, when both sides are gone.

use serde_json::Value;

use crate::support::people::{BASE, directory};
use crate::support::unchanged::tree_digest;
use crate::support::{Dirsyncd, Organization, Output, Person, database};

/// A company in an LDIF file, after its first sync.
struct Company {
    organization: Organization,
    dirsyncd: Dirsyncd,
    people: Vec<Person>,
}

impl Company {
    fn new(rest: &str) -> Self {
        let people = Person::four();
        let organization = Organization::start();
        let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
        dirsyncd.rest = rest.to_owned();
        dirsyncd.sync(0);
        Company {
            organization,
            dirsyncd,
            people,
        }
    }

    /// Syncs with the people as they are now.
    fn sync(&self, code: i32) {
        self.dirsyncd.write_ldif(&directory(&self.people));
        self.dirsyncd.sync(code);
    }

    /// Takes both sides away: the API ends, and so does the directory.
    fn offline(mut self) -> Alone {
        self.organization.kill();
        std::fs::remove_file(self.dirsyncd.ldif_file()).unwrap();
        // Writes the configuration.
        self.dirsyncd.run(&["holds"]).expect_code(0);
        Alone(self.dirsyncd)
    }
}

/// The program with its database alone.
struct Alone(Dirsyncd);

impl Alone {
    /// Explains somebody, which changes nothing.
    #[track_caller]
    fn explain(&self, arguments: &[&str], code: i32) -> Output {
        let before = tree_digest(self.0.folder());
        let output = self.0.run(&[&["explain"], arguments].concat());
        assert_eq!(tree_digest(self.0.folder()), before, "files have changed");
        output.expect_code(code)
    }

    /// The same as JSON.
    #[track_caller]
    fn json(&self, who: &str) -> Value {
        let output = self.explain(&[who, "--format", "json"], 0);
        let json: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(json["version"], 1);
        json["person"].clone()
    }
}

#[test]
fn whoever_is_as_the_account_is_told_so() {
    let company = Company::new("");
    let ada = company.people[0].clone();
    let alone = company.offline();
    let all = alone.explain(&["ada@example.org"], 0);
    println!("{all}");
    panic!();
}
