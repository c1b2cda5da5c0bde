//! What is known of one person, on one screen.

use serde_json::{Value, json};

use super::holds::{age, minute};
use super::text::line;
use crate::explain::{Account, Explanation, Held, Origin, Scope, Step, Values};
use crate::model::{Change, Timestamp};
use crate::plan::{Due, Outlook};
use crate::snapshot::{Candidate, GivenApproval, GivenRetry, LastPull, RecordedRun};

/// Where what stands beside a heading begins.
const INDENT: usize = 12;

/// The longest value that is shown in full, in characters.
const LONGEST: usize = 80;

/// For people, in lines of so many columns.
pub fn explanation(explanation: &Explanation, width: usize) -> String {
    let mut out = Sheet {
        text: String::new(),
        width,
    };
    out.paragraph("", "", &explanation.name);
    for (heading, text) in explanation_rows(explanation) {
        let first = format!("{heading:<INDENT$}");
        out.paragraph(&first, &" ".repeat(INDENT), &text);
    }
    out.text
}

/// The same, each with the heading that it stands beside; what belongs to the one before has none.
pub fn explanation_rows(explanation: &Explanation) -> Vec<(&'static str, String)> {
    let mut out = Rows(Vec::new());
    let Explanation {
        at,
        name: _,
        key,
        dn,
        origin,
        said,
        attributes,
        wanted_by,
        account,
        matched,
        outlook,
        holds,
        approvals,
        failing,
        retries,
        reading,
        later_run,
        verdicts,
        changes,
        more_changes,
    } = explanation;
    out.row("entry", dn);
    let key = key
        .as_ref()
        .map_or("none that is usable", |key| key.as_str());
    out.row("key", key);
    match origin {
        None => out.row("source", "not known"),
        Some(origin) => source(&mut out, origin, *at),
    }
    let told = reading.as_ref().map_or(String::new(), |reading| {
        format!(" (by run {} at {})", reading.run, minute(reading.at))
    });
    out.row("said", &format!("{said}{told}"));
    values(&mut out, attributes, wanted_by.as_deref());
    match_rows(&mut out, account.as_ref(), matched);
    state(&mut out, account.as_ref(), outlook, *at);
    for hold in holds {
        held(&mut out, hold, *at);
    }
    for approval in approvals {
        out.row("approved", &approved(approval));
    }
    // The last run may have told the same.
    let told = failing.as_ref().map(|failing| failing.to_string());
    if let Some(told) = told.filter(|told| !verdicts.iter().any(|one| one.ends_with(told))) {
        out.row("refused", &told);
    }
    for retry in retries {
        out.row("retried", &retried(retry));
    }
    match reading {
        None => out.row("last run", "none has read the sources yet"),
        Some(reading) => {
            out.row("last run", &run(reading));
            for verdict in verdicts {
                out.row("", verdict);
            }
        }
    }
    if let Some(later) = later_run {
        out.row("since then", &run(later));
    }
    for (nth, change) in changes.iter().enumerate() {
        out.row(if nth == 0 { "changes" } else { "" }, &changed(change));
    }
    if *more_changes > 0 {
        out.row("", &format!("… and {more_changes} older (`--limit`)"));
    }
    if changes.is_empty() && *more_changes == 0 {
        out.row("changes", "none in the journal");
    }
    out.0
}

/// For programs. `version` changes when a field changes its meaning or goes.
pub fn explanation_json(explanation: &Explanation) -> Value {
    json!({ "version": 1, "person": explanation })
}

/// People who may be meant, each in a line or two.
pub fn candidates(people: &[Candidate], width: usize) -> String {
    let mut out = Sheet {
        text: String::new(),
        width,
    };
    for one in people {
        let Candidate {
            name,
            key,
            dns,
            addresses,
            has_account,
        } = one;
        let addresses = match addresses.is_empty() {
            true => "no e-mail".to_owned(),
            false => addresses.join(", "),
        };
        let account = match has_account {
            true => "",
            false => ", no account",
        };
        out.paragraph("  ", "      ", &format!("{name} <{addresses}>{account}"));
        out.paragraph("      ", "      ", &dns.join("; formerly "));
        if let Some(key) = key {
            out.paragraph("      ", "      ", &format!("key {key}"));
        }
    }
    out.text
}

/// Text of a certain width.
struct Sheet {
    text: String,
    width: usize,
}

impl Sheet {
    /// A paragraph, with what its first line and the others begin with.
    fn paragraph(&mut self, first: &str, others: &str, text: &str) {
        // A key or a DN is to be copied, so that it is broken only where it is longer than a line.
        let options = textwrap::Options::new(self.width)
            .word_separator(textwrap::WordSeparator::AsciiSpace)
            .word_splitter(textwrap::WordSplitter::NoHyphenation)
            .initial_indent(first)
            .subsequent_indent(others);
        // A line break in a value would be one here.
        let text = text.replace(char::is_control, "\u{fffd}");
        for one in textwrap::wrap(&text, options) {
            line(&mut self.text, &one);
        }
    }
}

/// What stands beside which heading.
struct Rows(Vec<(&'static str, String)>);

impl Rows {
    fn row(&mut self, heading: &'static str, text: &str) {
        self.0.push((heading, text.to_owned()));
    }
}

fn source(out: &mut Rows, origin: &Origin, now: Timestamp) {
    let Origin {
        source,
        scope,
        pull,
    } = origin;
    let Some(scope) = scope else {
        out.row(
            "source",
            &format!("`{source}`, which is configured no more"),
        );
        return pulled(out, pull.as_ref(), now);
    };
    let Scope {
        base,
        reach,
        filter,
        rules,
    } = scope;
    let place = match base {
        Some(base) => format!("below {base} ({reach})"),
        None => "below none of its bases".to_owned(),
    };
    out.row("source", &format!("`{source}`, {place}, filter {filter}"));
    for (key, value) in rules {
        out.row("", &format!("{key}: {value}"));
    }
    pulled(out, pull.as_ref(), now);
}

fn pulled(out: &mut Rows, pull: Option<&LastPull>, now: Timestamp) {
    let Some(pull) = pull else {
        return out.row("", "never pulled");
    };
    let LastPull {
        run,
        at,
        entries,
        way,
        incomplete,
        full_at,
    } = pull;
    let way = match way.as_deref() {
        Some("changes") => match full_at {
            Some(full_at) => format!(", what changed (in full at {})", minute(*full_at)),
            None => ", what changed".to_owned(),
        },
        Some(_) => ", in full".to_owned(),
        None => String::new(),
    };
    let end = match (incomplete, pull.way.is_some()) {
        (Some(why), _) => format!("; incomplete: {why}"),
        (None, true) => "; complete".to_owned(),
        (None, false) => String::new(),
    };
    out.row(
        "",
        &format!(
            "last pulled by run {run} at {} ({}){way}, {entries} entries{end}",
            minute(*at),
            age(now, *at)
        ),
    );
}

/// What differs by itself, the rest in one paragraph.
fn values(out: &mut Rows, attributes: &[Values], wanted_by: Option<&str>) {
    let (differ, same): (Vec<&Values>, Vec<&Values>) =
        attributes.iter().partition(|values| values.differs);
    let same: Vec<String> = same
        .into_iter()
        .filter_map(|values| {
            let value = values.account.as_ref().or(values.wanted.as_ref())?;
            Some(format!("{} {}", values.attribute, short(value)))
        })
        .collect();
    let heading = "attributes";
    if !same.is_empty() {
        out.row(heading, &same.join(", "));
    }
    let is_wish = attributes.iter().all(|values| values.account.is_none());
    for values in &differ {
        let value = |value: &Option<String>| value.as_deref().map_or("(none)".to_owned(), short);
        out.row(
            if same.is_empty() && std::ptr::eq(*values, differ[0]) {
                heading
            } else {
                ""
            },
            &format!(
                "≠ {}: the account has {}, the directory wants {}",
                values.attribute,
                value(&values.account),
                value(&values.wanted)
            ),
        );
    }
    if let Some(by) = wanted_by.filter(|_| is_wish || !differ.is_empty()) {
        out.row("", &format!("what is wanted is told by {by}"));
    }
}

fn match_rows(out: &mut Rows, account: Option<&Account>, matched: &[Step]) {
    let Some(account) = account else {
        return out.row("account", "none");
    };
    let Account {
        scim_id,
        account_id,
        since: _,
        rekeyed,
    } = account;
    let id = account_id.as_deref().unwrap_or("not known yet");
    out.row("account", &format!("SCIM id {scim_id}, account id {id}"));
    for step in matched {
        let formerly = step.formerly.as_ref().map_or(String::new(), |key| {
            format!(", formerly under the key {key}")
        });
        out.row(
            "",
            &format!(
                "{} by run {} at {}: {}{formerly}",
                past(step),
                step.run,
                minute(step.at),
                step.reason
            ),
        );
    }
    if matched.is_empty() {
        out.row("", "how it was found is not in the journal");
    }
    if let Some(rekeyed) = rekeyed {
        out.row("", rekeyed);
    }
}

fn past(step: &Step) -> &'static str {
    use crate::model::Kind;
    match (step.formerly.is_some(), step.kind) {
        (true, _) => "rehired",
        (_, Kind::Create) => "created",
        (_, Kind::Adopt) => "adopted",
        (_, Kind::Update) => "updated",
        (_, Kind::Restore) => "restored",
        (_, Kind::Deactivate) => "deactivated",
        (_, Kind::Delete) => "deleted",
    }
}

fn state(out: &mut Rows, account: Option<&Account>, outlook: &Outlook, now: Timestamp) {
    let Outlook {
        state,
        now: follows,
        later,
        rules,
    } = outlook;
    let since = account.and_then(|account| account.since);
    let since = since.map_or(String::new(), |since| {
        format!(", since {} ({})", minute(since), age(now, since))
    });
    let follows = follows.map_or(String::new(), |follows| format!("; {follows}"));
    out.row("state", &format!("{state}{since}{follows}"));
    if let Some(Due { what, at, pulls }) = later {
        let time = (*at > now).then(|| format!("from {} on", minute(*at)));
        let confirmed = match pulls {
            0 => None,
            1 => Some("once 1 more complete pull has confirmed the absence".to_owned()),
            pulls => Some(format!(
                "once {pulls} more complete pulls have confirmed the absence"
            )),
        };
        let when: Vec<String> = time.into_iter().chain(confirmed).collect();
        out.row("", &format!("{}: {what}", when.join(", and ")));
    }
    for (nth, rule) in rules.iter().enumerate() {
        let from = match rule.from {
            "default" => "by default".to_owned(),
            table => format!("[{table}]"),
        };
        let heading = if nth == 0 { "policy" } else { "" };
        out.row(heading, &format!("{} = {} ({from})", rule.key, rule.value));
    }
}

fn held(out: &mut Rows, hold: &Held, now: Timestamp) {
    let Held {
        name,
        number,
        message,
        since,
        until,
        operations,
        command,
    } = hold;
    let end = if *until <= now { "expired" } else { "until" };
    out.row(
        "held",
        &format!(
            "by {name} #{number} since {}, {end} {}: {message}",
            minute(*since),
            minute(*until)
        ),
    );
    for operation in operations {
        let mark = if operation.is_approved {
            " [approved]"
        } else {
            ""
        };
        let changes = changes(&operation.changes);
        out.row(
            "",
            &format!("{}{mark}: {}{changes}", operation.kind, operation.reason),
        );
    }
    if let Some(command) = command {
        out.row("", &format!("→ {command}"));
    }
}

fn approved(approval: &GivenApproval) -> String {
    let GivenApproval {
        hold,
        kind,
        by,
        reason,
        at,
        until,
        result,
        run,
    } = approval;
    let run = run.map_or(String::new(), |run| format!(" by run {run}"));
    let result = match result.as_deref() {
        None => format!("counts until {}", minute(*until)),
        Some("let_through") => format!("let through{run}"),
        Some(_) => format!("void, as it was planned otherwise{run}"),
    };
    let at = minute(*at);
    format!("{kind} of `{hold}` by {by} at {at} ({reason}): {result}")
}

fn retried(retry: &GivenRetry) -> String {
    let GivenRetry {
        kind,
        count,
        by,
        reason,
        at,
    } = retry;
    let reason = reason
        .as_ref()
        .map_or(String::new(), |reason| format!(" ({reason})"));
    let times = match count {
        0 => "tries without a usable answer".to_owned(),
        1 => "1 failure".to_owned(),
        count => format!("{count} failures in a row"),
    };
    let at = minute(*at);
    format!("{kind} let go again by {by} at {at}{reason}, after {times}")
}

fn run(run: &RecordedRun) -> String {
    let RecordedRun {
        run,
        trigger,
        at,
        outcome,
        error,
    } = run;
    let outcome = outcome.as_deref().unwrap_or("not ended");
    let error = error
        .as_ref()
        .map_or(String::new(), |error| format!(": {error}"));
    format!("{run} ({trigger}) at {}, {outcome}{error}", minute(*at))
}

fn changed(step: &Step) -> String {
    let Step {
        at,
        run,
        kind,
        reason,
        formerly: _,
        state,
        changes: what,
        request_id,
        error,
    } = step;
    let request = request_id
        .as_ref()
        .map_or(String::new(), |id| format!(" [request {id}]"));
    let error = error
        .as_ref()
        .map_or(String::new(), |error| format!(": {error}"));
    let what = changes(what);
    format!(
        "{} run {run} {kind} {state}{error} ({reason}){what}{request}",
        minute(*at)
    )
}

/// What changes, after what is done.
fn changes(changes: &[Change]) -> String {
    let value = |value: &Option<String>| value.as_deref().map_or("(none)".to_owned(), short);
    let all: Vec<String> = changes
        .iter()
        .map(|change| match &change.old {
            None => format!("{} {}", change.attribute, value(&change.new)),
            Some(_) => format!(
                "{} {} → {}",
                change.attribute,
                value(&change.old),
                value(&change.new)
            ),
        })
        .collect();
    match all.is_empty() {
        true => String::new(),
        false => format!(" {}", all.join(", ")),
    }
}

fn short(value: &str) -> String {
    match value.char_indices().nth(LONGEST) {
        None => value.to_owned(),
        Some((at, _)) => format!("{}…", &value[..at]),
    }
}
