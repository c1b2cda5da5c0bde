//! The client before a SCIM server that no one here wrote: scim2-server (PyPI), which is strict, answers PATCH with
//! 204 and no body, closes every connection and knows nothing of Atlassian's extension.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use dirsyncd::apply::{Control, Shutdown, Unwatched};
use dirsyncd::config::Config;
use dirsyncd::model::{ExternalId, ScimId};
use dirsyncd::org::{Reader, Writer};
use dirsyncd::plan::Plan;

use dirsyncd::run::{Finished, Orders, Setup, dry_run, sync};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const KEY: &str = "third-party-key";

/// A running scim2-server and a folder with a configuration for it.
struct World {
    server: Child,
    url: String,
    folder: tempfile::TempDir,
    client: reqwest::Client,
}

impl Drop for World {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[derive(Clone)]
struct Person {
    uid: String,
    title: Option<&'static str>,
    employee_type: &'static str,
}

impl World {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(options: &[&str]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let scripts = Path::new(ROOT).join("tests/scim");
        let venv = Path::new(ROOT).join("target/scim-venv");
        let made = Command::new(scripts.join("setup.sh"))
            .arg(&venv)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let server = Command::new(venv.join("bin/python"))
            .arg("-B")
            .arg(scripts.join("mounted.py"))
            .args(["/scim/directory/dir-1", "--hostname", "127.0.0.1", "--port"])
            .arg(port.to_string())
            .args(["--bearer-token", KEY])
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        std::fs::write(&key, KEY).unwrap();
        std::fs::set_permissions(key, Permissions::from_mode(0o600)).unwrap();
        let config = format!(
            r#"
            database = "dirsyncd.db"
            [organization]
            id = "org-1"
            directory = "dir-1"
            api = "{url}"
            scim_key = {{ file = "key" }}
            [[source]]
            kind = "ldif"
            preset = "openldap"
            file = "people.ldif"
            base = "dc=example,dc=org"
            [source.mapping]
            active = {{ expr = 'attr("employeeType") != "leaver"' }}
            "#
        );
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        let world = World {
            server,
            url,
            folder,
            client: reqwest::Client::new(),
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while world.get("Users?count=0").await.is_none() {
            assert!(Instant::now() < deadline, "scim2-server does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        world
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let url = format!("{}/scim/directory/dir-1/{path}", self.url);
        let answer = self.client.get(url).bearer_auth(KEY).send().await.ok()?;
        answer.json().await.ok()
    }

    /// Every user by its external id, read by the server's own paging.
    async fn users(&self) -> BTreeMap<String, Value> {
        let mut users = BTreeMap::new();
        loop {
            let path = format!("Users?startIndex={}&count=50", users.len() + 1);
            let page = self.get(&path).await.unwrap();
            for user in page["Resources"].as_array().into_iter().flatten() {
                let key = user["externalId"].as_str().unwrap().to_owned();
                assert!(users.insert(key, user.clone()).is_none(), "twice: {user}");
            }
            if users.len() as u64 >= page["totalResults"].as_u64().unwrap() {
                return users;
            }
        }
    }

    fn setup(&self) -> Setup {
        Setup::new(Config::load(&self.folder.path().join("config.toml")).unwrap()).unwrap()
    }

    fn write(&self, people: &[Person]) {
        let entries: Vec<String> = people
            .iter()
            .map(|Person { uid, title, employee_type }| {
                let title = title.map_or(String::new(), |title| format!("title: {title}\n"));
                format!(
                    "dn: uid={uid},dc=example,dc=org\nobjectClass: inetOrgPerson\nentryUUID: key-{uid}\nuid: {uid}\n\
                     cn: Person {uid}\nsn: {uid}\ngivenName: Person\nmail: {uid}@example.org\n\
                     telephoneNumber: +1 555 1\ndepartmentNumber: Sales\nemployeeType: {employee_type}\n{title}\n"
                )
            })
            .collect();
        std::fs::write(self.folder.path().join("people.ldif"), entries.concat()).unwrap();
    }

    async fn sync(&self) -> Finished {
        let finished = sync(&self.setup(), Orders::ROUTINE, "test", &control())
            .await
            .unwrap();
        assert!(
            finished.applied.failed.is_empty(),
            "{:?}",
            finished.applied.failed
        );
        assert_eq!(finished.applied.ended_by, None);
        let plan = dry_run(&self.setup(), Orders::ROUTINE, &control())
            .await
            .unwrap();
        assert!(plan.operations.is_empty(), "{:?}", plan.operations);
        finished
    }
}

fn control() -> Control<'static> {
    Control {
        watch: &Unwatched,
        stop: Shutdown::never(),
        now: &chrono::Utc::now,
        asked_by: None,
    }
}

fn people(count: usize) -> Vec<Person> {
    (0..count)
        .map(|n| Person {
            uid: format!("p{n:03}"),
            title: Some("Engineer"),
            employee_type: "staff",
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_created_changed_deactivated_restored_and_adopted() {
    let world = World::start().await;
    expect_a_life(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_patch_gets_whole_resources_in_pages_of_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let announced = folder.path().join("config.json");
    let config = serde_json::json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": false},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": 40},
        "changePassword": {"supported": false},
        "sort": {"supported": false},
        "etag": {"supported": false},
        "authenticationSchemes": [],
    });
    std::fs::write(&announced, config.to_string()).unwrap();
    let announced = announced.display().to_string();
    let world = World::start_with(&["--service-provider-config", &announced]).await;
    let told = world.get("ServiceProviderConfig").await.unwrap();
    assert_eq!(told["patch"]["supported"], false);
    expect_a_life(&world).await;
}

async fn expect_a_life(world: &World) {
    // More than two pages of the client's 100.
    let mut people = people(230);
    world.write(&people);
    assert_eq!(world.sync().await.applied.done, 230);
    let users = world.users().await;
    assert_eq!(users.len(), 230);
    let user = &users["key-p007"];
    assert_eq!(user["userName"], "p007@example.org");
    assert_eq!(user["displayName"], "Person p007");
    assert_eq!(user["name"]["givenName"], "Person");
    assert_eq!(user["emails"][0]["value"], "p007@example.org");
    assert_eq!(user["phoneNumbers"][0]["value"], "+1 555 1");
    assert_eq!(
        user["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"]["department"],
        "Sales"
    );

    // Another value, no value any more, and no login any more, by PATCH.
    people[7].title = Some("Chief");
    people[8].title = None;
    people[9].employee_type = "leaver";
    let gone = people.pop().unwrap();
    world.write(&people);
    assert_eq!(world.sync().await.applied.done, 4);
    let users = world.users().await;
    assert_eq!(users["key-p007"]["title"], "Chief");
    assert_eq!(users["key-p008"].get("title"), None);
    assert_eq!(users["key-p009"]["active"], false);
    assert_eq!(users["key-p229"]["active"], false);
    assert_eq!(users.len(), 230);

    people[9].employee_type = "staff";
    people.push(gone);
    world.write(&people);
    assert_eq!(world.sync().await.applied.done, 2);
    let users = world.users().await;
    assert!(users.values().all(|user| user["active"] == true));

    // A lost database: everybody is found again by pages and filters, and nobody doubled.
    std::fs::remove_file(world.folder.path().join("dirsyncd.db")).unwrap();
    assert_eq!(world.sync().await.applied.done, 230);
    assert_eq!(world.users().await, users);
    // A single newcomer is looked up by filter.
    let reader = Reader::new(&world.setup().config.organization).unwrap();
    let found = reader
        .by_external_id(&ExternalId::new("key-p001"))
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        reader.by_user_name("P001@EXAMPLE.ORG").await.unwrap(),
        found
    );
    assert_eq!(
        reader.by_user_name("nobody \"quoted\" \\").await.unwrap(),
        []
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_created_filled_emptied_and_deleted() {
    let world = World::start().await;
    world.write(&people(120));
    world.sync().await;
    let reader = Reader::new(&world.setup().config.organization).unwrap();
    let members: Vec<ScimId> = reader
        .all_accounts(&Default::default())
        .await
        .unwrap()
        .into_iter()
        .map(|account| account.scim_id)
        .collect();
    assert_eq!(members.len(), 120);
    let writer = Writer::for_plan(reader.clone(), &Plan::default().approve());

    let key = ExternalId::new("group-key");
    let id = writer
        .create_group("Engineering", Some(&key))
        .await
        .unwrap();
    writer.add_members(&id, &members).await.unwrap();
    let group = reader.group(&id).await.unwrap().unwrap();
    assert_eq!(
        (group.name.as_str(), group.external_id.as_ref()),
        ("Engineering", Some(&key))
    );
    assert_eq!(group.members.len(), 120);

    writer.remove_members(&id, &members[..119]).await.unwrap();
    let group = reader.group(&id).await.unwrap().unwrap();
    assert_eq!(group.members, members[119..]);
    assert_eq!(
        reader.groups_by_name("Engineering").await.unwrap(),
        std::slice::from_ref(&group)
    );
    assert_eq!(
        reader.all_groups().await.unwrap(),
        std::slice::from_ref(&group)
    );

    let (joining, leaving) = (&members[..5], &members[119..]);
    let replacing = writer.replace_members(&id, joining, leaving);
    replacing.await.unwrap();
    let replaced = reader.group(&id).await.unwrap().unwrap();
    assert_eq!(replaced.members, members[..5]);
    assert_eq!(replaced.external_id, group.external_id);

    writer.delete_group(&id).await.unwrap();
    assert_eq!(reader.group(&id).await.unwrap(), None);
    // Once more is as good.
    writer.delete_group(&id).await.unwrap();
}
