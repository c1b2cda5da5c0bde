//! Rates of requests (contract sections 2 and 7, "Rate-limit headers").

use std::time::{Duration, SystemTime};

use dirsyncd::simulator::RateLimit;
use serde_json::{Value, json};

use crate::world::*;

fn header<'r>(response: &'r reqwest::Response, name: &str) -> Option<&'r str> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn each_api_has_its_rate() {
    let world = World::new().await;
    let limits =
        json!({"scim": {"requests": 2, "seconds": 1}, "orgs": {"requests": 1, "seconds": 60}});
    world.ask("PUT", "/_simulator/limits", limits, 200).await;
    let rules = json!([{"match": "^POST", "times": 1, "status": 500}]);
    world.ask("POST", "/_simulator/faults", rules, 200).await;
    // On every answer, also on that of a fault and of a wrong path.
    let first = world.raw("POST", "S/Users", &user("a")).await.unwrap();
    assert_eq!(first.status(), 500);
    let second = world.raw("GET", "S/Nothing", &Value::Null).await.unwrap();
    for (response, remaining) in [(&first, "1"), (&second, "0")] {
        assert_eq!(header(response, "x-ratelimit-limit"), Some("2"));
        assert_eq!(header(response, "x-ratelimit-remaining"), Some(remaining));
        assert_eq!(header(response, "retry-after"), None);
    }
    let third = world.raw("POST", "S/Users", &user("a")).await.unwrap();
    assert_eq!(third.status(), 429);
    assert_eq!(header(&third, "retry-after"), Some("1"));
    assert_eq!(header(&third, "x-ratelimit-remaining"), Some("0"));
    let reset = header(&third, "x-ratelimit-reset").unwrap();
    assert!(reset.ends_with('Z'), "{reset}");
    let reset = chrono::DateTime::parse_from_rfc3339(reset).unwrap();
    assert!(SystemTime::from(reset) <= SystemTime::now() + Duration::from_secs(1));
    assert_eq!(third.json::<Value>().await.unwrap()["status"], "429");
    // Another API has another limit, or none.
    let pointer = |body: &Value| body["errors"][0]["status"].clone();
    let listed = world.raw("GET", "O", &Value::Null).await.unwrap();
    assert_eq!(header(&listed, "x-ratelimit-limit"), Some("1"));
    assert_eq!(
        pointer(&world.ask("GET", "D/users", Value::Null, 429).await),
        "429"
    );
    let manage = world
        .raw("GET", "/users/x/manage", &Value::Null)
        .await
        .unwrap();
    assert_eq!(manage.status(), 404);
    assert_eq!(header(&manage, "x-ratelimit-limit"), None);
    // The next period.
    tokio::time::sleep(Duration::from_millis(1050)).await;
    world.create("a").await;
    // A refused request was not carried out; the log has it.
    assert_eq!(world.get("S/Users").await["totalResults"], 1);
    let log = world.get("/_simulator/requests").await;
    assert_eq!(
        (&log[2]["status"], &log[2]["fault"]),
        (&json!(429), &json!("limit"))
    );
}

#[tokio::test]
async fn limits_as_text() {
    let world = World::new().await;
    world.simulator.limit("users=0/5".parse().unwrap());
    let refused = world.ask("GET", "/users/x/manage", Value::Null, 429).await;
    assert_eq!(refused, json!({"key": "tooManyRequests"}));
    for wrong in [
        "",
        "scim",
        "scim=",
        "scim=1",
        "jira=1/1",
        "scim=1/0",
        "scim=-1/1",
        "scim=1/1/1",
    ] {
        assert!(wrong.parse::<RateLimit>().is_err(), "{wrong}");
    }
}

/// The log of requests is bounded by bytes as well as by number.
#[tokio::test]
async fn a_long_body_is_logged_in_part() {
    let world = World::new().await;
    let body = with(user("long"), json!({"shoeSize": "ü".repeat(2 << 20)}));
    world.ask("POST", "S/Users", body, 201).await;
    let log = world.get("/_simulator/requests").await;
    let kept = log[0]["body"].as_str().unwrap().len();
    assert!(((1 << 20) - 1..=1 << 20).contains(&kept), "{kept}");
}
