//! What those see who watch over the daemon: health, readiness, and the figures for Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::control::{
    TOKEN, ask, at_port, daemon, end, exchange, expect_logged, expect_success, once_a_year, request,
};
use crate::support::{Person, SOON, World, database, eventually};

/// The figures, each by its series, and the text that they are in.
struct Scraped {
    series: BTreeMap<String, f64>,
    text: String,
}

impl Scraped {
    fn of(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let value = value.replace("+Inf", "inf");
            (series.to_owned(), value.parse().unwrap())
        });
        Scraped {
            series: series.collect(),
            text: text.to_owned(),
        }
    }

    fn scrape(world: &World) -> Self {
        let answer = ask(world, "GET", "/metrics", "");
        assert_eq!(answer.status, 200, "{answer:?}");
        let media = "content-type: text/plain; version=0.0.4; charset=utf-8";
        assert!(answer.head.contains(media), "{answer:?}");
        Self::of(&answer.body)
    }

    #[track_caller]
    fn get(&self, series: &str) -> f64 {
        let found = self.series.get(&format!("dirsyncd_{series}"));
        *found.unwrap_or_else(|| panic!("no {series} in\n{}", self.text))
    }

    #[track_caller]
    fn expect(&self, series: &[(&str, f64)]) {
        for (name, expected) in series {
            assert_eq!(self.get(name), *expected, "{name} in\n{}", self.text);
        }
    }
}

fn now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}

fn sync(world: &World, code: i32) {
    world.dirsyncd.run(&["sync", "--daemon"]).expect_code(code);
}

/// What promtool has to say of the figures: nothing.
fn expect_lint(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

#[test]
fn the_figures_are_those_of_what_happened_and_what_the_database_has_survives_a_restart() {
    let people = Person::several(12);
    let mut world = World::of(&people);
    once_a_year(&mut world, "[guards]\ndeactivate = { at_most = 3 }\n");
    let first = daemon(&world);
    let before = Scraped::scrape(&world);
    expect_lint(&before.text);
    before.expect(&[
        ("build_info{version=\"0.1.0\"}", 1.0),
        ("database_readable", 1.0),
        ("hanging", 0.0),
        ("paused", 0.0),
        ("at_work{job=\"sync\"}", 0.0),
        ("last_good_sync_timestamp_seconds", 0.0),
        ("last_good_sync_age_seconds", f64::INFINITY),
        ("last_run_end_timestamp_seconds", 0.0),
        ("last_start_timestamp_seconds{job=\"sync\"}", 0.0),
        ("accounts{lifecycle=\"active\"}", 0.0),
        ("api_throttles_total", 0.0),
    ]);
    assert!(before.get("next_run_timestamp_seconds{job=\"sync\"}") > now());

    let began = now();
    sync(&world, 0);
    let after = Scraped::scrape(&world);
    expect_lint(&after.text);
    // No series comes or goes with what happens.
    let names = |scraped: &Scraped| scraped.series.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&before), names(&after));
    after.expect(&[
        ("runs_total{job=\"sync\",outcome=\"done\"}", 1.0),
        ("runs_total{job=\"sync\",outcome=\"failed\"}", 0.0),
        ("run_duration_seconds_count{job=\"sync\"}", 1.0),
        ("run_duration_seconds_count{job=\"full\"}", 0.0),
        (
            "sync_phase_duration_seconds_count{phase=\"beginning\"}",
            1.0,
        ),
        ("sync_phase_duration_seconds_count{phase=\"reading\"}", 1.0),
        ("sync_phase_duration_seconds_count{phase=\"planning\"}", 1.0),
        ("sync_phase_duration_seconds_count{phase=\"sending\"}", 1.0),
        (
            "source_reading_duration_seconds_count{source=\"directory\"}",
            1.0,
        ),
        ("ldap_entries_read_total{source=\"directory\"}", 12.0),
        ("source_entries{source=\"directory\"}", 12.0),
        (
            "operations_total{target=\"account\",kind=\"create\",outcome=\"done\"}",
            12.0,
        ),
        (
            "operations_total{target=\"account\",kind=\"create\",outcome=\"failed\"}",
            0.0,
        ),
        (
            "operations_total{target=\"group\",kind=\"update\",outcome=\"done\"}",
            0.0,
        ),
        ("accounts{lifecycle=\"active\"}", 12.0),
        ("accounts{lifecycle=\"deactivated\"}", 0.0),
        ("last_run_outcome{outcome=\"done\"}", 1.0),
        ("refused_people", 0.0),
    ]);
    for since in [
        "last_good_sync_timestamp_seconds",
        "last_run_end_timestamp_seconds",
        "last_start_timestamp_seconds{job=\"sync\"}",
    ] {
        assert!((began - 1.0..=now()).contains(&after.get(since)), "{since}");
    }
    assert!((0.0..60.0).contains(&after.get("last_good_sync_age_seconds")));
    let phases = ["beginning", "reading", "planning", "sending"].map(|phase| {
        after.get(&format!(
            "sync_phase_duration_seconds_sum{{phase=\"{phase}\"}}"
        ))
    });
    let whole = after.get("run_duration_seconds_sum{job=\"sync\"}");
    assert!((phases.iter().sum::<f64>() - whole).abs() < 1e-6);
    assert!(after.get("api_requests_total") >= 12.0);
    assert_eq!(
        after.get("api_answers_total"),
        after.get("api_requests_total")
    );
    let size = std::fs::metadata(world.dirsyncd.database()).unwrap().len();
    assert_eq!(
        after.get("database_size_bytes{file=\"database\"}"),
        size as f64
    );

    // Five leave, and three may; one has another title, one comes.
    for person in &people[..5] {
        world.slapd.delete(&person.dn());
    }
    world
        .slapd
        .replace(&people[6].dn(), &[("title", "Director")]);
    world.slapd.add(&Person::new("radia", "Radia", "Perlman"));
    sync(&world, 3);
    let held = [
        ("holds{guard=\"deactivate\"}", 1.0),
        ("holds{guard=\"create\"}", 0.0),
        ("held_operations{guard=\"deactivate\"}", 5.0),
        ("pending_deactivations", 5.0),
        ("accounts{lifecycle=\"active\"}", 13.0),
        ("source_entries{source=\"directory\"}", 8.0),
        ("last_run_outcome{outcome=\"incomplete\"}", 1.0),
    ];
    let scraped = Scraped::scrape(&world);
    scraped.expect(&held);
    scraped.expect(&[
        ("runs_total{job=\"sync\",outcome=\"refused\"}", 1.0),
        (
            "operations_total{target=\"account\",kind=\"update\",outcome=\"done\"}",
            1.0,
        ),
        (
            "operations_total{target=\"account\",kind=\"create\",outcome=\"done\"}",
            13.0,
        ),
    ]);
    let since = "oldest_pending_deactivation_timestamp_seconds";
    let waits_since = scraped.get(since);
    assert!((began..=now()).contains(&waits_since));
    let good = scraped.get("last_good_sync_timestamp_seconds");
    end(first);

    let second = daemon(&world);
    let scraped = Scraped::scrape(&world);
    scraped.expect(&held);
    scraped.expect(&[
        (since, waits_since),
        ("last_good_sync_timestamp_seconds", good),
        ("runs_total{job=\"sync\",outcome=\"refused\"}", 0.0),
    ]);
    let approve = ["approve", "deactivate", "--reason", "they have left"];
    world.dirsyncd.run(&approve).expect_code(0);
    sync(&world, 0);
    Scraped::scrape(&world).expect(&[
        ("holds{guard=\"deactivate\"}", 0.0),
        ("held_operations{guard=\"deactivate\"}", 0.0),
        ("pending_deactivations", 0.0),
        (since, 0.0),
        (
            "operations_total{target=\"account\",kind=\"deactivate\",outcome=\"done\"}",
            5.0,
        ),
        ("accounts{lifecycle=\"active\"}", 8.0),
        ("accounts{lifecycle=\"deactivated\"}", 5.0),
    ]);
    end(second);
}

#[test]
fn throttles_failures_and_quarantine_are_counted() {
    let mut people = Person::four();
    let mut world = World::of(&people);
    once_a_year(&mut world, "[apply]\nquarantine_after = 1\n");
    world.organization.faults(&json!([
        {"match": "^POST .*/Users$", "times": 2, "status": 429, "headers": {"Retry-After": "1"}}
    ]));
    let daemon = daemon(&world);
    sync(&world, 0);
    let scraped = Scraped::scrape(&world);
    scraped.expect(&[
        ("api_throttles_total", 2.0),
        (
            "operations_total{target=\"account\",kind=\"create\",outcome=\"done\"}",
            4.0,
        ),
    ]);

    let ada = world.account(&people[0]);
    world.organization.faults(&json!([
        {"match": format!("^PATCH .*/Users/{}", ada.scim_id), "times": 1_000, "status": 403,
         "body": {"detail": "forbidden.by-policy: not this one"}}
    ]));
    "Director".clone_into(&mut people[0].title);
    world
        .slapd
        .replace(&people[0].dn(), &[("title", "Director")]);
    sync(&world, 4);
    Scraped::scrape(&world).expect(&[
        (
            "operations_total{target=\"account\",kind=\"update\",outcome=\"failed\"}",
            1.0,
        ),
        ("runs_total{job=\"sync\",outcome=\"some_failed\"}", 1.0),
        ("quarantined{target=\"account\"}", 1.0),
        ("quarantined{target=\"group\"}", 0.0),
        ("failing{target=\"account\"}", 0.0),
    ]);
    sync(&world, 3);
    Scraped::scrape(&world).expect(&[("refused_people", 1.0)]);
    let status = world.dirsyncd.run(&["status"]).expect_code(0);
    status.expect_words(&[
        "Deactivations that are not done: 0\n",
        "In quarantine: 1; `dirsyncd plan` tells who",
    ]);

    let good = Scraped::scrape(&world).get("last_good_sync_timestamp_seconds");
    world.slapd.stop();
    sync(&world, 1);
    Scraped::scrape(&world).expect(&[
        ("runs_total{job=\"sync\",outcome=\"failed\"}", 1.0),
        ("last_run_outcome{outcome=\"failed\"}", 1.0),
        ("last_good_sync_timestamp_seconds", good),
    ]);
    world.dirsyncd.run(&["pause"]).expect_code(0);
    Scraped::scrape(&world).expect(&[("paused", 1.0)]);
    end(daemon);
}

#[test]
fn a_daemon_that_hangs_is_not_healthy_and_is_scraped_all_the_same() {
    let mut world = World::of(&Person::four());
    once_a_year(&mut world, "hang_after = \"1s\"\n");
    let daemon = daemon(&world);
    let healthy = ask(&world, "GET", "/healthz", "");
    assert_eq!(healthy.status, 200, "{healthy:?}");
    assert_eq!(
        healthy.json(),
        json!({"healthy": true, "hanging": false, "hang_after_seconds": 1, "at_work": null, "paused": false})
    );
    world.organization.slow_writes(60_000);
    daemon.signal("USR1");
    let hanging = eventually("a daemon that hangs", SOON, || {
        let answer = ask(&world, "GET", "/healthz", "");
        (answer.status == 503).then(|| answer.json())
    });
    assert_eq!(
        hanging,
        json!({"healthy": false, "hanging": true, "hang_after_seconds": 1, "at_work": "sync", "paused": false})
    );
    // It can still be asked, and the run that hangs in the middle of its writes holds up no scrape.
    assert_eq!(ask(&world, "GET", "/readyz", "").status, 200);
    let began = Instant::now();
    Scraped::scrape(&world).expect(&[("hanging", 1.0), ("at_work{job=\"sync\"}", 1.0)]);
    assert!(began.elapsed() < Duration::from_secs(2));
    daemon.signal("KILL");
    daemon.wait();
}

#[test]
fn whether_it_is_well_is_told_without_a_token_to_this_machine_alone_and_the_figures_with_one() {
    let mut world = World::of(&Person::four());
    let (daemon, port) = at_port(&mut world, "");
    let ask = |path: &str, host: &str, headers: &str| {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let asked = String::from_utf8(request("GET", path, headers, "")).unwrap();
        exchange(stream, asked.replace("Host: localhost", host).as_bytes())
    };
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(path, "Host: localhost", "").status, 200, "{path}");
        ask(path, "Host: example.org", "").expect_problem(421, "misdirected");
    }
    ask("/metrics", "Host: localhost", "").expect_problem(401, "unauthorized");
    ask("/metrics", "Host: example.org", &right).expect_problem(421, "misdirected");
    ask("/healthz/", "Host: localhost", "").expect_problem(401, "unauthorized");
    ask("/healthz?a=1", "Host: localhost", "").expect_problem(400, "bad-parameter");
    let scraped = ask("/metrics", "Host: localhost", &right);
    assert_eq!(scraped.status, 200);
    expect_lint(&scraped.body);

    // Without its database it lives, and cannot work; what it has counted is told.
    let path = world.dirsyncd.database();
    let aside = path.with_extension("aside");
    std::fs::rename(&path, &aside).unwrap();
    let problem = ask("/readyz", "Host: localhost", "").expect_problem(503, "not-ready");
    let detail = problem["detail"].as_str().unwrap();
    assert!(!detail.contains('/'), "{detail}");
    assert_eq!(ask("/healthz", "Host: localhost", "").status, 200);
    let without = ask("/metrics", "Host: localhost", &right).body;
    expect_lint(&without);
    assert!(without.contains("\ndirsyncd_database_readable 0.0\n"));
    assert!(without.contains("\ndirsyncd_runs_total{"));
    assert!(!without.contains("\ndirsyncd_accounts{"));
    expect_logged(&daemon, "is gone");
    std::fs::rename(&aside, &path).unwrap();
    assert_eq!(ask("/readyz", "Host: localhost", "").status, 200);
    end(daemon);
}

/// Fills a database with as much as that of a large organization has after a year.
fn fill(path: &Path) {
    database::execute(
        path,
        "PRAGMA journal_mode = WAL;
         BEGIN;
         INSERT INTO accounts (external_id, source, dn, scim_id, profile, lifecycle, since, digest, user_name, email, employee_number)
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
            SELECT 'key-' || i, 'directory', 'uid=' || i || ',dc=example', 'scim-' || i, '{\"userName\": \"u' || i || '\"}',
                iif(i % 10, 'active', 'deactivated'), iif(i % 10, NULL, 1700000000000), randomblob(16), 'u' || i, 'u' || i, '' FROM n;
         INSERT INTO runs (trigger, version, started_at, finished_at, outcome, summary)
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 35000)
            SELECT 'schedule', '0.1.0', 1700000000000 + i, 1700000000001 + i, iif(i = 1, 'done', 'failed'),
                '{\"refused\": 7, \"applied\": {\"done\": 1, \"ended_by\": null}}' FROM n;
         INSERT INTO pulls (run_id, source, entries, way) SELECT id, 'directory', 100000, 'changes' FROM runs WHERE id % 2;
         INSERT INTO operations (run_id, external_id, kind, detail, state, intended_at)
            SELECT 1, external_id, 'create', '{\"active\": [false, true]}', 'done', 1 FROM accounts;
         INSERT INTO holds (name, message, figures, opened_at, expires_at, first_run, last_run)
            VALUES ('deactivate', '', '{\"planned\": 40000}', 1, 9999999999999, 1, 1);
         INSERT INTO held_operations SELECT 1, digest, external_id, 'deactivate', '{}' FROM accounts LIMIT 40000;
         INSERT INTO pending_deactivations SELECT external_id, dn, 1700000000000, 1 FROM accounts LIMIT 5000;
         COMMIT;",
    );
}

#[test]
fn a_large_database_is_scraped_as_it_is() {
    let mut world = World::of(&[]);
    once_a_year(&mut world, "");
    let first = daemon(&world);
    Scraped::scrape(&world).expect(&[("accounts{lifecycle=\"active\"}", 0.0)]);
    end(first);
    fill(&world.dirsyncd.database());
    let second = daemon(&world);
    Scraped::scrape(&world).expect(&[
        ("accounts{lifecycle=\"active\"}", 90000.0),
        ("accounts{lifecycle=\"deactivated\"}", 10000.0),
        ("source_entries{source=\"directory\"}", 100_000.0),
        ("held_operations{guard=\"deactivate\"}", 40000.0),
        ("pending_deactivations", 5000.0),
        ("refused_people", 7.0),
        ("last_good_sync_timestamp_seconds", 1_700_000_000.002),
    ]);
    end(second);
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text_of(path: &str) -> String {
    std::fs::read_to_string(in_repository(path)).unwrap()
}

/// The parts of a text that a pattern finds.
fn found(pattern: &str, text: &str) -> BTreeSet<String> {
    let pattern = regex::Regex::new(pattern).unwrap();
    let found = pattern.captures_iter(text);
    found.map(|one| one[1].to_owned()).collect()
}

/// The expressions of a dashboard, wherever they stand.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            found.extend(
                object
                    .get("expr")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            object.values().for_each(|value| expressions(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[test]
fn alerts_and_dashboard_go_by_what_is_served_and_each_alert_comes_when_it_is_to() {
    let mut world = World::of(&[]);
    once_a_year(&mut world, "");
    let daemon = daemon(&world);
    let text = Scraped::scrape(&world).text;
    end(daemon);
    let mut served = found(r"(?m)^# TYPE (\w+) ", &text);
    for histogram in found(r"(?m)^# TYPE (\w+) histogram$", &text) {
        let series = ["bucket", "sum", "count"].map(|end| format!("{histogram}_{end}"));
        served.extend(series);
    }

    let rules = "deploy/prometheus/rules.yaml";
    let promtool = |arguments: &[&str], path: &Path| {
        expect_success(Command::new("promtool").args(arguments).arg(path))
    };
    promtool(&["check", "rules", "--lint-fatal"], &in_repository(rules));
    let scrape = in_repository("deploy/prometheus/scrape.yaml");
    promtool(&["check", "config", "--syntax-only"], &scrape);
    let tests = "tests/metrics/alerts.yaml";
    promtool(&["test", "rules"], &in_repository(tests));
    let (rules, tests) = (text_of(rules), text_of(tests));
    let alerts = found(r"- alert: (\w+)", &rules);
    assert!(alerts.len() > 10, "{alerts:?}");
    // Each comes in some test, and does not in another.
    let comes = found(r"alertname: (\w+)\n +exp_alerts:\n", &tests);
    let does_not = found(r"alertname: (\w+)\n +exp_alerts: \[\]", &tests);
    assert_eq!((&alerts, &alerts), (&comes, &does_not));
    for needed in ["for", "severity", "summary", "description"] {
        let count = rules.matches(&format!("\n          {needed}: ")).count()
            + rules.matches(&format!("\n        {needed}: ")).count();
        assert_eq!(count, alerts.len(), "{needed}");
    }

    let dashboard = text_of("deploy/grafana/dashboard.json");
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let mut shown = Vec::new();
    expressions(&dashboard, &mut shown);
    assert!(shown.len() > 30, "{shown:?}");
    let named = r"\b(dirsyncd_\w+)";
    for expression in shown.iter().chain([&rules]) {
        for name in found(named, expression) {
            assert!(served.contains(&name), "{name} is not served: {expression}");
        }
    }
    // What is served and shown nowhere is no use.
    let shown_names: BTreeSet<String> = shown.iter().flat_map(|one| found(named, one)).collect();
    let whole = |name: &String| !name.ends_with("_bucket");
    let hidden: Vec<&String> = served
        .iter()
        .filter(|name| whole(name) && !shown_names.iter().any(|shown| shown.starts_with(*name)))
        .collect();
    let known = [
        "dirsyncd_at_work",
        "dirsyncd_config_last_reload_successful",
        "dirsyncd_last_good_sync_timestamp_seconds",
        "dirsyncd_last_run_end_timestamp_seconds",
        "dirsyncd_last_start_timestamp_seconds",
        "dirsyncd_start_timestamp_seconds",
        "dirsyncd_trace_spans_total",
    ];
    assert_eq!(hidden, known);
    let records = shown.iter().enumerate().map(|(at, expression)| {
        let expression = Value::from(expression.as_str());
        format!("      - record: shown:{at}\n        expr: {expression}\n")
    });
    let records: String = records.collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shown.yaml");
    let group = format!("groups:\n  - name: shown\n    rules:\n{records}");
    std::fs::write(&path, group).unwrap();
    promtool(&["check", "rules"], &path);
}

/// A collector of traces: third-party definitions, and a server around them.
struct Collector {
    process: Child,
    lines: BufReader<ChildStdout>,
    port: u16,
}

impl Collector {
    fn start() -> Self {
        let venv = in_repository("target/metrics-venv");
        expect_success(
            Command::new(in_repository("tests/scim/setup.sh"))
                .arg(&venv)
                .arg(in_repository("tests/metrics/requirements.txt")),
        );
        let mut process = Command::new(venv.join("bin/python"))
            .arg(in_repository("tests/metrics/collector.py"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let mut port = String::new();
        lines.read_line(&mut port).unwrap();
        Collector {
            process,
            lines,
            port: port.trim().parse().unwrap(),
        }
    }

    /// What has come, as it was printed.
    fn stop(mut self) -> String {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let mut all = String::new();
        self.lines.read_to_string(&mut all).unwrap();
        all
    }
}

#[test]
fn a_collector_gets_jobs_phases_and_requests_as_spans_that_name_nobody() {
    let people = Person::four();
    let mut world = World::of(&people);
    let collector = Collector::start();
    let settings = format!(
        "[telemetry]\notlp = \"http://127.0.0.1:{}/\"\n",
        collector.port
    );
    once_a_year(&mut world, &settings);
    let running = daemon(&world);
    sync(&world, 0);
    eventually("spans that were sent", SOON, || {
        let sent = Scraped::scrape(&world).get("trace_spans_total{outcome=\"sent\"}");
        (sent > 0.0).then_some(())
    });
    world.slapd.stop();
    sync(&world, 1);
    // What waits is still sent at the end.
    end(running);
    let printed = collector.stop();
    // An id has any digits by chance, as those of "ada".
    let ids = regex::Regex::new("\"(trace|id|parent)\": \"[0-9a-f]*\"").unwrap();
    let told = ids.replace_all(&printed, "");
    for person in &people {
        let mail = person.mail.clone().unwrap();
        let account = world.account(person);
        for secret in [
            &mail,
            &person.uid,
            &person.name(),
            &person.key(),
            &account.scim_id,
        ] {
            assert!(!told.contains(secret.as_str()), "{secret} in {told}");
        }
    }
    let spans: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        spans.iter().all(|span| span["error"].is_null()),
        "{printed}"
    );
    let roots: Vec<&Value> = spans.iter().filter(|span| span["parent"] == "").collect();
    let ended = |span: &&Value| span["attributes"]["dirsyncd.outcome"].clone();
    let outcomes: Vec<Value> = roots.iter().map(ended).collect();
    assert_eq!(outcomes, ["done", "failed"]);
    assert_eq!(roots[1]["status"], 2);
    let root = roots[0];
    assert_eq!(root["name"], "sync");
    assert_eq!(
        root["resource"],
        json!({"service.name": "dirsyncd", "service.version": "0.1.0"})
    );
    let of_trace: Vec<&Value> = spans
        .iter()
        .filter(|span| span["trace"] == root["trace"])
        .collect();
    assert_eq!(
        of_trace.len()
            + spans
                .iter()
                .filter(|span| span["trace"] == roots[1]["trace"])
                .count(),
        spans.len()
    );
    let steps: Vec<&&Value> = of_trace
        .iter()
        .filter(|span| span["parent"] == root["id"])
        .collect();
    let names: Vec<&Value> = steps.iter().map(|span| &span["name"]).collect();
    assert_eq!(names, ["beginning", "reading", "planning", "sending"]);
    assert_eq!(steps[1]["attributes"]["dirsyncd.source"], "directory");
    let requests: Vec<&&Value> = of_trace.iter().filter(|span| span["kind"] == 3).collect();
    assert_eq!(1 + steps.len() + requests.len(), of_trace.len());
    let time = |span: &Value, name: &str| span[name].as_u64().unwrap();
    for span in steps.iter().chain(&requests) {
        let parent = of_trace.iter().find(|one| one["id"] == span["parent"]);
        let parent = parent.unwrap();
        assert!(time(parent, "begin") <= time(span, "begin"), "{span}");
        assert!(time(span, "begin") <= time(span, "end"), "{span}");
        assert!(time(span, "end") <= time(parent, "end"), "{span}");
    }
    let creations = requests
        .iter()
        .filter(|span| span["parent"] == steps[3]["id"]);
    let creations: Vec<&Value> = creations.map(|span| &span["attributes"]).collect();
    let creation = json!({
        "http.request.method": "POST",
        "url.template": "/scim/directory/{directoryId}/Users",
        "http.response.status_code": 201,
    });
    assert_eq!(creations, [&creation; 4]);
    assert!(requests.iter().any(|span| span["parent"] == steps[0]["id"]));
}

#[test]
fn a_collector_that_is_away_or_does_not_answer_holds_nothing_up() {
    // The one is closed again, the other one takes connections and says nothing.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed_port = closed.local_addr().unwrap().port();
    drop(closed);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    for (port, words) in [
        (
            closed_port,
            "traces are dropped: HTTP export failed: network error",
        ),
        (silent_port, "traces are dropped: it takes too long"),
    ] {
        let mut world = World::of(&Person::four());
        let settings = format!("[telemetry]\notlp = \"http://127.0.0.1:{port}\"\n");
        once_a_year(&mut world, &settings);
        let running = daemon(&world);
        sync(&world, 0);
        sync(&world, 0);
        assert_eq!(world.organization.active(), 4);
        expect_logged(&running, words);
        let scraped = Scraped::scrape(&world);
        assert!(scraped.get("trace_spans_total{outcome=\"dropped\"}") > 0.0);
        scraped.expect(&[
            ("trace_spans_total{outcome=\"sent\"}", 0.0),
            ("runs_total{job=\"sync\",outcome=\"done\"}", 2.0),
        ]);
        assert_eq!(running.stderr().matches("traces are dropped").count(), 1);
        sync(&world, 0);
        let began = Instant::now();
        end(running);
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
