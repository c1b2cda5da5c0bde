//! Loading many users at once, paging through them, and a database of the format before.

use serde_json::{Value, json};

use crate::world::*;

fn lines(users: impl Iterator<Item = Value>) -> String {
    users.map(|user| user.to_string() + "\n").collect()
}

async fn load(world: &World, body: String) -> (u16, Value) {
    let url = format!("{}/_simulator/load", world.simulator.url());
    let response = world.client.post(url).body(body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn loads_all_or_none() {
    let world = World::new().await;
    let seeds = json!([{"email": "u7@example.com", "name": "Seven"}]);
    let seeded = world.ask("POST", "/_simulator/accounts", seeds, 201).await;
    let gone = id(&world.create("u8").await);
    world
        .ask("DELETE", &format!("S/Users/{gone}"), Value::Null, 204)
        .await;
    let people = || (0..1200).map(|number| user(&format!("u{number}")));
    // The rules are those of a POST; the line is told.
    for (wrong, status, why) in [
        ("{", 400, "line 1201: "),
        (
            r#"{"schemas": []}"#,
            400,
            "line 1201: The attribute schemas",
        ),
        (
            &user("u0").to_string(),
            409,
            "line 1201: Resource [USER]: with email[u0@example.com] already exists.",
        ),
    ] {
        let (found, answer) = load(&world, lines(people()) + wrong).await;
        let detail = answer["errors"][0]["detail"].as_str().unwrap();
        assert_eq!((found, detail.starts_with(why)), (status, true), "{detail}");
        assert_eq!(world.get("S/Users").await["totalResults"], 0);
    }
    world
        .ask(
            "PUT",
            "/_simulator/limits",
            json!({"directory": {"users": 1199}}),
            200,
        )
        .await;
    assert_eq!(load(&world, lines(people())).await.0, 400);
    world.ask("PUT", "/_simulator/limits", json!({}), 200).await;
    let loaded = load(&world, "\n".to_owned() + &lines(people())).await;
    assert_eq!(loaded, (200, json!({"loaded": 1200})));
    // c5: linked to the account that was there; c6: the deleted resource came back.
    let by_name = async |name: &str| {
        let found = world
            .get(&format!(
                "S/Users?filter=userName%20eq%20%22{name}%40example.com%22"
            ))
            .await;
        found["Resources"][0].clone()
    };
    assert_eq!(account(&by_name("u7").await), seeded[0]["account_id"]);
    assert_eq!(id(&by_name("u8").await), gone);
    let one = by_name("u9").await;
    let manage = format!("/users/{}/manage/profile", account(&one));
    let profile = world.get(&manage).await;
    assert_eq!(
        profile["account"]["extended_profile"]["department"],
        "Sales"
    );
    let posted = world.create("posted").await;
    for same in ["externalId", "schemas", "name", "active", ENTERPRISE] {
        let (one, posted) = (one[same].to_string(), posted[same].to_string());
        assert_eq!(one, posted.replace("posted", "u9"), "{same}");
    }
}

/// Told by the first difference: the whole would be long.
fn same(found: &[(Value, String)], expected: &[(Value, String)]) {
    let first = found.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!((found.len(), first), (expected.len(), None));
}

/// Every page is where it belongs, whatever was deleted, brought back or added before it.
#[tokio::test]
async fn pages_over_gaps() {
    let world = World::new().await;
    let people = (0..2500).map(|number| user(&format!("u{number}")));
    assert_eq!(load(&world, lines(people)).await.0, 200);
    let everyone = async || {
        let (mut names, mut total) = (Vec::new(), 1);
        while names.len() < total {
            let page = world
                .get(&format!("S/Users?startIndex={}", names.len() + 1))
                .await;
            total = usize::try_from(page["totalResults"].as_u64().unwrap()).unwrap();
            let users = page["Resources"].as_array().unwrap();
            assert!(!users.is_empty(), "{} of {total}", names.len());
            names.extend(
                users
                    .iter()
                    .map(|user| (user["userName"].clone(), id(user))),
            );
        }
        names
    };
    let mut expected = everyone().await;
    assert_eq!(expected.len(), 2500);
    for place in [2499, 2000, 1024, 1023, 5, 0] {
        let (_, id) = expected.remove(place);
        world
            .ask("DELETE", &format!("S/Users/{id}"), Value::Null, 204)
            .await;
    }
    same(&everyone().await, &expected);
    // Brought back, it has its old place.
    let back = world.create("u1024").await;
    expected.insert(1021, (back["userName"].clone(), id(&back)));
    let new = world.create("new").await;
    expected.push((new["userName"].clone(), id(&new)));
    // Gone for good.
    let (_, first) = expected.remove(0);
    let account = account(&world.get(&format!("S/Users/{first}")).await);
    world
        .ask(
            "POST",
            &format!("/users/{account}/manage/lifecycle/delete"),
            Value::Null,
            200,
        )
        .await;
    world.advance(15 * DAY).await;
    same(&everyone().await, &expected);
    let behind = world.get("S/Users?startIndex=9999").await;
    assert_eq!(
        (&behind["totalResults"], &behind["Resources"]),
        (&json!(expected.len()), &json!([]))
    );
}

/// A state folder of the first format goes on.
#[tokio::test]
async fn the_format_before_is_brought_up() {
    let world = World::new().await;
    let anna = world.create("anna").await;
    let group = json!({"schemas": [GROUP], "displayName": "g", "members": [{"value": id(&anna)}]});
    let group = id(&world.ask("POST", "S/Groups", group, 201).await);
    let World {
        simulator,
        client,
        folder,
    } = world;
    simulator.stop().await;
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("simulator.db"));
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    // What the second format added.
    sqlx::raw_sql(
        "DROP VIEW people; DROP VIEW memberships; DROP TABLE access; DROP TABLE org_members; DROP TRIGGER chunks_in; \
         DROP TRIGGER chunks_out; DROP TRIGGER chunks_hide; DROP TRIGGER chunks_show; DROP TABLE chunks; \
         ALTER TABLE groups DROP COLUMN synced; ALTER TABLE groups DROP COLUMN description; PRAGMA user_version = 1",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    let world = World {
        simulator: open(folder.path(), &[]).await.unwrap(),
        client,
        folder,
    };
    let found = world.get("S/Users").await;
    assert_eq!(
        (&found["totalResults"], id(&found["Resources"][0])),
        (&json!(1), id(&anna))
    );
    let found = world.get(&format!("S/Groups/{group}")).await;
    assert_eq!(found["members"][0]["value"], anna["id"]);
    world.create("bert").await;
    assert_eq!(world.get("S/Users").await["totalResults"], 2);
    assert_eq!(
        world.get("D/groups").await["data"][0]["externalSynced"],
        true
    );
}

/// Not a test: `cargo test --release -- --ignored --nocapture load_and_page`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn load_and_page() {
    let world = World::new().await;
    let body = lines((0..100_000).map(|number| user(&format!("u{number}"))));
    let begin = std::time::Instant::now();
    assert_eq!(load(&world, body).await, (200, json!({"loaded": 100_000})));
    println!("100,000 users loaded in {:.2?}", begin.elapsed());
    let begin = std::time::Instant::now();
    for page in 0..1000 {
        let path = format!("S/Users?startIndex={}", page * 100 + 1);
        let response = world.raw("GET", &path, &Value::Null).await.unwrap();
        assert!(response.bytes().await.unwrap().len() > 10_000);
    }
    println!("1,000 pages of 100 in {:.2?}", begin.elapsed());
}
