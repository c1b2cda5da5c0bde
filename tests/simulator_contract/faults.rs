//! Rules of faults, and how fast it goes without.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::*;

#[tokio::test]
async fn fault_rules() {
    let world = World::new().await;
    let rules = json!([
        {"match": "POST .*/Users$", "times": 1, "status": 429, "headers": {"Retry-After": "7"}, "body": {"slow": true}},
        {"match": "POST .*/Users$", "times": 1, "cut": "before"},
        {"match": "POST .*/Users$", "times": 1, "cut": "after"},
        {"match": "^GET ", "times": 2, "delay_ms": 150},
    ]);
    world.ask("POST", "/_simulator/faults", rules, 200).await;
    let limited = world.raw("POST", "S/Users", &user("a")).await.unwrap();
    assert_eq!(
        (
            limited.status().as_u16(),
            limited.headers()["retry-after"].to_str().unwrap()
        ),
        (429, "7")
    );
    assert_eq!(
        limited.json::<Value>().await.unwrap(),
        json!({"slow": true})
    );
    // hyper sends a request again by itself only when its connection was closed before it; these are cut later.
    assert!(world.raw("POST", "S/Users", &user("b")).await.is_err());
    assert!(world.raw("POST", "S/Users", &user("c")).await.is_err());
    let begin = Instant::now();
    let list = world.get("S/Users").await;
    assert!(begin.elapsed() >= Duration::from_millis(150));
    assert_eq!(
        (&list["totalResults"], &list["Resources"][0]["userName"]),
        (&json!(1), &json!("c@example.com"))
    );
    world.ask("POST", "S/Users", user("c"), 409).await;
    assert_eq!(
        world.get("/_simulator/faults").await,
        json!([{"match": "^GET ", "times": 1, "delay_ms": 150}])
    );
    world
        .ask("DELETE", "/_simulator/faults", Value::Null, 204)
        .await;
    for wrong in [
        json!([{"match": "(", "times": 1, "delay_ms": 1}]),
        json!([{"match": "x", "times": 1}]),
        json!([{"match": "x", "times": 1, "delay_ms": 1, "status": 500}]),
        json!([{"match": "x", "times": 1, "status": 204}]),
        json!([{"match": "x", "times": 1, "truncate": false}]),
        json!([{"match": "x", "times": 1, "truncate": true, "stale_ms": 1}]),
        json!([{"match": "x", "times": 1, "html": "sometimes"}]),
        json!({}),
    ] {
        world.ask("POST", "/_simulator/faults", wrong, 400).await;
    }
    assert_eq!(world.get("/_simulator/faults").await, json!([]));
    let log = world.get("/_simulator/requests").await;
    let seen: Vec<_> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["status"].as_u64(), entry["fault"].as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (Some(429), Some("status")),
            (None, Some("cut before")),
            (None, Some("cut after")),
            (Some(200), Some("delay")),
            (Some(409), None),
        ]
    );
    assert_eq!(log[1]["body"]["userName"], "b@example.com");
    world
        .ask("DELETE", "/_simulator/requests", Value::Null, 204)
        .await;
    assert_eq!(world.get("/_simulator/requests").await, json!([]));
    world
        .ask(
            "POST",
            "/_simulator/clock",
            json!({"advance_seconds": -1}),
            400,
        )
        .await;
}

/// Behind a real gateway a request is carried out even when its client has given up.
#[tokio::test]
async fn a_write_outlives_its_client() {
    let world = World::new().await;
    let rules = json!([{"match": "POST", "times": 1, "delay_ms": 300}]);
    world.ask("POST", "/_simulator/faults", rules, 200).await;
    let body = user("slow");
    let impatient = tokio::time::timeout(
        Duration::from_millis(100),
        world.raw("POST", "S/Users", &body),
    )
    .await;
    assert!(impatient.is_err());
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(world.get("S/Users").await["totalResults"], 1);
}

/// Not a test of the contract: `cargo test --release -- --ignored --nocapture creates_per_second`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn creates_per_second() {
    let world = World::new().await;
    let number = 10_000;
    let begin = Instant::now();
    for number in 0..number {
        let body = user(&format!("u{number}"));
        let response = world.raw("POST", "S/Users", &body).await.unwrap();
        assert_eq!(response.status(), 201);
        response.bytes().await.unwrap();
    }
    let one = f64::from(number) / begin.elapsed().as_secs_f64();
    let begin = Instant::now();
    let world = &world;
    futures_util::future::join_all((0..8).map(|lane| async move {
        for number in 0..number / 8 {
            let body = user(&format!("l{lane}u{number}"));
            world
                .raw("POST", "S/Users", &body)
                .await
                .unwrap()
                .bytes()
                .await
                .unwrap();
        }
    }))
    .await;
    println!(
        "creates/s: {one:.0} one after the other, {:.0} on 8 connections",
        f64::from(number) / begin.elapsed().as_secs_f64()
    );
}
