//! Faults that spoil an answer, and reads that are late.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::*;

async fn arm(world: &World, rules: Value) {
    world.ask("POST", "/_simulator/faults", rules, 200).await;
}

#[tokio::test]
async fn half_an_answer() {
    let world = World::new().await;
    world.create("anna").await;
    let whole = world.raw("GET", "S/Users", &Value::Null).await.unwrap();
    let whole = whole.text().await.unwrap();
    arm(
        &world,
        json!([{"match": "/Users$", "times": 2, "truncate": true}]),
    )
    .await;
    // By hand, to see every byte.
    let (address, directory) = (world.simulator.address(), world.simulator.directory());
    let mut line = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /scim/directory/{directory}/Users HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\r\n",
        world.simulator.scim_key()
    );
    line.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The end is a closed connection or a reset one.
    let _ = line.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let length = format!("content-length: {}", whole.len());
    assert!(head.contains(&length), "{head}");
    assert_eq!(body, &whole[..whole.len() / 2]);
    // The write took effect, though its answer ended early.
    let response = world.raw("POST", "S/Users", &user("bert")).await.unwrap();
    assert_eq!(response.status(), 201);
    assert!(response.bytes().await.is_err());
    assert_eq!(world.get("S/Users").await["totalResults"], 2);
    // Nothing to cut in half: no answer at all.
    let id = id(&world.create("carl").await);
    arm(
        &world,
        json!([{"match": "DELETE", "times": 1, "truncate": true}]),
    )
    .await;
    let path = format!("S/Users/{id}");
    assert!(world.raw("DELETE", &path, &Value::Null).await.is_err());
    world.ask("GET", &path, Value::Null, 404).await;
}

#[tokio::test]
async fn html_in_place_of_json() {
    let world = World::new().await;
    arm(&world, json!([{"match": "POST", "times": 1, "html": "before"}, {"match": "POST", "times": 1, "html": "after"}])).await;
    for name in ["anna", "bert"] {
        let response = world.raw("POST", "S/Users", &user(name)).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(
            response.headers()["content-type"],
            "text/html; charset=utf-8"
        );
        assert!(
            response
                .text()
                .await
                .unwrap()
                .starts_with("<!DOCTYPE html>")
        );
    }
    let list = world.get("S/Users").await;
    assert_eq!(
        (&list["totalResults"], &list["Resources"][0]["userName"]),
        (&json!(1), &json!("bert@example.com"))
    );
}

#[tokio::test]
async fn byte_by_byte() {
    let world = World::new().await;
    arm(
        &world,
        json!([{"match": ".*", "times": 1, "drip_ms_per_byte": 2}]),
    )
    .await;
    let begin = Instant::now();
    let response = world.raw("GET", "S/Users", &Value::Null).await.unwrap();
    let headers = begin.elapsed();
    let length = response.content_length().unwrap();
    let body = response.bytes().await.unwrap();
    assert_eq!(body.len() as u64, length);
    assert!(
        begin.elapsed() >= Duration::from_millis(2 * length),
        "{:?}",
        begin.elapsed()
    );
    assert!(headers < Duration::from_millis(2 * length));
    assert_eq!(
        serde_json::from_slice::<Value>(&body).unwrap()["totalResults"],
        0
    );
}

#[tokio::test]
async fn reads_as_before_the_write() {
    let world = World::new().await;
    let anna = world.create("anna").await;
    let path = format!("S/Users/{}", id(&anna));
    arm(
        &world,
        json!([{"match": "^(POST|PATCH) .*/Users", "times": 2, "stale_ms": 400}]),
    )
    .await;
    let begin = Instant::now();
    world.create("bert").await;
    let patched = world
        .patch(
            &id(&anna),
            json!({"op": "add", "path": "title", "value": "Boss"}),
            200,
        )
        .await;
    assert_eq!(patched["title"], "Boss");
    // As before the last of the two writes.
    assert_eq!(world.get(&path).await, anna);
    assert_eq!(world.get("S/Users").await["totalResults"], 2);
    // Writes see what is.
    world.ask("POST", "S/Users", user("bert"), 409).await;
    world.create("carl").await;
    assert_eq!(world.get("S/Users").await["totalResults"], 2);
    assert!(
        begin.elapsed() < Duration::from_millis(400),
        "too slow to see"
    );
    tokio::time::sleep(Duration::from_millis(450)).await;
    assert_eq!(world.get("S/Users").await["totalResults"], 3);
    assert_eq!(world.get(&path).await, patched);
    // Ended in order while one is to be seen.
    arm(
        &world,
        json!([{"match": "POST", "times": 1, "stale_ms": 60_000}]),
    )
    .await;
    world.create("dora").await;
    let begin = Instant::now();
    let world = world.again(&[]).await;
    assert!(begin.elapsed() < Duration::from_secs(4));
    assert_eq!(world.get("S/Users").await["totalResults"], 4);
}
