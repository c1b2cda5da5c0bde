//! Lists and changes of resources.

use serde_json::{Value, json};

use crate::world::*;

/// c5: pages of 100 at most, in a stable order; c3: 50 managed accounts by cursor.
#[tokio::test]
async fn paging_of_250_users() {
    let world = World::new().await;
    let mut made = Vec::new();
    for number in 0..250 {
        made.push(id(&world.create(&format!("u{number}")).await));
    }
    let (mut seen, mut sizes) = (Vec::new(), Vec::new());
    while seen.len() < 250 {
        let page = world
            .get(&format!("S/Users?startIndex={}&count=5000", seen.len() + 1))
            .await;
        assert_eq!(page["totalResults"], 250);
        sizes.push(page["itemsPerPage"].as_u64().unwrap());
        seen.extend(page["Resources"].as_array().unwrap().iter().map(id));
    }
    assert_eq!((seen, sizes), (made, vec![100, 100, 50]));
    assert_eq!(
        world.get("S/Users?startIndex=251").await["Resources"],
        json!([])
    );
    assert_eq!(
        world.get("S/Users?startIndex=9&count=2").await["itemsPerPage"],
        2
    );
    let (mut next, mut accounts, mut pages) = (
        Some("O/users".to_owned()),
        std::collections::HashSet::new(),
        0,
    );
    while let Some(path) = next {
        let page = world.get(&path).await;
        assert_eq!(page["meta"]["total"], 250);
        let items = page["data"].as_array().unwrap();
        accounts.extend(
            items
                .iter()
                .map(|item| item["account_id"].as_str().unwrap().to_owned()),
        );
        pages += 1;
        next = page["links"]["next"]
            .as_str()
            .map(|url| url.strip_prefix(&world.simulator.url()).unwrap().to_owned());
    }
    assert_eq!((accounts.len(), pages), (250, 5));
    // The users of the directory: `next` is a bare cursor (c3, [AX-241]).
    let (mut next, mut seen, mut pages) = (Some(String::new()), Vec::new(), 0);
    while let Some(cursor) = next {
        let page = world
            .get(&format!("D/users?limit=100{cursor}&status=active"))
            .await;
        let items = page["data"].as_array().unwrap();
        seen.extend(items.iter().map(|item| {
            let account = item["accountId"].as_str().unwrap();
            account.to_owned()
        }));
        pages += 1;
        next = page["links"]["next"]
            .as_str()
            .map(|cursor| format!("&cursor={cursor}"));
    }
    assert_eq!((seen.len(), pages), (250, 3));
    assert_eq!(
        accounts,
        seen.into_iter().collect::<std::collections::HashSet<_>>()
    );
    let directories = world
        .get(&format!(
            "/admin/v2/orgs/{}/directories",
            world.simulator.organization()
        ))
        .await;
    assert_eq!(
        directories["data"][0]["directoryId"],
        world.simulator.directory()
    );
}

/// RFC 7644 section 3.5.2, each form on a fresh user.
#[tokio::test]
async fn patch_forms() {
    let world = World::new().await;
    let department = format!("{ENTERPRISE}:department");
    let home = json!({"value": "h@example.com", "type": "home"});
    let op = |op: &str, path: &str, value: Value| json!({"op": op, "path": path, "value": value});
    #[rustfmt::skip]
    let rows: Vec<(Value, &str, Value)> = vec![
        (op("Replace", "title", json!("Boss")), "/title", json!("Boss")),
        (op("add", "NAME.givenname", json!("Ann")), "/name", json!({"givenName": "Ann", "familyName": "X"})),
        (op("replace", "name", json!({"GivenName": "Ann"})), "/name/familyName", json!("X")),
        (op("remove", "name.givenName", Value::Null), "/name/givenName", Value::Null),
        (op("remove", "displayName", Value::Null), "/displayName", Value::Null),
        (op("replace", "displayName", Value::Null), "/displayName", Value::Null),
        (op("replace", "emails[type eq \"work\"].value", json!("n@example.org")),
            "/emails/0/value", json!("n@example.org")),
        (op("add", "emails", json!([home])), "/emails/1", home.clone()),
        (json!([op("add", "emails", json!([home])), op("remove", "emails[type eq \"home\"]", Value::Null)]), "/emails/1", Value::Null),
        // A new primary value ends the old one.
        (op("add", "emails", json!([{"value": "p@example.com", "primary": true}])), "/emails/0/primary", json!(false)),
        (json!([op("add", "emails", json!([home])), op("replace", "emails[value eq \"h@example.com\"].primary", json!(true))]), "/emails/0/primary", json!(false)),
        (op("replace", &department, json!("IT")),
            "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User/department", json!("IT")),
        (op("remove", &department, Value::Null), "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User", json!({"organization": "Example"})),
        (op("add", ENTERPRISE, json!({"department": "IT"})), "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User", json!({"department": "IT", "organization": "Example"})),
        (op("remove", ENTERPRISE, Value::Null), "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User", Value::Null),
        (op("replace", &format!("{USER}:name.familyName"), json!("Y")), "/name/familyName", json!("Y")),
        (op("add", "externalId", json!("new-key")), "/externalId", json!("new-key")),
        (op("add", "phoneNumbers", json!([{"value": "1", "type": "FAX"}])), "/phoneNumbers/0/type", json!("fax")),
        (json!({"op": "replace", "value": {"title": "T", "name.givenName": "G", ENTERPRISE: {"department": "D"}}}),
            "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User/department", json!("D")),
        (json!({"op": "REPLACE", "value": {"active": false, "unknown": 1}}), "/active", json!(false)),
    ];
    for (number, (operation, pointer, value)) in rows.into_iter().enumerate() {
        let user = with(
            user(&format!("u{number}")),
            json!({"name": {"givenName": "Person", "familyName": "X"}}),
        );
        let user = world.ask("POST", "S/Users", user, 201).await;
        let answer = world.patch(&id(&user), operation.clone(), 200).await;
        assert_eq!(
            answer.pointer(pointer).unwrap_or(&Value::Null),
            &value,
            "{operation} -> {answer}"
        );
        assert_eq!(world.get(&format!("S/Users/{}", id(&user))).await, answer);
    }
    // All operations or none (RFC 7644 section 3.5.2).
    let user = world.create("atomic").await;
    world
        .patch(
            &id(&user),
            json!([
                op("add", "title", json!("x")),
                op("add", "nothing", json!("x"))
            ]),
            400,
        )
        .await;
    assert_eq!(
        world.get(&format!("S/Users/{}", id(&user))).await["title"],
        Value::Null
    );
    for (operation, kind) in [
        (
            op("replace", "emails.value", json!("x@example.com")),
            "invalidPath",
        ),
        (
            op("replace", "emails[type eq \"work\"", json!("x")),
            "invalidPath",
        ),
        (
            op("replace", "userName[type eq \"work\"]", json!("x")),
            "invalidPath",
        ),
        (
            op("replace", "emails[type co \"work\"].value", json!("x")),
            "invalidPath",
        ),
        (op("add", "groups", json!([])), "mutability"),
        (
            op(
                "add",
                &format!("{ATLASSIAN}:atlassianAccountId"),
                json!("x"),
            ),
            "mutability",
        ),
        (json!({"op": "add", "path": "title"}), "invalidValue"),
        (json!({"op": "add", "value": "x"}), "invalidValue"),
        (
            op("remove", "emails[type eq \"work\"]", Value::Null),
            "invalidValue",
        ),
    ] {
        assert_eq!(
            world.patch(&id(&user), operation.clone(), 400).await["scimType"],
            kind,
            "{operation}"
        );
    }
}
