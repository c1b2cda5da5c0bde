//! The chapter on the configuration and its schema are made from the types.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use regex::Regex;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::written::File;
use crate::config::{Config, MappingTarget, Preset};
use crate::fixture::expect_made;

const EXAMPLE: &str = include_str!("../../../config.example.toml");

/// Tables that the example has none of, as their keys are those of another one, or stand in a line.
const NOT_SHOWN: [&str; 3] = ["source.policy", "notify.slack", "notify.email"];

/// The schema of the file. TOML has no null: what may be left out is not required.
fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<File>().to_value();
    without_null(&mut schema);
    schema["title"] = json!("The configuration of dirsyncd");
    schema["$defs"]["SourceFile"]["properties"]["mapping"]["propertyNames"] =
        json!({ "enum": MappingTarget::names() });
    schema
}

fn without_null(value: &mut Value) {
    match value {
        Value::Object(table) => {
            if let Some(Value::Array(kinds)) = table.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [one] = kinds.as_slice() {
                    table["type"] = one.clone();
                }
            }
            if let Some(Value::Array(choices)) = table.get_mut("anyOf") {
                choices.retain(|choice| choice["type"] != "null");
                if let [Value::Object(one)] = choices.as_slice() {
                    let one = one.clone();
                    table.remove("anyOf");
                    for (key, value) in one {
                        table.entry(key).or_insert(value);
                    }
                }
            }
            // What serde takes for a key that is not there says nothing to people.
            table.remove("default");
            table.values_mut().for_each(without_null);
        }
        Value::Array(list) => list.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// The keys of each table of the example, in their order, whether they are set or not; of an inline table, none.
fn example() -> BTreeMap<String, Vec<String>> {
    let table = Regex::new(r"^#? ?\[\[?([a-z.]+)\]\]?$").unwrap();
    let key = Regex::new(r"^#? ?([A-Za-z_]+) = ").unwrap();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut now = String::new();
    for line in EXAMPLE.lines() {
        if let Some(name) = table.captures(line) {
            name[1].clone_into(&mut now);
            found.entry(now.clone()).or_default();
        } else if let Some(name) = key.captures(line) {
            let keys = found.entry(now.clone()).or_default();
            if !keys.iter().any(|known| *known == name[1]) {
                keys.push(name[1].to_owned());
            }
        }
    }
    found
}

/// Makes the chapter.
struct Chapter {
    schema: Value,
    example: BTreeMap<String, Vec<String>>,
    page: String,
    /// Each table with its keys.
    tables: Vec<(String, Vec<String>)>,
}

impl Chapter {
    fn made() -> Self {
        let mut chapter = Chapter {
            schema: schema(),
            example: example(),
            page: String::new(),
            tables: Vec::new(),
        };
        chapter.page += "# The configuration\n\n<!-- Made from the types by their tests: INSTA_UPDATE=always cargo test --lib made_from -->\n\n";
        let root = chapter.schema.clone();
        chapter.page += &format!(
            "{} Times are texts such as `30s`, `5m`, `6h` or `90days`. ",
            text(&root)
        );
        chapter.page += "Editors complete and check it by the schema, `config.schema.json`; `dirsyncd init` writes it, and `config.example.toml` is all of it in one file.\n";
        chapter.table("", &root);
        chapter.page += "\n## What stands in one line\n";
        for (anchor, name) in [
            ("secret", "SecretFile"),
            ("limit", "LimitFile"),
            ("confirmation", "ConfirmationTable"),
            ("job", "JobTableFile"),
        ] {
            let table = chapter.schema["$defs"][name].clone();
            chapter.page += &format!("\n### A {anchor}\n\n{}\n\n", text(&table));
            let keys: Vec<&String> = table["properties"].as_object().unwrap().keys().collect();
            for key in keys {
                chapter.key(&table, key);
            }
        }
        chapter.mapping();
        chapter
    }

    fn resolve(&self, schema: &Value) -> Value {
        match schema["$ref"].as_str() {
            Some(name) => self.schema.pointer(&name[1..]).unwrap().clone(),
            None => schema.clone(),
        }
    }

    /// The keys of a table, and then the tables in it.
    fn table(&mut self, path: &str, schema: &Value) {
        let properties = schema["properties"].as_object().unwrap();
        let order = self.example.get(path).cloned().unwrap_or_default();
        let place = |key: &str| {
            order
                .iter()
                .position(|one| one == key)
                .unwrap_or(usize::MAX)
        };
        let (mut keys, mut tables) = (Vec::new(), Vec::new());
        for (key, property) in properties {
            let is_list = property["type"] == "array";
            let below = self.resolve(if is_list {
                &property["items"]
            } else {
                property
            });
            let inside = match path {
                "" => key.clone(),
                path => format!("{path}.{key}"),
            };
            let is_table = below["properties"].is_object() && !is_inline(property);
            if is_table && !NOT_SHOWN[..1].contains(&inside.as_str()) {
                tables.push((inside, is_list, property.clone(), below));
            } else {
                keys.push(key.clone());
            }
        }
        keys.sort_by_key(|key| place(key));
        self.tables.push((path.to_owned(), keys.clone()));
        if !keys.is_empty() {
            self.page.push('\n');
        }
        for key in &keys {
            self.key(schema, key);
        }
        // In the order in which they stand in the example.
        let at = |name: &str| EXAMPLE.find(&format!("[{name}]")).unwrap_or(usize::MAX);
        tables.sort_by_key(|(name, ..)| at(name));
        for (name, is_list, property, below) in tables {
            let (open, close) = if is_list { ("[[", "]]") } else { ("[", "]") };
            let about = match (
                property["description"].as_str(),
                below["description"].as_str(),
            ) {
                (Some(one), Some(other)) if plain(one).len() < plain(other).len() => plain(other),
                (Some(one), _) => plain(one),
                (None, _) => text(&below),
            };
            self.page += &format!("\n## `{open}{name}{close}`\n\n{about}\n");
            self.table(&name, &below);
        }
    }

    fn key(&mut self, table: &Value, key: &str) {
        let property = &table["properties"][key];
        assert!(!text(property).is_empty(), "`{key}` has no docstring");
        let required = table["required"].as_array();
        let is_required = required.is_some_and(|list| list.iter().any(|one| one == key));
        let needed = if is_required { ", required" } else { "" };
        let line = format!(
            "- **`{key}`** ({}{needed}): {}\n",
            self.kind(property),
            text(property)
        );
        self.page += &line;
    }

    /// What a value is, in words.
    fn kind(&self, schema: &Value) -> String {
        for (name, words) in [
            ("SecretFile", "a [secret](#a-secret)"),
            ("LimitsFile", "a [limit](#a-limit) or a list of them"),
            ("LimitFile", "a [limit](#a-limit)"),
            (
                "ConfirmationFile",
                "time, or a [confirmation](#a-confirmation)",
            ),
            ("JobFile", "cron, or a [job](#a-job)"),
            ("TimeOrNeverFile", "time or false"),
            ("PathOrNoneFile", "path or false"),
            ("AdoptFile", "true, false or `\"unowned\"`"),
            ("PolicyFile", "table"),
        ] {
            if schema["$ref"] == format!("#/$defs/{name}") {
                return words.to_owned();
            }
        }
        let schema = self.resolve(schema);
        if let Some(choices) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
            let mut kinds: Vec<String> = choices.iter().map(|choice| self.kind(choice)).collect();
            kinds.dedup();
            return kinds.join(" or ");
        }
        match (&schema["const"], &schema["enum"], schema["type"].as_str()) {
            (Value::String(text), ..) => format!("`\"{text}\"`"),
            (_, Value::Array(texts), _) => {
                let texts: Vec<String> = texts.iter().map(|text| format!("`{text}`")).collect();
                texts.join(" or ")
            }
            (.., Some("string")) => "text".to_owned(),
            (.., Some("boolean")) => "true or false".to_owned(),
            (.., Some("integer" | "number")) => "number".to_owned(),
            (.., Some("array")) => match self.kind(&schema["items"]).as_str() {
                "text" => "list of texts".to_owned(),
                items if items.starts_with('`') => {
                    format!("list of {}", items.replace(" or ", ", "))
                }
                items => format!("list, each {items}"),
            },
            (.., Some("object")) => "table".to_owned(),
            _ => panic!("there are no words for {schema}"),
        }
    }

    /// What a mapping may say, from the example, and the presets.
    fn mapping(&mut self) {
        let names: Vec<String> = MappingTarget::names()
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        self.page += &format!(
            "\n## `[source.mapping]`\n\nIts keys are {}.\n\n```text\n",
            names.join(", ")
        );
        let (_, about) = EXAMPLE
            .split_once("\n# What the account is made from")
            .unwrap();
        let (about, _) = about.split_once("\n[source.mapping]").unwrap();
        for line in format!("# What the account is made from{about}").lines() {
            self.page += &format!(
                "{}\n",
                line.trim_start_matches('#')
                    .strip_prefix(' ')
                    .unwrap_or_default()
            );
        }
        self.page += "```\n\n### What the presets bring\n";
        for (name, text) in Preset::ALL {
            self.page += &format!(
                "\n`{name}`, as `dirsyncd map --preset {name}` prints it:\n\n```toml preset\n{}\n```\n",
                text.trim_end()
            );
        }
    }
}

/// Whether it always stands in one line.
fn is_inline(schema: &Value) -> bool {
    let inline = ["SecretFile", "LimitFile"].map(|name| json!(format!("#/$defs/{name}")));
    inline.contains(&schema["$ref"])
}

fn text(schema: &Value) -> String {
    plain(schema["description"].as_str().unwrap_or_default())
}

fn plain(description: &str) -> String {
    description.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_chapter_of_the_configuration_is_made_from_the_types() {
    let chapter = Chapter::made();
    expect_made("docs/src/reference/configuration.md", &chapter.page);
    let schema = serde_json::to_string_pretty(&chapter.schema).unwrap();
    expect_made("docs/config.schema.json", &(schema + "\n"));
}

#[test]
fn the_example_has_every_key_and_no_other() {
    let chapter = Chapter::made();
    let mut example = chapter.example.clone();
    for (table, mut keys) in chapter.tables {
        let mut shown = example.remove(&table).unwrap_or_default();
        if NOT_SHOWN.contains(&table.as_str()) {
            // What every channel has is shown once.
            keys.retain(|key| shown.contains(key));
        }
        if table == "source" {
            keys.retain(|key| key != "mapping" && key != "policy");
            // Of the source that is a file.
            shown.retain(|key| key != "mapping");
        }
        keys.sort();
        shown.sort();
        assert_eq!(keys, shown, "[{table}]");
    }
    let mapping = example.remove("source.mapping").unwrap();
    let unknown: Vec<_> = mapping
        .iter()
        .filter(|key| MappingTarget::parse(key).is_none())
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(example.is_empty(), "these tables are unknown: {example:?}");
}

/// As editors compare it with a schema: a time is a text.
fn in_json(value: &toml::Value) -> Value {
    match value {
        toml::Value::Datetime(time) => json!(time.to_string()),
        toml::Value::Array(list) => list.iter().map(in_json).collect(),
        toml::Value::Table(table) => table
            .iter()
            .map(|(key, value)| (key.clone(), in_json(value)))
            .collect(),
        other => serde_json::to_value(other).unwrap(),
    }
}

#[test]
fn the_schema_takes_what_the_program_takes() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    let takes = |text: &str| {
        let table: toml::Table = text.parse().unwrap();
        let by_schema = schema.is_valid(&in_json(&toml::Value::Table(table)));
        let by_program = Config::parse("config.toml".as_ref(), text).is_ok();
        (by_schema, by_program)
    };
    assert_eq!(takes(EXAMPLE), (true, true));
    for (written, other) in [
        ("preset = \"openldap\"", "preset = 7"),
        ("[log]", "[lgo]"),
        ("[log]", "[log]\nformat = \"xml\""),
        ("[log]", "[log]\nlvel = \"info\""),
        ("[source.mapping]", "[source.mapping]\ntitel = \"title\""),
        (
            "[source.mapping]",
            "[source.mapping]\ntitle = { attr = \"title\" }",
        ),
        ("[guards]", "[guards]\ncreate = { alway = 5 }"),
        ("[policy]", "[policy]\non_leave = \"delete\""),
        (
            "scim_key = { credential = \"scim-key\" }",
            "scim_key = \"secret\"",
        ),
        ("sync = \"*/15 * * * *\"", "sync = 15"),
        ("[policy]", "[policy]\nadopt = \"owned\""),
        ("[policy]", "[policy]\ndelete_after = true"),
        ("[policy]", "[policy]\ndelete_after = \"90\""),
        ("[policy]", "[policy]\ndelete_after = \"90 dayz\""),
        ("[policy]", "[policy]\ndeactivate_after = \"soon\""),
        ("[policy]", "[policy]\ndeactivate_after = { time = \"6\" }"),
        ("[policy]", "[policy]\ndeactivate_after = { pulls = 0 }"),
        ("[journal]", "[journal]\nkeep = true"),
        ("[journal]", "[journal]\nkeep = \"forever\""),
        ("[daemon]", "[daemon]\nsocket = true"),
    ] {
        let edited = EXAMPLE.replacen(&format!("\n{written}\n"), &format!("\n{other}\n"), 1);
        assert_ne!(edited, EXAMPLE, "{written}");
        assert_eq!(takes(&edited), (false, false), "{other}");
    }
    for (written, other) in [
        (
            "[source.mapping]",
            "[source.mapping]\ntitle = [\"title\", \"cn\"]\nactive = { value = true }\nnickName = false",
        ),
        (
            "[guards]",
            "[guards]\ncreate = []\nupdate = { always = 5, percent = 1.5, per = \"ou\" }",
        ),
        (
            "[guards]",
            "[guards]\n[[guards.freeze]]\nfrom = 2026-12-24T12:00:00\nto = 2027-01-02T00:00:00\nwhat = [\"delete\"]",
        ),
        (
            "sync = \"*/15 * * * *\"",
            "sync = { cron = \"0 3 * * *\", jitter = \"5m\" }",
        ),
        (
            "[policy]",
            "[policy]\nmatch = [\"email\", [\"givenName\", \"familyName\"]]\ndeactivate_after = \"6h\"\nadopt = \"unowned\"",
        ),
        ("[daemon]", "[daemon]\nsocket = false"),
        ("[daemon]", "[daemon]\nsocket = \"run/d.sock\""),
        ("[policy]", "[policy]\nadopt = false\ndelete_after = false"),
        (
            "[policy]",
            "[policy]\ndeactivate_after = { pulls = 2, time = \"0\" }",
        ),
        ("[journal]", "[journal]\nkeep = false"),
        (
            "[journal]",
            "[journal]\nkeep = \"1year 1.5 months 2 wks 3d4hours\"",
        ),
    ] {
        let edited = EXAMPLE.replacen(&format!("\n{written}\n"), &format!("\n{other}\n"), 1);
        assert_ne!(edited, EXAMPLE, "{written}");
        assert_eq!(takes(&edited), (true, true), "{other}");
    }
}
