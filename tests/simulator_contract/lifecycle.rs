//! The life of accounts and of the resources linked to them.

use serde_json::{Value, json};

use crate::world::*;

/// c5: POST links to an existing managed account of that address; c6: one account for an address.
#[tokio::test]
async fn linking_and_uniqueness() {
    let world = World::new().await;
    let seeds = json!([{"email": "Link@example.com", "name": "Old"}, {"email": "alone@example.com", "name": "Alone"}]);
    let seeded = world.ask("POST", "/_simulator/accounts", seeds, 201).await;
    let linked = world.create("link").await;
    assert_eq!(account(&linked), seeded[0]["account_id"]);
    let profile = world
        .get(&format!("/users/{}/manage/profile", account(&linked)))
        .await;
    assert_eq!(profile["account"]["name"], "Person link");
    assert_eq!(world.get("O/users").await["meta"]["total"], 2);
    for taken in ["LINK@example.com", "alone@example.com"] {
        world
            .ask(
                "POST",
                "/_simulator/accounts",
                json!([{"email": taken, "name": "x"}]),
                409,
            )
            .await;
    }
    world
        .ask(
            "POST",
            "S/Users",
            with(user("link"), json!({"userName": "other"})),
            409,
        )
        .await;
    let emails = json!([{"value": "ALONE@example.com", "primary": true}]);
    world
        .patch(
            &id(&linked),
            json!({"op": "replace", "path": "emails", "value": emails}),
            409,
        )
        .await;
    // Its own name in another case is no collision.
    world
        .patch(
            &id(&linked),
            json!({"op": "replace", "path": "userName", "value": "LINK@example.com"}),
            200,
        )
        .await;
}

/// c6, c7: DELETE deactivates; 404 until a POST brings the same resource and account back.
#[tokio::test]
async fn deactivate_and_reactivate() {
    let world = World::new().await;
    let anna = world.create("anna").await;
    let (user_id, account_id) = (id(&anna), account(&anna));
    let group = json!({"schemas": [GROUP], "displayName": "g", "members": [{"value": user_id}]});
    let group = id(&world.ask("POST", "S/Groups", group, 201).await);
    world
        .ask("DELETE", &format!("S/Users/{user_id}"), Value::Null, 204)
        .await;
    for (method, body) in [
        ("GET", Value::Null),
        ("PUT", user("anna")),
        (
            "PATCH",
            patch(json!({"op": "replace", "path": "active", "value": true})),
        ),
        ("DELETE", Value::Null),
    ] {
        world
            .ask(method, &format!("S/Users/{user_id}"), body, 404)
            .await;
    }
    assert_eq!(world.get("S/Users").await["totalResults"], 0);
    assert_eq!(
        world.get(&format!("S/Groups/{group}")).await["members"],
        json!([])
    );
    let profile = world
        .get(&format!("/users/{account_id}/manage/profile"))
        .await;
    assert_eq!(profile["account"]["account_status"], "inactive");
    let back = world
        .ask(
            "POST",
            "S/Users",
            with(user("anna"), json!({"title": "New"})),
            201,
        )
        .await;
    assert_eq!((id(&back), account(&back)), (user_id, account_id));
    assert_eq!(
        (&back["active"], &back["title"]),
        (&json!(true), &json!("New"))
    );
    assert_eq!(
        world.get(&format!("S/Groups/{group}")).await["members"][0]["value"],
        back["id"]
    );
}

/// c4, c7: delete, 14 days of grace, cancel-delete.
#[tokio::test]
async fn delete_cancel_and_grace() {
    let world = World::new().await;
    let anna = world.create("anna").await;
    let (scim, manage) = (
        format!("S/Users/{}", id(&anna)),
        format!("/users/{}/manage", account(&anna)),
    );
    let post = async |what: &str, expected| {
        world
            .ask(
                "POST",
                &format!("{manage}/lifecycle/{what}"),
                Value::Null,
                expected,
            )
            .await
    };
    assert!(post("delete", 200).await["message"].is_string());
    assert_eq!(post("delete", 409).await["key"], "conflict.lifecycleErrors");
    assert_eq!(world.get(&scim).await["active"], false);
    assert_eq!(
        world.get(&format!("{manage}/profile")).await["account"]["account_status"],
        "inactive"
    );
    let activate = json!({"op": "replace", "path": "active", "value": true});
    world.patch(&id(&anna), activate.clone(), 409).await;
    world.ask("PUT", &scim, user("anna"), 409).await;
    world
        .patch(
            &id(&anna),
            json!({"op": "add", "path": "title", "value": "x"}),
            200,
        )
        .await;
    world.advance(13 * DAY).await;
    post("cancel-delete", 200).await;
    post("cancel-delete", 409).await;
    assert_eq!(world.get(&scim).await["active"], false);
    world.patch(&id(&anna), activate, 200).await;
    // To the end this time, over a restart.
    post("delete", 200).await;
    world.advance(14 * DAY - 60).await;
    world.get(&scim).await;
    let world = world.again(&[]).await;
    world.get(&scim).await;
    world.advance(60).await;
    world.ask("GET", &scim, Value::Null, 404).await;
    assert_eq!(
        world.ask("GET", &manage, Value::Null, 404).await["key"],
        "accountNotFound"
    );
    assert_eq!(world.get("O/users").await["meta"]["total"], 0);
    let new = world.create("anna").await;
    assert!(id(&new) != id(&anna) && account(&new) != account(&anna));
}

/// c4: lifecycle of accounts outside of SCIM; a pending one is not enabled.
#[tokio::test]
async fn lifecycle_outside_of_scim() {
    let world = World::new().await;
    let seeds = json!([{"email": "free@example.com", "name": "Free"}]);
    let seeded = world.ask("POST", "/_simulator/accounts", seeds, 201).await;
    let manage = format!(
        "/users/{}/manage/lifecycle",
        seeded[0]["account_id"].as_str().unwrap()
    );
    world
        .ask("POST", &format!("{manage}/disable"), Value::Null, 415)
        .await;
    world
        .ask("POST", &format!("{manage}/delete"), Value::Null, 200)
        .await;
    world
        .ask("POST", &format!("{manage}/enable"), Value::Null, 409)
        .await;
    world
        .ask("POST", &format!("{manage}/disable"), json!({}), 409)
        .await;
    // A POST for its address would activate it.
    world.ask("POST", "S/Users", user("free"), 409).await;
    world
        .ask(
            "POST",
            "S/Users",
            with(user("free"), json!({"active": false})),
            201,
        )
        .await;
}
