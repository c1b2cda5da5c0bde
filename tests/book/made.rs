//! Chapters that are made from what the program serves and takes.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use crate::support::{Person, SOON, World, eventually};
use crate::{sources, updates};

const HEAD: &str = "<!-- Made from the program by its tests: INSTA_UPDATE=always cargo test --test book made -->\n";

#[track_caller]
fn expect_made(name: &str, made: &str) {
    let path = sources().join(name);
    if updates() {
        std::fs::write(&path, made).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == made,
        "{name} is not of this version: INSTA_UPDATE=always cargo test --test book made"
    );
}

#[test]
fn the_metrics_are_those_that_a_daemon_serves() {
    let mut world = World::synced(&Person::four());
    world.dirsyncd.rest = "[schedule]\nsync = \"0 3 * * *\"\n".to_owned();
    let _daemon = world.dirsyncd.start(&["run"]);
    let socket = world.dirsyncd.state().join("dirsyncd.db.sock");
    let served = eventually("the figures", SOON, || figures(&socket).ok());
    let mut page = format!(
        "# Metrics\n\n{HEAD}\nThe daemon serves these at `/metrics`, on its socket and on the port of `[daemon]`. What the database has outlives restarts; counters are those of the daemon's process. Labels name nobody. `deploy/prometheus/` has alert rules and `deploy/grafana/` a dashboard for them.\n\n| name | kind | labels | what it says |\n| --- | --- | --- | --- |\n"
    );
    let lines: Vec<&str> = served.lines().collect();
    let mut count = 0;
    for help in lines.iter().filter_map(|line| line.strip_prefix("# HELP ")) {
        let (name, help) = help.split_once(' ').unwrap();
        let kind = lines
            .iter()
            .find_map(|line| line.strip_prefix(&format!("# TYPE {name} ")))
            .unwrap();
        let mut labels: Vec<&str> = lines
            .iter()
            .filter(|line| line.starts_with(name))
            .filter_map(|line| line.split_once('{'))
            .filter(|(series, _)| {
                series
                    .strip_prefix(name)
                    .is_some_and(|rest| ["", "_bucket"].contains(&rest))
            })
            .flat_map(|(_, labels)| labels.split_once('}').unwrap().0.split("\","))
            .filter_map(|label| Some(label.split_once('=')?.0))
            .filter(|label| *label != "le")
            .collect();
        labels.sort_unstable();
        labels.dedup();
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(
            page,
            "| `{name}` | {kind} | {} | {} |",
            labels.join(", "),
            help.trim_end_matches('.')
        )
        .unwrap();
        count += 1;
    }
    assert!(count > 30, "{count}\n{served}");
    expect_made("reference/metrics.md", &page);
}

#[test]
fn the_chapter_of_saved_plans_is_made_from_their_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/plan.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut page = format!(
        "# Saved plans\n\n{HEAD}\n{} The schema itself is `plan.schema.json`, which `dirsyncd plan --schema` prints.\n",
        schema["description"].as_str().unwrap()
    );
    table(&mut page, &schema);
    for (name, part) in schema["$defs"].as_object().unwrap() {
        write!(page, "\n## {name}\n").unwrap();
        if let Some(about) = part["description"].as_str() {
            writeln!(page, "\n{about}").unwrap();
        }
        match part["properties"].is_object() {
            true => table(&mut page, part),
            false => writeln!(page, "\nIt is {}.", kind(part)).unwrap(),
        }
    }
    expect_made("reference/plan-schema.md", &page);
}

/// What a daemon serves on its socket.
fn figures(socket: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let is_good = head.split(' ').nth(1) == Some("200");
    is_good
        .then(|| body.to_owned())
        .ok_or_else(|| std::io::Error::other(head.to_owned()))
}

/// The keys of an object.
fn table(page: &mut String, schema: &Value) {
    page.push_str("\n| key | kind | what it says |\n| --- | --- | --- |\n");
    for (key, property) in schema["properties"].as_object().unwrap() {
        let about = property["description"].as_str().unwrap_or_default();
        let line = format!(
            "| `{key}` | {} | {about} |\n",
            kind(property).replace('|', "\\|")
        );
        page.push_str(&line);
    }
}

/// What a value is, in words.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return format!("[{name}](#{name})");
    }
    for choices in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[choices].as_array() {
            return choices.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    match (&schema["const"], &schema["enum"], &schema["type"]) {
        (Value::Null, Value::Null, Value::String(one)) if one == "array" => {
            format!("array of {}", kind(&schema["items"]))
        }
        (Value::Null, Value::Null, Value::String(one)) => one.clone(),
        (Value::Null, Value::Null, Value::Array(several)) => {
            let several: Vec<&str> = several.iter().filter_map(Value::as_str).collect();
            several.join(" or ")
        }
        (Value::Null, Value::Array(words), _) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            words.join(" or ")
        }
        (Value::Null, ..) => "any".to_owned(),
        (only, ..) => format!("`{only}`"),
    }
}
