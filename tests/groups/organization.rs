//! Groups of the directory become groups of the organization.

use serde_json::json;

use crate::support::organization::Mark;
use crate::support::people::{self, BASE};
use crate::support::{Dirsyncd, Organization, Person};
use crate::tree::group;

/// A group as an LDIF file has it; its key is made from the name at its first making.
fn entry(name: &str, key: &str, members: &[String]) -> String {
    let mut entry = format!(
        "dn: {}\nobjectClass: groupOfNames\nentryUUID: {}\ncn: {name}\n",
        group(name),
        uuid(key)
    );
    for member in members {
        entry += &format!("member: {member}\n");
    }
    entry + "\n"
}

fn uuid(name: &str) -> String {
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
}

/// A world whose directory is a file.
struct Files {
    organization: Organization,
    dirsyncd: Dirsyncd,
    people: Vec<Person>,
}

impl Files {
    fn of(people: Vec<Person>) -> Self {
        let organization = Organization::start();
        let mut dirsyncd = Dirsyncd::from_ldif(&organization, &people::directory(&people));
        dirsyncd.rest = rule("");
        Files {
            organization,
            dirsyncd,
            people,
        }
    }

    /// The directory has these groups, as (name, key, numbers of the members), from now on.
    fn groups(&self, groups: &[(&str, &str, &[usize])]) {
        let groups: Vec<String> = groups
            .iter()
            .map(|(name, key, members)| entry(name, key, &self.dns(members)))
            .collect();
        self.write(&groups.concat());
    }

    fn dns(&self, members: &[usize]) -> Vec<String> {
        members.iter().map(|n| self.people[*n].dn()).collect()
    }

    fn write(&self, groups: &str) {
        let ldif = people::directory(&self.people) + groups;
        self.dirsyncd.write_ldif(&ldif);
    }

    /// Who is in a group of the organization, by the number of the person; others as they are.
    #[track_caller]
    fn members(&self, name: &str) -> Vec<usize> {
        let accounts = self.organization.accounts();
        let number = |id: &String| {
            let account = accounts.iter().find(|one| one.scim_id == *id).unwrap();
            let of_key = |person: &Person| Some(person.key()) == account.external_id;
            self.people.iter().position(of_key).unwrap_or(usize::MAX)
        };
        let group = self.organization.group(name);
        let mut members: Vec<usize> = group.members.iter().map(number).collect();
        members.sort_unstable();
        members
    }

    fn names(&self) -> Vec<String> {
        let groups = self.organization.groups().into_iter();
        groups.map(|group| group.name).collect()
    }

    /// The planned group operations, as `kind name +joining -leaving`.
    fn plan(&self) -> (i32, Vec<String>) {
        let plan = self.dirsyncd.plan();
        let operations = plan.json["groups"]["operations"].as_array().unwrap().iter();
        let brief = operations.map(|one| {
            let count = |name: &str| one[name].as_array().unwrap().len();
            let text = |name: &str| one[name].as_str().unwrap().to_owned();
            let kind = text("kind").replace("group_", "");
            format!("{kind} {} +{} -{}", text("name"), count("add"), count("remove"))
        });
        (plan.code, brief.collect())
    }
}

/// A rule over all groups, with these keys.
fn rule(keys: &str) -> String {
    format!("[[group]]\nbase = \"ou=groups,{BASE}\"\n{keys}\n")
}

#[test]
fn a_group_is_made_filled_changed_and_renamed_with_its_people() {
    let files = Files::of(Person::several(6));
    files.groups(&[("dev", "dev", &[0, 1, 2]), ("ops", "ops", &[3])]);
    assert_eq!(
        files.plan(),
        (0, vec!["create dev +3 -0".to_owned(), "create ops +1 -0".to_owned()])
    );
    let output = files.dirsyncd.sync(0);
    assert!(output.stdout.contains("groups: 2 to create"), "{output}");
    assert_eq!(files.members("dev"), [0, 1, 2]);
    assert_eq!(files.members("ops"), [3]);
    assert_eq!(files.organization.group("dev").external_id, Some(uuid("dev")));
    files.dirsyncd.expect_nothing_to_do();

    files.groups(&[("dev", "dev", &[1, 2, 4, 5]), ("ops", "ops", &[3])]);
    assert_eq!(files.plan(), (0, vec!["update dev +2 -1".to_owned()]));
    files.dirsyncd.sync(0);
    assert_eq!(files.members("dev"), [1, 2, 4, 5]);
    files.dirsyncd.expect_nothing_to_do();

    files.groups(&[("engineers", "dev", &[1, 2, 4]), ("ops", "ops", &[3])]);
    assert_eq!(files.plan(), (0, vec!["rename engineers +3 -0".to_owned()]));
    files.dirsyncd.sync(0);
    assert_eq!(files.names(), ["engineers", "ops"]);
    assert_eq!(files.members("engineers"), [1, 2, 4]);
    files.dirsyncd.expect_nothing_to_do();
}
