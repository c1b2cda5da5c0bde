//! A dry run foresees what the organization would refuse, and counts what carrying it out takes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::people::directory;
use crate::support::{Dirsyncd, Organization, Person, database, replaced};

type Counts = BTreeMap<(String, String), i64>;

/// The template of a path, by the names of the API's documents.
fn template(path: &str) -> String {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match &parts[..] {
        ["scim", "directory", _, "Users"] => "/scim/directory/{directoryId}/Users".to_owned(),
        ["scim", "directory", _, "Users", _] => {
            "/scim/directory/{directoryId}/Users/{userId}".to_owned()
        }
        ["users", _, rest @ ..] => format!("/users/{{account_id}}/{}", rest.join("/")),
        ["admin", "v2", "orgs", _, "users", "invite"] => {
            "/admin/v2/orgs/{orgId}/users/invite".to_owned()
        }
        _ => path.to_owned(),
    }
}

/// The requests of a run, by endpoint.
fn requests(organization: &Organization, run: impl FnOnce()) -> Counts {
    let mark = organization.mark();
    run();
    let mut counts = Counts::new();
    for request in organization.requests_since(mark) {
        let endpoint = (request.method, template(&request.path));
        *counts.entry(endpoint).or_default() += 1;
    }
    counts
}

/// What the dry run says that carrying out takes.
fn foretold(plan: &Value) -> Counts {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let calls = plan["forecast"]["calls"].as_array().unwrap();
    calls
        .iter()
        .map(|call| {
            let endpoint = (text(&call["method"]), text(&call["path"]));
            (endpoint, call["count"].as_i64().unwrap())
        })
        .collect()
}

/// What the sync sends beyond what the dry run has sent is what the dry run foretold, endpoint by endpoint.
#[track_caller]
fn expect_foretold(organization: &Organization, dirsyncd: &Dirsyncd, kinds: &[&str]) {
    let mut plan = Value::Null;
    let dry = requests(organization, || plan = dirsyncd.plan().json);
    let mut planned: Vec<&str> = plan["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|operation| operation["kind"].as_str().unwrap())
        .collect();
    planned.sort_unstable();
    planned.dedup();
    assert_eq!(planned, kinds, "{plan:#}");
    let mut more = requests(organization, || {
        dirsyncd.sync(0);
    });
    for (endpoint, count) in dry {
        *more.entry(endpoint).or_default() -= count;
    }
    more.retain(|_, count| *count != 0);
    assert_eq!(more, foretold(&plan));
    assert!(!more.is_empty());
}

/// Lives of people with every kind of operation in them.
fn expect_foretold_through_a_life(organization: &Organization, dirsyncd: &mut Dirsyncd) {
    let mut people = Person::several(14);
    let gone = people.split_off(8);
    let all: Vec<Person> = people.iter().chain(&gone).cloned().collect();
    dirsyncd.rest = "[guards]\ndeactivate = { at_most = 99 }\ndelete = { at_most = 99 }\nchange_email = { at_most = 99 }\n".to_owned();
    dirsyncd.write_ldif(&directory(&all));
    expect_foretold(organization, dirsyncd, &["create"]);

    // Some leave, one is disabled, one has another title and one another address.
    people[0] = people[0].clone().disabled();
    "Director".clone_into(&mut people[1].title);
    people[2].mail = Some("two@example.org".to_owned());
    people.push(Person::new("radia", "Radia", "Perlman"));
    dirsyncd.write_ldif(&directory(&people));
    expect_foretold(organization, dirsyncd, &["create", "deactivate", "update"]);

    // Those are deleted, and one comes back.
    dirsyncd.rest += "[policy]\ndelete_after = \"0s\"\n";
    people[0] = Person::several(1).remove(0);
    dirsyncd.write_ldif(&directory(&people));
    expect_foretold(organization, dirsyncd, &["delete", "restore"]);

    // Two of the deleted are back, one of them with another title.
    let mut back = gone[0].clone();
    "Consul".clone_into(&mut back.title);
    people.extend([back, gone[1].clone()]);
    dirsyncd.write_ldif(&directory(&people));
    expect_foretold(organization, dirsyncd, &["restore"]);
}

#[test]
fn the_requests_of_a_sync_are_those_that_its_dry_run_foretold() {
    let organization = Organization::start();
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, "");
    expect_foretold_through_a_life(&organization, &mut dirsyncd);
}

#[test]
fn so_they_are_in_the_admin_way() {
    let organization = Organization::start();
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, "");
    dirsyncd.organization = organization.admin_block();
    expect_foretold_through_a_life(&organization, &mut dirsyncd);
}

#[test]
fn so_they_are_for_accounts_that_are_taken_over() {
    let organization = Organization::start();
    let people = Person::four();
    // Of one all is right but the key, of one nothing but the address, and of one all.
    let dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
    dirsyncd.sync(0);
    let account = organization.of_key(&people[0].key()).unwrap();
    organization.patch_by_hand(&account, "externalId", &json!("elsewhere"));
    let account = organization.of_key(&people[1].key()).unwrap();
    organization.patch_by_hand(&account, "title", &json!("Boss"));
    std::fs::remove_file(dirsyncd.database()).unwrap();
    expect_foretold(&organization, &dirsyncd, &["adopt"]);
}

#[test]
fn held_operations_are_not_counted() {
    let organization = Organization::start();
    let mut people = Person::four();
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
    dirsyncd.sync(0);
    people.remove(0);
    "Director".clone_into(&mut people[0].title);
    dirsyncd.write_ldif(&directory(&people));
    dirsyncd.rest = "[guards]\ndeactivate = { at_most = 0 }\n".to_owned();
    let plan = dirsyncd.plan();
    assert_eq!(plan.code, 3);
    let patch = "/scim/directory/{directoryId}/Users/{userId}".to_owned();
    assert_eq!(
        foretold(&plan.json),
        [(("PATCH".to_owned(), patch), 1)].into()
    );
    dirsyncd.run(&["plan"]).expect_words(&[
        "Requests to carry it out: 1, in at least ",
        ": 1 PATCH /scim/",
    ]);
}

#[test]
fn an_account_outside_the_provisioning_directory_is_told_before_it_is_linked() {
    let organization = Organization::start();
    let people = Person::four();
    let ours = organization.seed("ada@example.org", "Ada L.");
    organization.seed("grace@example.org", "Grace H.");
    let dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
    let plan = dirsyncd.plan();
    assert_eq!(plan.code, 0);
    let foreseen = plan.json["forecast"]["foreseen"].as_array().unwrap();
    assert_eq!(foreseen.len(), 2);
    assert!(foreseen.iter().all(|one| one["kind"] == "linked"));
    dirsyncd.run(&["plan"]).expect_words(&[&format!(
        "will be linked to the account {ours} (Ada L.), which has this address"
    )]);

    dirsyncd.sync(0).expect_words(&["Done: 4 applied."]);

    let account = organization.of_key(&people[0].key()).unwrap();
    assert_eq!(account.account_id, ours);
}

#[test]
fn a_creation_that_another_user_s_address_will_be_in_the_way_of_is_told() {
    let organization = Organization::start();
    let mut people = Person::four();
    let newcomer = people.pop().unwrap();
    let dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
    dirsyncd.sync(0);
    // A look-up by key and name does not find it.
    let account = organization.create_by_hand("barbara@example.org", "B.", Some("elsewhere"));
    organization.patch_by_hand(&account, "userName", &json!("b@example.org"));
    people.push(newcomer);
    dirsyncd.write_ldif(&directory(&people));
    let words =
        "(B.) has this address and is managed by a provisioning directory (externalDirectory.scim)";
    dirsyncd
        .run(&["plan"])
        .expect_code(0)
        .expect_words(&["will probably be refused: the account 557058:", words]);

    dirsyncd
        .sync(4)
        .expect_words(&[words, "was refused with 409"]);
}

#[test]
fn many_addresses_are_looked_for_in_the_list_of_accounts() {
    let organization = Organization::start();
    let people = Person::several(40);
    for (n, person) in people.iter().enumerate().take(3) {
        organization.seed(person.mail.as_ref().unwrap(), &format!("Found {n}"));
    }
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
    let mut plan = Value::Null;
    let requests = requests(&organization, || plan = dirsyncd.plan().json);
    let searches = |requests: &Counts| -> i64 {
        let of = |path: &str| path.ends_with("/directories/-/users");
        let found = requests.iter().filter(|((_, path), _)| of(path));
        found.map(|(_, count)| *count).sum()
    };
    assert_eq!(searches(&requests), 0, "{requests:?}");
    assert_eq!(plan["forecast"]["foreseen"].as_array().unwrap().len(), 3);
    assert_eq!(plan["forecast"]["unseen_addresses"], 0);
    // A longer list than there are addresses to look for is not read.
    dirsyncd.organization += "forecast_accounts = 26\n";
    for n in 0..1300 {
        organization.seed(&format!("other{n}@example.org"), "Other");
    }
    let requests = self::requests(&organization, || plan = dirsyncd.plan().json);
    assert_eq!(searches(&requests), 26, "{requests:?}");
    assert_eq!(plan["forecast"]["unseen_addresses"], 14);
}

#[test]
fn a_new_address_that_an_account_holds_is_refused_before_it_is_sent() {
    let organization = Organization::start();
    let mut people = Person::four();
    let dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
    dirsyncd.sync(0);
    organization.seed("countess@example.org", "Another");
    people[0].mail = Some("countess@example.org".to_owned());
    "Director".clone_into(&mut people[1].title);
    dirsyncd.write_ldif(&directory(&people));
    let mark = organization.mark();

    let words = "email countess@example.org belongs to another account: 557058:";
    dirsyncd
        .run(&["plan"])
        .expect_code(3)
        .expect_words(&[words]);
    dirsyncd
        .sync(3)
        .expect_words(&[words, "(Another)", "Done: 1 applied."]);

    assert_eq!(organization.writes_since(mark).len(), 1);
}

#[test]
fn creations_beyond_the_room_of_the_directory_are_refused_before_they_are_sent() {
    let organization = Organization::start();
    organization.limits(&json!({"directory": {"users": 3}}));
    // Somebody else's account takes room as well.
    organization.create_by_hand("other@example.org", "Other", None);
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&Person::four()));
    dirsyncd.organization += "max_users = 3\n";
    let mark = organization.mark();

    dirsyncd.sync(3).expect_words(&[
        "the provisioning directory has 1 users and takes 3 (`max_users` in [organization])",
        "2 refused",
        "Done: 2 applied.",
    ]);

    assert_eq!(organization.writes_since(mark).len(), 2);
    assert_eq!(organization.accounts().len(), 3);
}

#[test]
fn what_was_not_looked_at_is_told() {
    let organization = Organization::start();
    let people = Person::several(5);
    for (most, rest) in [(4, Some(1)), (5, None), (0, Some(5))] {
        let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
        dirsyncd.organization += &format!("forecast_accounts = {most}\n");
        let output = dirsyncd.run(&["plan"]).expect_code(0);
        let told = rest.map(|rest| {
            format!(
                "Not looked at beforehand (`forecast_accounts`, `admin_key`): who holds new addresses in the organization, {rest}."
            )
        });
        match told {
            Some(told) => drop(output.expect_words(&[&told])),
            None => assert!(!output.stdout.contains("Not looked at"), "{output}"),
        }
    }
    // What cannot be asked is no reason to fail.
    let dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
    organization
        .faults(&json!([{"match": "^GET .*/directories/-/users", "times": 100, "status": 403}]));
    dirsyncd
        .run(&["plan"])
        .expect_code(0)
        .expect_words(&["who holds new addresses in the organization, 5."]);
}

#[test]
fn the_time_is_told_by_the_limit_that_the_client_knows() {
    let organization = Organization::start();
    let people = Person::several(40);
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
    dirsyncd.organization += "requests_per_second = 10\nforecast_accounts = 0\n";
    dirsyncd.run(&["plan"]).expect_words(&[
        "Requests to carry it out: 40, in at least 3s by `requests_per_second = 10`: 40 POST ",
    ]);

    dirsyncd.organization = replaced(&dirsyncd.organization, "requests_per_second", "1000");
    organization.limits(&json!({"scim": {"requests": 20, "seconds": 600}}));
    let plan = dirsyncd.plan().json;
    let paced = plan["forecast"]["time"]["paced_by"].as_str().unwrap();
    assert!(
        paced.starts_with("the API's limit of 20 requests in "),
        "{paced}"
    );
    // What the present period has left, and then two more to wait for.
    let seconds = plan["forecast"]["time"]["seconds"].as_u64().unwrap();
    assert!((1100..=1210).contains(&seconds), "{seconds}");
    assert!(database::accounts(&dirsyncd.database()).is_empty());
}
