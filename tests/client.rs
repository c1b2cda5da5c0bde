//! The API client before servers that misbehave: a scripted one for each fault.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::HashSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Response, StatusCode, header};
use serde_json::{Value, json};

use dirsyncd::config::Config;
use dirsyncd::model::{AccountId, ScimId};
use dirsyncd::org::{Cause, Reader, Remedy};

/// What the scripted server was asked, as `METHOD path?query` and the `Authorization` header.
type Log = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A server that answers the n-th request (from 0) as the script says.
async fn server(
    script: impl Fn(usize, &str) -> Response<Body> + Clone + Send + Sync + 'static,
) -> (String, Log) {
    let log = Log::default();
    let seen = Arc::clone(&log);
    let app = Router::new().fallback(move |request: Request| {
        let (script, seen) = (script.clone(), Arc::clone(&seen));
        async move {
            let asked = format!("{} {}", request.method(), request.uri());
            let key = request.headers().get(header::AUTHORIZATION);
            let key = key.map(|key| key.to_str().unwrap().to_owned());
            let number = {
                let mut seen = seen.lock().unwrap();
                seen.push((asked.clone(), key));
                seen.len() - 1
            };
            script(number, &asked)
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, log)
}

fn ok(body: &Value) -> Response<Body> {
    Response::new(Body::from(body.to_string()))
}

fn with_status(status: u16, body: &Value) -> Response<Body> {
    let mut response = ok(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn reader_in(folder: &Path, url: &str) -> Reader {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let text = format!(
        "[organization]\nid = \"o\"\ndirectory = \"d\"\napi = \"{url}\"\nscim_key = {{ file = \"key\" }}\n\
         admin_key = {{ file = \"key\" }}\ntimeout = \"5s\"\n\
         [[source]]\nkind = \"ldif\"\npreset = \"openldap\"\nfile = \"f\"\nbase = \"dc=x\"\n"
    );
    let config = Config::parse(&folder.join("config.toml"), &text).unwrap();
    Reader::new(&config.organization).unwrap()
}

fn reader(url: &str) -> (tempfile::TempDir, Reader) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "the-key").unwrap();
    std::fs::set_permissions(key, Permissions::from_mode(0o600)).unwrap();
    let reader = reader_in(folder.path(), url);
    (folder, reader)
}

fn page(total: usize, ids: &[usize]) -> Value {
    let users: Vec<Value> = ids.iter().map(|id| json!({"id": id.to_string()})).collect();
    json!({"totalResults": total, "Resources": users})
}

#[tokio::test]
async fn a_rotated_key_is_read_again_once() {
    let (url, log) = server(|_, _| with_status(401, &json!({"error": "unauthorized"}))).await;
    let (folder, reader) = reader(&url);
    // The same key again is not tried again.
    let error = reader.capabilities().await.unwrap_err();
    assert!(matches!(error.cause, Cause::Unauthorized { .. }));
    assert_eq!(error.remedy(), Remedy::FixConfiguration);
    assert_eq!(log.lock().unwrap().len(), 1);
    assert!(!error.to_string().contains("the-key"), "{error}");

    std::fs::write(folder.path().join("key"), "another-key\n").unwrap();
    reader.capabilities().await.unwrap_err();
    let keys: Vec<_> = log
        .lock()
        .unwrap()
        .iter()
        .map(|(_, key)| key.clone().unwrap())
        .collect();
    assert_eq!(
        keys,
        ["Bearer the-key", "Bearer the-key", "Bearer another-key"]
    );
}

#[tokio::test]
async fn pages_that_loop_shrink_or_end_early_are_an_error() {
    type Script = fn(usize) -> Value;
    let cases: [(&str, Script); 4] = [
        ("the pages repeat 1", |_| page(4, &[1, 2])),
        ("the list shrank from 4 to 3", |n| {
            page(4 - n, &[2 * n, 2 * n + 1])
        }),
        ("the pages end after 2 of 4", |n| {
            if n == 0 {
                page(4, &[1, 2])
            } else {
                page(4, &[])
            }
        }),
        ("missing field `totalResults`", |_| json!({"Resources": []})),
    ];
    for (words, script) in cases {
        let (url, _) = server(move |n, _| ok(&script(n))).await;
        let (_folder, reader) = reader(&url);
        let error = reader.all_accounts(&HashSet::new()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Unintelligible(_)), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    // A list that grows while it is read is read to its new end.
    let (url, _) = server(|n, _| ok(&page(if n == 0 { 2 } else { 3 }, &[n]))).await;
    let (_folder, grown) = reader(&url);
    let accounts = grown.all_accounts(&HashSet::new()).await.unwrap();
    assert_eq!(accounts.len(), 3);
}

#[tokio::test]
async fn a_cursor_that_comes_twice_is_an_error() {
    let (url, log) = server(|_, _| ok(&json!({"data": [], "links": {"next": "again"}}))).await;
    let (_folder, reader) = reader(&url);
    let error = reader.verified_domains().await.unwrap_err();
    assert!(
        error.to_string().contains("the cursor again comes twice"),
        "{error}"
    );
    assert_eq!(log.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn both_kinds_of_cursor_are_followed() {
    let domain = |name: &str, status: &str| json!({"attributes": {"name": name, "claim": {"status": status}}});
    let (url, log) = server(move |n, _| {
        ok(&match n {
            0 => json!({"data": [domain("A.org", "verified")], "links": {"next": "https://h/p?cursor=one%2Btwo"}}),
            1 => json!({"data": [domain("b.org", "unverified")], "links": {"next": "bare+token"}}),
            _ => json!({"data": [domain("c.org", "verified")], "links": {}}),
        })
    })
    .await;
    let (_folder, reader) = reader(&url);
    let domains = reader.verified_domains().await.unwrap();
    assert_eq!(domains.into_iter().collect::<Vec<_>>(), ["a.org", "c.org"]);
    let asked: Vec<String> = log
        .lock()
        .unwrap()
        .iter()
        .map(|(asked, _)| asked.clone())
        .collect();
    assert!(asked[1].ends_with("?cursor=one%2Btwo"), "{asked:?}");
    assert!(asked[2].ends_with("?cursor=bare%2Btoken"), "{asked:?}");
}

#[tokio::test]
async fn a_redirect_does_not_take_the_key_elsewhere() {
    let (elsewhere, theirs) = server(|_, _| ok(&json!({}))).await;
    let (url, _) = server(move |_, _| {
        let mut response = with_status(307, &json!({}));
        let target = format!("{elsewhere}/x").parse().unwrap();
        response.headers_mut().insert(header::LOCATION, target);
        response
    })
    .await;
    let (_folder, reader) = reader(&url);
    let error = reader.capabilities().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("307: redirects are not followed"),
        "{error}"
    );
    assert!(theirs.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_key_that_the_answer_shows_is_not_told() {
    let echo = |_: usize, _: &str| with_status(403, &json!({"error": "sent: Bearer the-key"}));
    let (url, _) = server(echo).await;
    let (_folder, reader) = reader(&url);
    let error = reader.capabilities().await.unwrap_err().to_string();
    assert!(error.contains("sent: Bearer …;"), "{error}");
}

#[tokio::test]
async fn no_part_of_a_key_is_left_where_long_words_are_cut() {
    for before in 285..305 {
        let words = format!("{} the-key and more", "x".repeat(before));
        let (url, _) = server(move |_, _| with_status(403, &json!({"error": words}))).await;
        let (_folder, reader) = reader(&url);
        let error = reader.capabilities().await.unwrap_err().to_string();
        assert!(error.contains(&"x".repeat(before.min(300))), "{error}");
        assert!(!error.contains("x t"), "{before}: {error}");
    }
}

#[tokio::test]
async fn an_id_that_would_lead_to_another_resource_is_refused_where_it_is_read() {
    for id in ["", ".", ".."] {
        let user = json!({"id": id, "userName": "ada"});
        let linked = json!({"id": "1", "userName": "ada",
            "urn:scim:schemas:extension:atlassian-external:1.0": {"atlassianAccountId": id}});
        let group = json!({"id": id, "displayName": "staff"});
        let words = |what: &str| format!("{what} `{id}`, which leads to no resource of its own");
        for (resource, what) in [
            (user, "the user `ada` has the id"),
            (linked, "the user `ada` has the Atlassian account"),
            (group, "the group `staff` has the id"),
        ] {
            // A user without an Atlassian account yet may say so by an empty one.
            if id.is_empty() && what.ends_with("account") {
                continue;
            }
            let is_user = resource["userName"].is_string();
            let (url, log) =
                server(move |_, _| ok(&json!({"totalResults": 1, "Resources": [resource]}))).await;
            let (_folder, reader) = reader(&url);
            let error = match is_user {
                true => reader.all_accounts(&HashSet::new()).await.unwrap_err(),
                false => reader.all_groups().await.unwrap_err(),
            };
            assert!(matches!(error.cause, Cause::Unintelligible(_)), "{error}");
            assert!(error.to_string().contains(&words(what)), "{error}");
            assert_eq!(log.lock().unwrap().len(), 1);
        }
        // One that comes from elsewhere, such as a database, is not sent.
        let (url, log) = server(|_, _| ok(&json!({"id": "1"}))).await;
        let (_folder, reader) = reader(&url);
        let error = reader.group(&ScimId::new(id)).await.unwrap_err();
        assert!(
            error.to_string().contains(&format!("the id `{id}`")),
            "{error}"
        );
        let account = AccountId::new(id);
        let error = reader.deletion_barrier(&account).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Declined(_)), "{error}");
        assert!(
            error.to_string().contains(&format!("by the id `{id}`")),
            "{error}"
        );
        assert!(log.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_member_with_an_odd_id_keeps_nobody_from_reading_the_groups() {
    let odd = json!({"id": "1", "displayName": "staff", "members": [
        {"value": ""}, {"value": "."}, {"value": ".."}, {"value": "7"}]});
    let other = json!({"id": "2", "displayName": "dev"});
    let (url, _) =
        server(move |_, _| ok(&json!({"totalResults": 2, "Resources": [odd, other]}))).await;
    let (_folder, reader) = reader(&url);
    let groups = reader.all_groups().await.unwrap();
    let groups = groups.into_iter().map(|one| (one.name, one.members));
    assert_eq!(
        groups.collect::<Vec<_>>(),
        [
            ("staff".to_owned(), vec![ScimId::new("7")]),
            ("dev".to_owned(), Vec::new())
        ]
    );
}

#[tokio::test]
async fn a_group_that_is_replaced_whole_keeps_members_that_are_nobody_s_account() {
    // Of these the first three cannot be in a path, and the fourth is a group.
    let others = [
        json!({"value": ""}),
        json!({"value": ".", "display": "dot"}),
        json!({"value": "..", "type": "User"}),
        json!({"value": "team", "type": "Group", "$ref": "https://x/Groups/team"}),
    ];
    let stays = json!({"value": "7", "display": "Zoe"});
    let mut members = others.to_vec();
    members.extend([stays.clone(), json!({"value": "8"})]);
    let group = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "id": "1",
        "displayName": "staff", "externalId": "key", "members": members, "meta": {"version": "1"}});
    let sent = Arc::new(Mutex::new(Vec::new()));
    let (shown, kept) = (group.clone(), Arc::clone(&sent));
    let app = Router::new().fallback(move |request: Request| {
        let (shown, kept) = (shown.clone(), Arc::clone(&kept));
        async move {
            if request.method() == "PUT" {
                let path = request.uri().path().to_owned();
                let body = axum::body::to_bytes(request.into_body(), 10_000).await;
                let body: Value = serde_json::from_slice(&body.unwrap()).unwrap();
                kept.lock().unwrap().push((path, body));
            }
            ok(&shown)
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let (_folder, reader) = reader(&url);
    let nothing = dirsyncd::plan::Plan::default();
    let plan = nothing.approve();
    let writer = dirsyncd::org::Writer::for_plan(reader, &plan);
    let (join, leave) = (["7", "9"].map(ScimId::new), ["8", "gone"].map(ScimId::new));
    let id = ScimId::new("1");
    writer.replace_members(&id, &join, &leave).await.unwrap();

    let sent = sent.lock().unwrap();
    let [(path, body)] = sent.as_slice() else {
        panic!("{sent:?}");
    };
    assert!(path.ends_with("/Groups/1"), "{path}");
    let mut expected = group;
    expected.as_object_mut().unwrap().remove("meta");
    let mut members = others.to_vec();
    members.extend([stays, json!({"value": "9"})]);
    expected["members"] = json!(members);
    assert_eq!(*body, expected);
}

#[tokio::test]
async fn what_is_made_has_an_id_of_its_own() {
    for (answer, id) in [
        (json!({}), ""),
        (json!({"id": ""}), ""),
        (json!({"id": "."}), "."),
        (json!({"id": ".."}), ".."),
    ] {
        let (url, _) = server(move |_, _| ok(&answer)).await;
        let (_folder, reader) = reader(&url);
        let nothing = dirsyncd::plan::Plan::default();
        let plan = nothing.approve();
        let writer = dirsyncd::org::Writer::for_plan(reader, &plan);
        let error = writer.create_group("staff", None).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Unintelligible(_)), "{error}");
        assert!(error.may_have_taken_effect());
        let words = format!("the new resource has the id `{id}`");
        assert!(error.to_string().contains(&words), "{error}");
    }
}

#[tokio::test]
async fn an_answer_is_bounded_and_has_to_be_json() {
    for (body, words) in [
        ("x".repeat((16 << 20) + 1), "larger than 16 MiB"),
        ("<html>".to_owned(), "it is no JSON"),
    ] {
        let (url, _) = server(move |_, _| Response::new(Body::from(body.clone()))).await;
        let (_folder, reader) = reader(&url);
        let error = reader.capabilities().await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_wait_that_is_too_long_ends_the_run_and_a_short_one_is_kept() {
    let throttled = |wait: &'static str| {
        let mut response = with_status(429, &json!({}));
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, wait.parse().unwrap());
        response
    };
    let (url, log) = server(move |_, _| throttled("3600")).await;
    let (_folder, long) = reader(&url);
    let error = long.capabilities().await.unwrap_err();
    assert_eq!(error.cause, Cause::Throttled);
    assert!(error.concerns_everybody());
    assert_eq!(error.remedy(), Remedy::Retry);
    assert_eq!(log.lock().unwrap().len(), 1);

    let (url, log) = server(move |n, _| {
        if n == 0 {
            throttled("0")
        } else {
            ok(&json!({}))
        }
    })
    .await;
    let (_folder, short) = reader(&url);
    short.capabilities().await.unwrap();
    assert!(log.lock().unwrap().len() >= 2);
}

#[tokio::test]
async fn an_error_carries_the_api_s_own_code_message_and_request_id() {
    let cases = [
        (
            409,
            json!({"scimType": "uniqueness", "detail": "taken"}),
            "uniqueness: taken",
            Remedy::FixPerson,
        ),
        (
            400,
            json!({"key": "bodyParseFailure"}),
            "bodyParseFailure",
            Remedy::FixPerson,
        ),
        (
            403,
            json!({"key": "forbidden.action", "context": {"reason": {"key": "externalDirectory.scim"}}}),
            "externalDirectory.scim",
            Remedy::FixPerson,
        ),
        (
            403,
            json!({"error": "no right"}),
            "no right",
            Remedy::FixConfiguration,
        ),
        (
            400,
            json!({"errors": [{"code": "X-1", "title": "Bad"}]}),
            "X-1: Bad",
            Remedy::FixPerson,
        ),
        (405, json!({}), "405", Remedy::Report),
    ];
    for (status, body, words, remedy) in cases {
        let (url, _) = server(move |_, _| {
            let mut response = with_status(status, &body);
            response
                .headers_mut()
                .insert("x-request-id", "request-7".parse().unwrap());
            response
        })
        .await;
        let (_folder, reader) = reader(&url);
        let error = reader.capabilities().await.unwrap_err();
        assert_eq!(error.remedy(), remedy, "{error}");
        let text = error.to_string();
        assert!(
            text.contains(words) && text.contains("(request id request-7)"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_null_is_the_same_as_nothing() {
    let user = json!({"id": "1", "emails": null, "phoneNumbers": null, "name": null, "active": null, "externalId": ""});
    let (url, _) = server(move |_, _| ok(&json!({"totalResults": 1, "Resources": [user]}))).await;
    let (_folder, reader) = reader(&url);
    let accounts = reader.all_accounts(&HashSet::new()).await.unwrap();
    assert_eq!(accounts[0].external_id, None);
    assert!(accounts[0].active);
}

#[tokio::test]
async fn a_rotated_key_is_good_for_all_requests_that_are_under_way() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let answer = |_: usize, _: &str| with_status(401, &json!({}));
    let (url, log) = server(answer).await;
    let (folder, reader) = reader(&url);
    std::fs::write(folder.path().join("key"), "another-key").unwrap();
    let ask = || reader.by_user_name("a");
    let _ = futures_util::future::join_all((0..4).map(|_| ask())).await;
    // Each of them was tried with the new key too.
    let asked = log.lock().unwrap();
    let with_new = asked
        .iter()
        .filter(|(_, key)| key.as_deref() == Some("Bearer another-key"));
    assert_eq!(with_new.count(), 4, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_people_are_read_from_the_organization_s_directories_too() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = dirsyncd::simulator::start(dirsyncd::simulator::Options {
        domains: vec!["example.org".to_owned()],
        ..dirsyncd::simulator::Options::in_folder(folder.path().join("state"))
    })
    .await
    .unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let state = folder.path().join("state");
    let text = format!(
        "[organization]\nid = {:?}\ndirectory = {:?}\napi = {:?}\nscim_key = {{ file = {:?} }}\nadmin_key = {{ file = {:?} }}\n\
         [[source]]\nkind = \"ldif\"\npreset = \"openldap\"\nfile = \"f\"\nbase = \"dc=x\"\n",
        simulator.organization(),
        simulator.directory(),
        simulator.url(),
        state.join("scim-key"),
        state.join("admin-key"),
    );
    let config = Config::parse(Path::new("config.toml"), &text).unwrap();
    let reader = Reader::new(&config.organization).unwrap();
    let writer =
        dirsyncd::org::Writer::for_plan(reader.clone(), &dirsyncd::plan::Plan::default().approve());
    for n in 0..60 {
        writer
            .create_group(&format!("group {n:02}"), None)
            .await
            .unwrap();
    }
    let groups = reader.directory_groups().await.unwrap();
    assert_eq!(groups.len(), 60, "more than a page");
    assert_eq!(groups[59].1, "group 59");
    assert_eq!(reader.by_address("nobody@example.org").await.unwrap(), []);
    simulator.stop().await;
}
