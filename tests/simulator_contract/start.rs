//! Starting, restarting, keys.

use dirsyncd::simulator::{Options, Simulator, SimulatorError, start};
use serde_json::Value;

use crate::world::*;

/// c1: SCIM takes only its own key, the others only the organization's. c7: the shapes of 401.
#[tokio::test]
async fn keys_and_media_types() {
    let world = World::new().await;
    let (scim, admin) = (world.simulator.scim_key(), world.simulator.admin_key());
    let url = world.simulator.url();
    let users = format!("{url}/scim/directory/{}/Users", world.simulator.directory());
    let orgs = format!("{url}/admin/v1/orgs");
    let manage = format!("{url}/users/x/manage");
    for (url, key, pointer) in [
        (&users, admin, "/traceId"),
        (&users, "", "/error"),
        (&manage, scim, "/key"),
        (&orgs, scim, "/errors/0/status"),
    ] {
        let response = world.client.get(url).bearer_auth(key).send().await.unwrap();
        assert_eq!(response.status(), 401, "{url}");
        let body: Value = response.json().await.unwrap();
        assert!(body.pointer(pointer).is_some(), "{url} {body}");
    }
    assert_eq!(world.client.get(&orgs).send().await.unwrap().status(), 401);
    // c7: another directory is 404
    let other = format!("{url}/scim/directory/other/Users");
    assert_eq!(
        world
            .client
            .get(other)
            .bearer_auth(scim)
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
    let body = user("a").to_string();
    for (media, expected) in [
        (Some("application/scim+json; charset=utf-8"), 201),
        (Some("application/json"), 409),
        (Some("text/plain"), 415),
        (None, 415),
    ] {
        let mut request = world
            .client
            .post(&users)
            .bearer_auth(scim)
            .body(body.clone());
        if let Some(media) = media {
            request = request.header("content-type", media);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), expected, "{media:?}");
        assert_eq!(response.headers()["content-type"], "application/scim+json");
    }
    let request = world
        .client
        .post(&users)
        .bearer_auth(scim)
        .header("content-type", "application/json");
    assert_eq!(
        request
            .body("{")
            .send()
            .await
            .unwrap()
            .json::<Value>()
            .await
            .unwrap()["scimType"],
        "invalidSyntax"
    );
    // c7: the ':' of an account id may be percent-encoded
    let anna: Value = world
        .client
        .get(&users)
        .bearer_auth(scim)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let encoded = account(&anna["Resources"][0]).replace(':', "%3A");
    world.get(&format!("/users/{encoded}/manage/profile")).await;
    // No key is shown, not even one that a client put where it does not belong.
    world
        .send("GET", &format!("S/Users?key={scim}"), Value::Null)
        .await;
    let log = world.get("/_simulator/requests").await.to_string();
    assert!(!log.contains(scim) && !log.contains(admin) && log.contains("key=[key]"));
}

#[tokio::test]
async fn restart_keeps_state() {
    let world = World::new().await;
    let anna = world.create("anna").await;
    let domains = world.get("O/domains").await;
    world.advance(5 * DAY).await;
    let keep = |world: &World| {
        let Simulator { .. } = &world.simulator;
        let simulator = &world.simulator;
        [
            simulator.organization(),
            simulator.directory(),
            simulator.scim_key(),
            simulator.admin_key(),
        ]
        .map(str::to_owned)
    };
    let before = keep(&world);
    let world = world.again(&[]).await;
    assert_eq!(keep(&world), before);
    assert_eq!(
        world.simulator.domains(),
        ["example.com", "example.org", "example.net"]
    );
    assert_eq!(
        world
            .get(&format!("S/Users/{}?excludedAttributes=meta", id(&anna)))
            .await["emails"],
        anna["emails"]
    );
    assert_eq!(
        world.get("/_simulator/clock").await["seconds_ahead"],
        5 * DAY
    );
    // Domains given later replace the stored ones; one that stays keeps its id.
    let world = world.again(&["Example.org", "new.example"]).await;
    assert_eq!(world.simulator.domains(), ["example.org", "new.example"]);
    assert_eq!(
        world.get("O/domains").await["data"][0]["id"],
        domains["data"][1]["id"]
    );
    world.ask("POST", "S/Users", user("bert"), 400).await;
    #[cfg(unix)]
    for name in ["scim-key", "admin-key"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(world.folder.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn refusals_to_start_say_why() {
    let world = World::new().await;
    let error = |result: Result<Simulator, SimulatorError>| result.err().unwrap();
    let second = error(open(world.folder.path(), &[]).await);
    assert!(
        matches!(&second, SimulatorError::InUse { holder: Some(pid), .. } if *pid == std::process::id().to_string())
    );
    let other = tempfile::tempdir().unwrap();
    let options = Options {
        listen: world.simulator.address(),
        ..Options::in_folder(other.path().to_owned())
    };
    assert!(matches!(
        error(start(options).await),
        SimulatorError::Listen { .. }
    ));
    assert!(matches!(
        error(open(other.path(), &["no domain"]).await),
        SimulatorError::Domain { .. }
    ));
    std::fs::write(other.path().join("scim-key"), "\n").unwrap();
    assert!(matches!(
        error(open(other.path(), &[]).await),
        SimulatorError::Key { .. }
    ));
    let file = other.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(
        error(open(&file, &[]).await),
        SimulatorError::Folder { .. }
    ));
    let newer = tempfile::tempdir().unwrap();
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(newer.path().join("simulator.db"));
    let pool = sqlx::SqlitePool::connect_with(options.create_if_missing(true))
        .await
        .unwrap();
    sqlx::raw_sql("PRAGMA user_version = 99")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    assert!(matches!(
        error(open(newer.path(), &[]).await),
        SimulatorError::NewerDatabase { found: 99, .. }
    ));
}
