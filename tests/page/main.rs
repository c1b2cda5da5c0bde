//! The status page, over HTTP and in a real Chromium (`browser.py`, which Playwright drives; both are installed where
//! they are missing). `SCREENSHOTS=DIR` keeps what it looked like.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::json;
use support::people::BASE;
use support::program::Running;
use support::{Person, SOON, World, database, eventually, file_reference, write_private};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A token of the port.
const TOKEN: &str = "a-token-that-nobody-finds-by-trying";

/// A daemon with a port, and its address.
fn daemon(world: &mut World, settings: &str) -> (Running, String) {
    let token = world.dirsyncd.folder().join("token");
    write_private(&token, format!("{TOKEN}\n"));
    world.dirsyncd.rest = format!(
        "{settings}\n[schedule]\nsync = \"0 0 1 1 *\"\n[daemon]\nlisten = \"127.0.0.1:0\"\ntoken = {}\n",
        file_reference(&token)
    );
    let daemon = world.dirsyncd.start(&["run"]);
    let address = eventually("a daemon that waits", SOON, || {
        let log = daemon.stderr();
        log.contains("waiting for the next run").then_some(())?;
        let (_, rest) = log.split_once("listening address=")?;
        Some(rest.split_whitespace().next()?.to_owned())
    });
    (daemon, format!("http://{address}"))
}

fn end(daemon: Running) {
    assert!(!daemon.stderr().contains(TOKEN) && !daemon.stderr().contains("panicked"));
    daemon.signal("TERM");
    daemon.wait_within(Duration::from_secs(15)).expect_code(0);
}

/// What asks, and its answers.
fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

fn client() -> Client {
    // Another test may have done so.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().no_proxy().redirect(Policy::none());
    // A connection that is idle for long is closed there.
    builder.pool_max_idle_per_host(0).build().unwrap()
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// The cookie that an answer sets.
fn cookie(answer: &Response) -> String {
    let cookie = header(answer, "set-cookie");
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"),
        "{cookie}"
    );
    cookie.split(';').next().unwrap().to_owned()
}

/// The code that the forms of a page have.
fn code(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"code\" value=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// A form of a page of this address.
fn post(
    client: &Client,
    url: &str,
    path: &str,
    cookie: &str,
    fields: &[(&str, &str)],
) -> RequestBuilder {
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(fields);
    client
        .post(format!("{url}{path}"))
        .header("Origin", url)
        .header("Cookie", cookie)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(body.finish())
}

/// Logs in; the cookie.
async fn log_in(client: &Client, url: &str) -> String {
    let page = client.get(format!("{url}/login")).send().await.unwrap();
    let before = cookie(&page);
    let code = code(&page.text().await.unwrap());
    let fields = [("code", code.as_str()), ("token", TOKEN), ("next", "/")];
    let answer = post(client, url, "/login", &before, &fields)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), header(&answer, "location")),
        (303, "/")
    );
    let after = cookie(&answer);
    assert_ne!(before, after);
    after
}

#[test]
fn a_browser_gets_in_by_the_token_and_gives_orders_by_its_own_forms_alone() {
    let mut world = World::of(&Person::four());
    let (daemon, url) = daemon(&mut world, "");
    runtime().block_on(async {
    let client = client();
    let get = async |path: &str, cookie: &str| {
        let request = client.get(format!("{url}{path}")).header("Cookie", cookie);
        request.send().await.unwrap()
    };
    for path in [
        "/",
        "/plan",
        "/runs/1",
        "/history?who=a%26b",
        "/people?who=ada",
        "/holds/1",
    ] {
        let answer = get(path, "dirsyncd=0").await;
        assert_eq!(answer.status(), 303, "{path}");
        assert!(header(&answer, "location").starts_with("/login"), "{path}");
        assert_eq!(answer.text().await.unwrap(), "");
    }
    assert_eq!(
        header(&get("/history?who=a%26b", "").await, "location"),
        "/login?next=%2Fhistory%3Fwho%3Da%2526b"
    );

    let cookie = log_in(&client, &url).await;
    let page = get("/", &cookie).await;
    assert_eq!(page.status(), 200);
    assert_eq!(
        header(&page, "content-security-policy"),
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("content-type", "text/html; charset=utf-8"),
        ("referrer-policy", "same-origin"),
    ] {
        assert_eq!(header(&page, name), value);
    }
    let code = code(&page.text().await.unwrap());
    // The API takes no cookie.
    assert_eq!(get("/v1/status", &cookie).await.status(), 401);

    let begin = |code: &str| post(&client, &url, "/plan", &cookie, &[("code", code)]);
    let refused = async |request: RequestBuilder, why: &str| {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let page = answer.text().await.unwrap();
        assert!(status == 403 && page.contains(why), "{status} {page}");
    };
    let of_another = "of another session";
    refused(begin(""), of_another).await;
    refused(begin(&code[1..]), of_another).await;
    refused(post(&client, &url, "/plan", &cookie, &[]), of_another).await;
    let other = log_in(&client, &url).await;
    refused(
        post(&client, &url, "/plan", &other, &[("code", &code)]),
        of_another,
    )
    .await;
    let of_elsewhere = "comes from a page of elsewhere";
    let body = format!("code={code}");
    let bare = || {
        client
            .post(format!("{url}/plan"))
            .header("Cookie", &cookie)
            .body(body.clone())
    };
    refused(bare(), of_elsewhere).await;
    refused(bare().header("Origin", "null"), of_elsewhere).await;
    refused(bare().header("Origin", "http://127.0.0.1:1"), of_elsewhere).await;
    refused(
        begin(&code).header("Sec-Fetch-Site", "same-site"),
        of_elsewhere,
    )
    .await;
    // To the API neither.
    let pause = client.post(format!("{url}/v1/pause")).bearer_auth(TOKEN);
    let pause = pause
        .header("Origin", "http://evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(pause.status(), 403);
    let foreign = client
        .get(&url)
        .header("Host", "evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(foreign.status(), 421);
    assert!(!daemon.stderr().contains("asked for a dry run"));

    let answer = begin(&code).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), header(&answer, "location")),
        (303, "/plan")
    );
    let shown = eventually_text(&client, &url, &cookie, "Ada Lovelace").await;
    assert!(shown.contains("4 to create"), "{shown}");

    let out = post(&client, &url, "/logout", &cookie, &[("code", &code)]);
    assert_eq!(out.send().await.unwrap().status(), 303);
    assert_eq!(get("/", &cookie).await.status(), 303);
    assert_eq!(get("/", &other).await.status(), 200);
    });
    assert_eq!(world.organization.active(), 0);
    end(daemon);
}

/// The page of the plan, once it has these words.
async fn eventually_text(client: &Client, url: &str, cookie: &str, words: &str) -> String {
    let begun = Instant::now();
    loop {
        let page = client.get(format!("{url}/plan")).header("Cookie", cookie);
        let text = page.send().await.unwrap().text().await.unwrap();
        if text.contains(words) {
            return text;
        }
        assert!(begun.elapsed() < SOON, "{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn wrong_tokens_are_slow_and_tell_nothing() {
    let mut world = World::of(&Person::four());
    let (daemon, url) = daemon(&mut world, "");
    runtime().block_on(async {
        let client = client();
        let page = client.get(format!("{url}/login")).send().await.unwrap();
        let cookie = cookie(&page);
        let code = code(&page.text().await.unwrap());
        for wrong in ["", "x", "a-token-that-nobody-finds-by-tryin"] {
            let begun = Instant::now();
            let fields = [
                ("code", code.as_str()),
                ("token", wrong),
                ("next", "//evil.example"),
            ];
            let answer = post(&client, &url, "/login", &cookie, &fields)
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 403);
            assert!(!answer.headers().contains_key("set-cookie"));
            assert!(begun.elapsed() >= Duration::from_secs(1));
        }
        // Nor does it lead elsewhere.
        for next in ["//evil.example", "https://evil.example", "/\\evil.example"] {
            let fields = [("code", code.as_str()), ("token", TOKEN), ("next", next)];
            let answer = post(&client, &url, "/login", &cookie, &fields)
                .send()
                .await
                .unwrap();
            assert_eq!(header(&answer, "location"), "/", "{next}");
        }
    });
    end(daemon);
}

#[test]
fn at_the_socket_and_with_the_token_nobody_logs_in() {
    let mut world = World::of(&Person::four());
    let (daemon, url) = daemon(&mut world, "");
    runtime().block_on(async {
        let socket = world.dirsyncd.state().join("dirsyncd.db.sock");
        let client = client();
        let by_socket = Client::builder().no_proxy().redirect(Policy::none());
        let by_socket = by_socket.unix_socket(socket).build().unwrap();
        let page = by_socket.get("http://localhost/").send().await.unwrap();
        assert_eq!(page.status(), 200);
        let cookie = cookie(&page);
        let text = page.text().await.unwrap();
        assert!(!text.contains("Log out"));
        let fields = [("code", code(&text))];
        let fields = fields
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let order = || post(&by_socket, "http://localhost", "/plan", &cookie, &fields);
        let elsewhere = order()
            .header("Sec-Fetch-Site", "cross-site")
            .send()
            .await
            .unwrap();
        assert_eq!(elsewhere.status(), 403);
        assert_eq!(order().send().await.unwrap().status(), 303);
        for host in ["evil.example", "dirsyncd"] {
            // As a page does whose name leads to where `ssh -L` listens.
            for path in ["/", "/v1/status"] {
                let request = by_socket.get(format!("http://localhost{path}"));
                let answer = request.header("Host", host).send().await.unwrap();
                assert_eq!(answer.status(), 421, "{host} {path}");
            }
        }
        let page = client.get(&url).bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(page.status(), 200);
        let wrong = client
            .get(&url)
            .bearer_auth("another")
            .send()
            .await
            .unwrap();
        assert_eq!(wrong.status(), 401);
    });
    end(daemon);
}

#[test]
fn files_are_sent_once() {
    let mut world = World::of(&Person::four());
    let (daemon, url) = daemon(&mut world, "");
    runtime().block_on(async {
        let client = client();
        for (path, media) in [
            ("/assets/style.css", "text/css; charset=utf-8"),
            ("/assets/script.js", "text/javascript; charset=utf-8"),
            ("/assets/icon.svg", "image/svg+xml"),
        ] {
            let answer = client.get(format!("{url}{path}")).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(
                (
                    header(&answer, "content-type"),
                    header(&answer, "cache-control")
                ),
                (media, "no-cache")
            );
            let tag = header(&answer, "etag").to_owned();
            assert!(!answer.text().await.unwrap().is_empty());
            let again = client
                .get(format!("{url}{path}"))
                .header("If-None-Match", &tag);
            let again = again.send().await.unwrap();
            assert_eq!(
                (again.status().as_u16(), header(&again, "etag")),
                (304, tag.as_str())
            );
            let other = client
                .get(format!("{url}{path}"))
                .header("If-None-Match", "\"x\"");
            assert_eq!(other.send().await.unwrap().status(), 200);
        }
    });
    end(daemon);
}

/// A company in which something is to be seen on every page, with a daemon.
fn lively() -> (World, Running, String) {
    let mut people = Person::four();
    let mut evil = Person::new(
        "evil",
        "<img src=x onerror=\"window.owned=1\">",
        "<b>Bold</b>",
    );
    evil.title = "\u{202e}reenignE</td></table><script>window.owned=1</script>".to_owned();
    people.push(evil);
    people.extend(Person::several(9));
    let mut world = World::of(&people);
    let settings = format!(
        "[guards]\ndeactivate = {{ at_most = 1 }}\n[apply]\nquarantine_after = 1\n[[group]]\nbase = \"ou=groups,{BASE}\"\n"
    );
    world.slapd.modify(&format!(
        "dn: ou=groups,{BASE}\nchangetype: add\nobjectClass: organizationalUnit\nou: groups\n"
    ));
    let members = [&people[0], &people[1], &people[4]];
    let members: String = members
        .iter()
        .map(|one| format!("member: {}\n", one.dn()))
        .collect();
    world.slapd.modify(&format!(
        "dn: cn=\\3ci\\3estaff,ou=groups,{BASE}\nchangetype: add\nobjectClass: groupOfNames\ncn: <i>staff\n{members}\n"
    ));
    let (daemon, url) = daemon(&mut world, &settings);
    let sync = || world.dirsyncd.run(&["sync", "--daemon"]);
    sync().expect_code(0);
    for (n, title) in ["Analyst", "Principal"].into_iter().enumerate() {
        for person in &people[5..7 + n * 3] {
            world.slapd.replace(&person.dn(), &[("title", title)]);
        }
        sync().expect_code(0);
    }
    let refused = world.account(&people[2]).scim_id;
    world.organization.faults(&json!([{
        "match": format!("^PATCH .*/Users/{refused}"),
        "times": 100_000,
        "status": 403,
        "body": {"key": "forbidden.by-policy", "message": "not <b>this</b> one"},
    }]));
    world
        .slapd
        .replace(&people[2].dn(), &[("title", "Professor")]);
    for person in &people[10..13] {
        world.slapd.delete(&person.dn());
    }
    sync();
    world
        .slapd
        .replace(&people[1].dn(), &[("title", "Admiral")]);
    world.slapd.replace(
        &people[4].dn(),
        &[("title", "<script>window.owned=1</script>")],
    );
    (world, daemon, url)
}

/// Makes the history so many writes longer: each as one that the journal has, for somebody else.
fn lengthen(path: &Path, writes: u32) {
    database::execute(
        path,
        &format!(
            "CREATE TEMP TABLE made AS SELECT row_number() OVER () - 1 AS place, * FROM operations;
             INSERT INTO operations (run_id, external_id, kind, detail, state, intended_at, sent_at, answered_at,
                 settled_at, scim_id, requests, request_id, error, progress, digest)
             WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {writes})
             SELECT run_id, external_id || '-' || i, kind, json_set(detail, '$.key', external_id || '-' || i), state,
                 intended_at, sent_at, answered_at, settled_at, scim_id, requests, request_id, error, progress, digest
             FROM n JOIN made ON place = i % (SELECT count(*) FROM made);"
        ),
    );
}

#[test]
fn a_long_history_is_shown_page_by_page_and_a_write_that_cannot_be_read_is_named() {
    let (world, daemon, url) = lively();
    let path = world.dirsyncd.database();
    // How long each page takes is printed.
    let writes = std::env::var("WRITES").map_or(12_000, |writes| writes.parse().unwrap());
    lengthen(&path, writes);
    let number = |query: &str| -> i64 { database::texts(&path, query)[0].parse().unwrap() };
    let last = number("SELECT CAST(max(id) AS TEXT) FROM operations");
    // One of the newest, of the run that has written the least.
    let spoilt = number(&format!(
        "SELECT CAST(id AS TEXT) FROM operations WHERE id > {last} - 50 ORDER BY
            (SELECT count(*) FROM operations AS same WHERE same.run_id = operations.run_id), id LIMIT 1"
    ));
    database::execute(
        &path,
        &format!(
            "UPDATE operations SET detail = '{{\"active\": [false, true]}}' WHERE id = {spoilt}"
        ),
    );
    // SQLite takes half of a character for JSON.
    let half = "UPDATE runs SET summary = '{\"held\": \"\\ud800\"}' WHERE id = 1";
    database::execute(&path, half);
    let of_spoilt = |column: &str| {
        let query = format!("SELECT CAST({column} AS TEXT) FROM operations WHERE id = {spoilt}");
        database::texts(&path, &query).remove(0)
    };
    let (run, key) = (of_spoilt("run_id"), of_spoilt("external_id"));
    runtime().block_on(async {
        let client = client();
        let get = async |path: &str| {
            let begun = Instant::now();
            let answer = client.get(format!("{url}{path}")).bearer_auth(TOKEN);
            let answer = answer.send().await.unwrap();
            let status = answer.status().as_u16();
            let text = answer.text().await.unwrap();
            println!("{path}: {:?}", begun.elapsed());
            assert_eq!(status, 200, "{path}: {text}");
            text
        };
        let rows = |page: &str| page.matches("data-heading=\"Outcome\"").count();
        let first = get("/history").await;
        assert!(first.contains("More than 10,000 writes, the newest first."));
        assert_eq!(rows(&first), 50);
        for words in ["cannot be read", "missing field", &key, &format!("#{spoilt}, ")] {
            assert!(first.contains(words), "{words} in {first}");
        }
        let older = format!("/history?before={}", last - 49);
        assert!(first.contains(&format!("href=\"{older}\"")), "{first}");
        let second = get(&older).await;
        assert_eq!(rows(&second), 50);
        assert!(second.contains(&format!("#{}, ", last - 50)) && !second.contains(&format!("#{}, ", last - 49)));
        for (path, count) in [
            ("/history?kind=create", 50),
            ("/history?kind=delete", 0),
            ("/history?failed=yes", 50),
            ("/history?kind=create&failed=yes", 0),
            ("/history?who=ada%40example.org", 1),
            ("/history?who=%3Ci%3Estaff", 1),
            ("/history?who=nobody", 0),
            ("/history?who=ada%40example.org&kind=delete", 0),
            ("/runs/1", 50),
            ("/runs", 4),
            ("/", 4),
        ] {
            let page = get(path).await;
            assert_eq!(rows(&page), count, "{path}: {page}");
        }
        for path in ["/runs/1", "/runs", "/"] {
            let page = get(path).await;
            assert!(page.contains("the figures of this run cannot be read"), "{path}: {page}");
        }
        for (path, why) in [
            ("/runs/99", "there is no run 99 in the database"),
            ("/runs/last", "there is no run last in the database: runs have numbers"),
        ] {
            let answer = client.get(format!("{url}{path}")).bearer_auth(TOKEN).send().await.unwrap();
            assert_eq!(answer.status(), 404, "{path}");
            let page = answer.text().await.unwrap();
            assert!(page.contains(why), "{path}: {page}");
        }
        // So does the API.
        let told = get(&format!("/v1/runs/{run}")).await;
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let (unreadable, others): (Vec<_>, Vec<_>) = told["writes"]
            .as_array()
            .unwrap()
            .iter()
            .partition(|write| write.get("unreadable").is_some());
        assert!(others.len() > 100);
        let why = unreadable[0]["unreadable"].clone();
        assert!(why.as_str().unwrap().contains("missing field"), "{why}");
        let expected = json!({"operation": spoilt, "run": told["writes"][0]["run"], "key": key, "unreadable": why});
        assert_eq!(unreadable, [&expected]);
        let schema = std::fs::read_to_string(Path::new(ROOT).join("docs/history.schema.json"));
        let schema: serde_json::Value = serde_json::from_str(&schema.unwrap()).unwrap();
        jsonschema::validate(&schema, &told).unwrap();
        // The command that lets a hold's operations through stands beside why it holds, and not in that too.
        for page in ["/", "/holds/1"] {
            let page = get(page).await;
            assert_eq!(page.matches("dirsyncd approve deactivate --reason").count(), 1, "{page}");
        }
    });
    let told = world.dirsyncd.run(&["history", "--run", &run]);
    assert_eq!(told.code, Some(1), "{}", told.stderr);
    assert!(
        told.stdout
            .contains(&format!("#{spoilt} of {key} cannot be read: missing field"))
    );
    assert!(
        told.stderr.contains("of these writes 1 cannot be read"),
        "{}",
        told.stderr
    );
    let told = world
        .dirsyncd
        .run(&["history", "--run", &run, "--format", "csv"]);
    let line = format!(",{spoilt},{run},");
    let line = told.stdout.lines().find(|one| one.contains(&line)).unwrap();
    assert!(
        line.contains(&key) && line.contains(",unreadable,"),
        "{line}"
    );
    end(daemon);
}

#[test]
fn a_real_browser_shows_it_and_a_report_and_does_nothing_else() {
    let (world, daemon, url) = lively();
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        let printed = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            output.status.success(),
            "{}\n{printed}\n{}",
            output.status,
            daemon.stderr()
        );
        printed
    };
    let venv = Path::new(ROOT).join("target/page-venv");
    let requirements = Path::new(ROOT).join("tests/page/requirements.txt");
    run(Command::new(Path::new(ROOT).join("tests/scim/setup.sh"))
        .arg(&venv)
        .arg(requirements));
    let folder = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("SCREENSHOTS").map(PathBuf::from);
    let report = folder.path().join("report.html");
    let output = report.to_str().unwrap();
    world
        .dirsyncd
        .run(&["plan", "-o", output])
        .expect_words(&["to update"]);
    let printed = run(Command::new(venv.join("bin/python"))
        .arg("-B")
        .arg(Path::new(ROOT).join("tests/page/browser.py"))
        .arg(&url)
        .arg(kept.as_deref().unwrap_or(folder.path()))
        .env("TOKEN", TOKEN)
        .env("REPORT", &report)
        .env("CHROMIUM", "/usr/bin/chromium-headless-shell"));
    println!("{printed}");
    assert!(printed.ends_with("all is well\n"), "{printed}");
    // Nobody's dry run has written anything.
    assert_eq!(
        world
            .account(&Person::new("grace", "Grace", "Hopper"))
            .title
            .as_deref(),
        Some("Engineer")
    );
    end(daemon);
}
