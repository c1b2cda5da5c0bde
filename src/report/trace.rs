//! What the mapping makes of an entry, step by step, as text and as JSON.

use serde_json::{Map, Value, json};

use super::text::line;
use crate::config::MappingTarget;
use crate::directory::Check;
use crate::mapping::{Made, NotMapped, Problem, Reading, Step, Trace, Verdict};
use crate::model::SourceName;

/// An entry before a source.
#[derive(Debug)]
pub struct Traced {
    /// The entry.
    pub dn: String,
    /// The source.
    pub source: SourceName,
    /// What the search of the source has to say about it.
    pub checks: Vec<Check>,
    /// How it is mapped.
    pub trace: Trace,
}

impl Traced {
    /// Whether an account comes of it.
    pub fn is_mapped(&self) -> bool {
        self.trace.result.is_ok() && self.refusal().is_none()
    }

    /// The first check that it does not pass.
    fn refusal(&self) -> Option<&Check> {
        self.checks.iter().find(|check| check.passes == Some(false))
    }

    /// What becomes of it, in a sentence.
    fn outcome(&self) -> String {
        if let Some(check) = self.refusal() {
            return format!(
                "none of this source's people: {} ({})",
                in_words(check.name),
                check.why
            );
        }
        match &self.trace.result {
            Ok(account) if account.active => {
                format!("an active account, {}", account.profile.label())
            }
            Ok(account) => format!(
                "disabled: no new account, and an active one is deactivated, {}",
                account.profile.label()
            ),
            Err(NotMapped::Excluded(excluded)) => {
                format!("none of this source's people: {}", excluded.why)
            }
            Err(NotMapped::Unmapped(unmapped)) if is_skipped(&unmapped.problem) => {
                format!("skipped: {}", unmapped.problem)
            }
            Err(NotMapped::Unmapped(unmapped)) => {
                format!(
                    "refused, and unknown rather than gone: {}",
                    unmapped.problem
                )
            }
        }
    }
}

/// Whether the configuration says that such people are simply skipped.
fn is_skipped(problem: &Problem) -> bool {
    matches!(problem, Problem::Missing { skip: true, .. })
}

fn in_words(check: &str) -> &'static str {
    match check {
        "base" => "the search does not reach it",
        "filter" => "the filter does not find it",
        "members_of" => "no group selects it",
        _ => "a group excludes it",
    }
}

/// For people: one entry, on one screen.
pub fn trace_text(traced: &Traced) -> String {
    let mut out = String::new();
    line(&mut out, &traced.dn);
    row(&mut out, "source", traced.source.as_str());
    for check in &traced.checks {
        let verdict = verdict(check.name, check.passes);
        row(&mut out, check.name, &format!("{verdict:<4} {}", check.why));
    }
    for judged in &traced.trace.judged {
        let (passes, why) = match &judged.verdict {
            Verdict::Passed => (Some(true), String::new()),
            Verdict::Excluded => (Some(false), String::new()),
            Verdict::Unknown(problem) => (None, format!("  ! {problem}")),
        };
        let verdict = verdict(judged.name, passes);
        let written = one_line(&judged.written);
        row(
            &mut out,
            judged.name,
            &format!("{verdict:<4} {written}{why}"),
        );
        read_rows(&mut out, &judged.read);
    }
    if let Some(key) = &traced.trace.key {
        let key = match key {
            Ok(key) => key.to_string(),
            Err(problem) => format!("! {problem}"),
        };
        row(
            &mut out,
            "key",
            &format!("{key}  ← {}", traced.trace.key_attribute),
        );
    }
    for step in &traced.trace.steps {
        let made = match &step.made {
            Made::Text(text) => format!("{text}{}", limit(step, text)),
            Made::Nothing => "–".to_owned(),
            Made::Truth(truth) => truth.to_string(),
            Made::Problem(problem) => format!("! {problem}"),
        };
        let whose = if step.is_own { "" } else { " (preset)" };
        let written = one_line(&step.written);
        row(
            &mut out,
            &step.target.to_string(),
            &format!("{made}  ← {written}{whose}"),
        );
        if !is_told_already(step) {
            read_rows(&mut out, &step.read);
        }
    }
    line(&mut out, &format!("→ {}", traced.outcome()));
    out
}

/// Whether a check is fulfilled, in capitals where that keeps the entry out. One that excludes is
/// passed by who does not fulfil it.
fn verdict(name: &str, passes: Option<bool>) -> &'static str {
    match (name.starts_with("exclude"), passes) {
        (_, None) => "?",
        (false, Some(true)) => "yes",
        (false, Some(false)) => "NO",
        (true, Some(true)) => "no",
        (true, Some(false)) => "YES",
    }
}

/// How much of the room for a value it takes.
fn limit(step: &Step, text: &str) -> String {
    match step.target {
        MappingTarget::Attribute(attribute) => {
            format!(" [{}/{}]", text.chars().count(), attribute.max_chars())
        }
        MappingTarget::Active => String::new(),
    }
}

/// Whether the value says all that was read: it is that of the only attribute.
fn is_told_already(step: &Step) -> bool {
    match (&step.made, step.read.as_slice()) {
        (Made::Nothing, read) => read
            .iter()
            .all(|reading| reading.values.as_ref().is_ok_and(Vec::is_empty)),
        (Made::Text(text), [reading]) => {
            matches!(reading.values.as_deref(), Ok([value]) if value == text)
        }
        _ => false,
    }
}

fn row(out: &mut String, name: &str, what: &str) {
    line(out, &format!("  {name:<18} {what}"));
}

fn read_rows(out: &mut String, read: &[Reading]) {
    for reading in read {
        let values = match &reading.values {
            Ok(values) if values.is_empty() => "–".to_owned(),
            Ok(values) => {
                let shown: Vec<String> = values.iter().take(5).map(|one| short(one)).collect();
                let more = match values.len().saturating_sub(shown.len()) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                shown.join(" | ") + &more
            }
            Err(problem) => format!("! {problem}"),
        };
        row(out, "", &format!("  {}: {values}", reading.attribute));
    }
}

fn short(value: &str) -> String {
    const LONGEST: usize = 60;
    match value.char_indices().nth(LONGEST) {
        None => value.to_owned(),
        Some((at, _)) => format!("{}…", &value[..at]),
    }
}

/// What may be written over several lines in one.
fn one_line(written: &str) -> String {
    written.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// For programs. `version` changes when a field changes its meaning or goes.
pub fn trace_json(traced: &[Traced]) -> Value {
    let entries: Vec<Value> = traced.iter().map(entry).collect();
    json!({ "version": 1, "entries": entries })
}

fn entry(traced: &Traced) -> Value {
    let trace = &traced.trace;
    let checks = traced
        .checks
        .iter()
        .map(|check| json!({ "name": check.name, "passes": check.passes, "why": check.why }));
    let judged = trace.judged.iter().map(|judged| {
        let (passes, problem) = match &judged.verdict {
            Verdict::Passed => (Some(true), None),
            Verdict::Excluded => (Some(false), None),
            Verdict::Unknown(problem) => (None, Some(problem.to_string())),
        };
        json!({
            "name": judged.name,
            "passes": passes,
            "why": judged.written,
            "problem": problem,
            "read": read(&judged.read),
        })
    });
    let key = trace.key.as_ref().map(|key| {
        json!({
            "attribute": trace.key_attribute,
            "value": key.as_ref().ok(),
            "problem": key.as_ref().err().map(ToString::to_string),
        })
    });
    let account = match &trace.result {
        Ok(account) if traced.is_mapped() => json!(account),
        _ => Value::Null,
    };
    json!({
        "dn": traced.dn,
        "source": traced.source,
        "checks": checks.chain(judged).collect::<Vec<_>>(),
        "key": key,
        "rules": trace.steps.iter().map(rule).collect::<Vec<_>>(),
        "account": account,
        "outcome": match &trace.result {
            _ if traced.is_mapped() => "mapped",
            Err(NotMapped::Unmapped(unmapped)) if traced.refusal().is_none() => {
                match is_skipped(&unmapped.problem) {
                    true => "skipped",
                    false => "refused",
                }
            }
            _ => "excluded",
        },
        "message": traced.outcome(),
    })
}

fn rule(step: &Step) -> Value {
    let (value, problem) = match &step.made {
        Made::Text(text) => (json!(text), None),
        Made::Nothing => (Value::Null, None),
        Made::Truth(truth) => (json!(truth), None),
        Made::Problem(problem) => (Value::Null, Some(problem.to_string())),
    };
    let longest = match step.target {
        MappingTarget::Attribute(attribute) => Some(attribute.max_chars()),
        MappingTarget::Active => None,
    };
    json!({
        "target": step.target.to_string(),
        "rule": step.written,
        "preset": !step.is_own,
        "required": step.is_required,
        "read": read(&step.read),
        "value": value,
        "problem": problem,
        "max_characters": longest,
    })
}

fn read(readings: &[Reading]) -> Map<String, Value> {
    let values = |reading: &Reading| match &reading.values {
        Ok(values) => json!(values),
        Err(problem) => json!({ "problem": problem.to_string() }),
    };
    readings
        .iter()
        .map(|reading| (reading.attribute.clone(), values(reading)))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::mapping::{Judged, Unmapped};
    use crate::model::Attribute;

    fn reading(attribute: &str, values: &[&str]) -> Reading {
        Reading {
            attribute: attribute.to_owned(),
            values: Ok(values.iter().map(|value| (*value).to_owned()).collect()),
        }
    }

    /// An entry of which little can be said.
    fn odd() -> Traced {
        let failed = |target: &str| Problem::Expression {
            target: target.to_owned(),
            why: "it does".to_owned(),
        };
        let step = |target, written: &str, read, made| Step {
            target: MappingTarget::Attribute(target),
            written: written.to_owned(),
            is_own: true,
            is_required: false,
            read,
            made,
        };
        let many: Vec<String> = (0..7).map(|n| format!("ou{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let long = "x".repeat(61);
        Traced {
            dn: "uid=a\u{7},dc=x".to_owned(),
            source: SourceName::new("staff"),
            checks: vec![Check {
                name: "filter",
                passes: None,
                why: "only a server can apply (a:1.2.3:=b)".to_owned(),
            }],
            trace: Trace {
                judged: vec![Judged {
                    name: "exclude",
                    written: "int(attr(\"n\"))\n  > 5".to_owned(),
                    read: vec![reading("n", &[])],
                    verdict: Verdict::Unknown(failed("exclude")),
                }],
                key_attribute: "entryUUID".to_owned(),
                key: Some(Err(Problem::NoKey {
                    attribute: "entryUUID".to_owned(),
                })),
                steps: vec![
                    step(
                        Attribute::Department,
                        "{ expr = '…' }",
                        vec![reading("ou", &many), reading("o", &[&long])],
                        Made::Problem(failed("department")),
                    ),
                    step(
                        Attribute::Title,
                        "\"title\"",
                        vec![reading("title", &[])],
                        Made::Nothing,
                    ),
                ],
                result: Err(NotMapped::Unmapped(Box::new(Unmapped {
                    source: SourceName::new("staff"),
                    dn: "uid=a,dc=x".to_owned(),
                    key: None,
                    problem: failed("exclude"),
                }))),
            },
        }
    }

    #[test]
    fn what_cannot_be_said_is_told_with_its_reason_and_on_few_lines() {
        insta::assert_snapshot!(trace_text(&odd()));
    }

    #[test]
    fn json_tells_what_cannot_be_said_too() {
        insta::assert_json_snapshot!(trace_json(&[odd()]));
    }

    #[test]
    fn who_lacks_an_address_may_be_skipped() {
        let mut traced = odd();
        if let Err(NotMapped::Unmapped(unmapped)) = &mut traced.trace.result {
            unmapped.problem = Problem::Missing {
                target: Attribute::Email,
                from: "`mail`".to_owned(),
                skip: true,
            };
        }
        assert_eq!(trace_json(&[traced])["entries"][0]["outcome"], "skipped");
    }

    #[test]
    fn a_check_that_is_not_passed_goes_before_what_the_mapping_says() {
        let mut traced = odd();
        assert_eq!(trace_json(&[odd()])["entries"][0]["outcome"], "refused");
        traced.checks[0].passes = Some(false);
        assert!(!traced.is_mapped());
        let json = trace_json(&[traced]);
        assert_eq!(json["entries"][0]["outcome"], "excluded");
        let message = json["entries"][0]["message"].as_str().unwrap();
        assert!(message.contains("the filter does not find it"), "{message}");
    }
}
