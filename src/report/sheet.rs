//! What a report shows of a plan, in its order: text, Markdown and HTML are forms of it.
//!
//! Nothing here is escaped or cut; that is for each form to do in its own way. Items are made when they are asked
//! for, so that a plan of a million operations is not in memory a second time.

use std::fmt::Write;
use std::time::Duration;

use super::groups;
use super::holds::minute;
use super::text::{number, several, summary_line};
use crate::apply::{Applied, EndedBy, Pending};
use crate::model::{Attribute, GroupMember, Kind, Operation, RunId};
use crate::plan::{Endpoint, Forecast, Notice, Noticed, Plan, Planned, Skipped, Undo};

/// A report before it has a form.
pub(super) struct Sheet<'p> {
    pub(super) title: String,
    /// What was read, and what is to be known of that.
    pub(super) opening: Vec<String>,
    pub(super) sections: Vec<Section<'p>>,
    /// What it takes to carry the plan out, and what is left.
    pub(super) closing: Vec<String>,
    /// The figures in one line.
    pub(super) summary: String,
    /// How many people need nothing.
    pub(super) unchanged: u64,
}

/// A part of a report.
pub(super) struct Section<'p> {
    /// What it is known by among the parts, in a word.
    pub(super) part: &'static str,
    pub(super) title: &'static str,
    /// How many items it has.
    pub(super) count: usize,
    /// Whether all of it is shown, whatever the limit.
    pub(super) is_whole: bool,
    pub(super) tone: Tone,
    item: Box<dyn Fn(usize) -> Item<'p> + 'p>,
}

/// How something is to be taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Somebody gets something.
    Good,
    /// Something changes.
    Plain,
    /// Something needs a look.
    Warning,
    /// Somebody loses something, or something is wrong.
    Bad,
}

/// Somebody or something of a section.
#[derive(Default)]
pub(super) struct Item<'p> {
    pub(super) sign: char,
    pub(super) name: String,
    /// What stands out of it, in a few words each.
    pub(super) marks: Vec<String>,
    /// What there is to say of it, if that is all there is.
    pub(super) brief: Option<String>,
    /// What there is to say of it, a line each.
    pub(super) facts: Vec<String>,
    /// The values of somebody new.
    pub(super) values: Vec<(&'p str, &'p str)>,
    pub(super) changes: Vec<Changed<'p>>,
    /// Who joins a group, and who leaves it.
    pub(super) joins: &'p [GroupMember],
    pub(super) leaves: &'p [GroupMember],
    /// What comes last.
    pub(super) foreseen: Option<String>,
}

/// A value before and after.
pub(super) struct Changed<'p> {
    pub(super) attribute: &'p str,
    pub(super) old: Option<&'p str>,
    pub(super) new: Option<&'p str>,
}

impl<'p> Section<'p> {
    pub(super) fn new(
        part: &'static str,
        title: &'static str,
        tone: Tone,
        count: usize,
        item: impl Fn(usize) -> Item<'p> + 'p,
    ) -> Self {
        Section {
            part,
            title,
            count,
            is_whole: false,
            tone,
            item: Box::new(item),
        }
    }

    /// The items that are shown, and how many are not.
    pub(super) fn items(&self, limit: Option<usize>) -> (impl Iterator<Item = Item<'p>>, usize) {
        let limit = limit.filter(|_| !self.is_whole);
        let shown = limit.unwrap_or(self.count).min(self.count);
        ((0..shown).map(&self.item), self.count - shown)
    }
}

impl<'p> Sheet<'p> {
    /// The report on a plan. `limit` is how many entries are named where several stand in one line.
    pub(super) fn of(plan: &'p Plan, limit: Option<usize>) -> Self {
        let mut sections: Vec<Section<'p>> = Kind::ALL
            .into_iter()
            .map(|kind| of_kind(plan, kind))
            .collect();
        if let Some(groups) = &plan.groups {
            sections.extend(groups::sections(plan, groups, limit));
        }
        sections.extend(of_the_rest(plan));
        sections.retain(|section| section.count > 0);
        let mut closing = forecast(&plan.forecast);
        closing.extend(budget(plan));
        closing.extend(pending(plan));
        Sheet {
            title: plan.reverts.map_or_else(
                || "Plan of a sync".to_owned(),
                |run| format!("Plan to undo run {run}"),
            ),
            opening: opening(plan),
            sections,
            closing,
            summary: summary_line(plan),
            unchanged: plan.unchanged,
        }
    }

    /// The report on a run: what was planned, what failed, and how it ended.
    pub(super) fn finished(
        run: RunId,
        plan: &'p Plan,
        applied: &'p Applied,
        limit: Option<usize>,
    ) -> Self {
        let mut sheet = Sheet::of(plan, limit);
        sheet.title = format!("Run {run}");
        sheet.sections.splice(0..0, failures(applied));
        sheet.closing.extend(ending(plan, applied));
        sheet
    }
}

/// What failed.
pub(super) fn failures(applied: &Applied) -> Vec<Section<'_>> {
    let failed = &applied.failed;
    let people = Section::new("failed", "Failed", Tone::Bad, failed.len(), |at| {
        let (operation, error) = &failed[at];
        Item {
            sign: '!',
            name: format!(
                "{} {} ({})",
                operation.kind,
                operation.label(),
                operation.dn
            ),
            facts: vec![error.to_string()],
            ..Item::default()
        }
    });
    let mut sections = vec![people, groups::failures(&applied.groups)];
    sections.retain(|section| section.count > 0);
    sections
}

fn opening(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(run) = plan.reverts {
        lines.push(format!("Undoes what run {run} did."));
    }
    let entries: Vec<String> = plan
        .pulls
        .iter()
        .map(|(source, figures)| match figures.changed {
            None => format!("{} from `{source}`", people(figures.entries)),
            Some(changed) => format!(
                "what changed ({}) of {} from `{source}`",
                number(changed),
                people(figures.entries)
            ),
        })
        .collect();
    // A saved plan is carried out without reading.
    if !entries.is_empty() {
        lines.push(format!("Read {}.", entries.join(", ")));
    }
    let notices = plan.notices.iter();
    lines.extend(notices.map(|notice| format!("Source `{}`: {}.", notice.source, notice.what)));
    lines
}

fn of_kind(plan: &Plan, kind: Kind) -> Section<'_> {
    let planned: Vec<(usize, &Planned)> = plan
        .operations
        .iter()
        .enumerate()
        .filter(|(_, planned)| planned.operation.kind == kind)
        .collect();
    let (title, tone) = match kind {
        Kind::Create => ("Create", Tone::Good),
        Kind::Adopt => (
            "Adopt: take over accounts that the organization has",
            Tone::Plain,
        ),
        Kind::Update => ("Update", Tone::Plain),
        Kind::Restore => ("Restore", Tone::Good),
        Kind::Deactivate => ("Deactivate", Tone::Warning),
        Kind::Delete => ("Delete for good", Tone::Bad),
    };
    Section::new(kind.name(), title, tone, planned.len(), move |nth| {
        let (at, planned) = planned[nth];
        operation(plan, planned, plan.carried_over.accounts.contains(&at))
    })
}

/// Those for whom nothing is done.
fn of_the_rest(plan: &Plan) -> [Section<'_>; 4] {
    let holds = Section::new(
        "held",
        "Held by a guard",
        Tone::Warning,
        plan.holds.len(),
        |at| {
            let hold = &plan.holds[at];
            let opened = hold.opened.map_or(String::new(), |opened| {
                format!(
                    " #{}, open until {}",
                    opened.number,
                    opened.until.format("%Y-%m-%d %H:%M UTC")
                )
            });
            Item {
                sign: '!',
                name: format!("{}{opened}", hold.name),
                facts: vec![hold.to_string()],
                ..Item::default()
            }
        },
    );
    [
        Section {
            is_whole: true,
            ..holds
        },
        Section::new(
            "suspended",
            "Absences that are not believed",
            Tone::Warning,
            plan.suspensions.len(),
            |at| {
                let suspension = &plan.suspensions[at];
                Item {
                    sign: '!',
                    name: format!(
                        "{} not seen, and not touched: source `{}`",
                        people(suspension.absent),
                        suspension.source
                    ),
                    brief: Some(suspension.why.to_string()),
                    ..Item::default()
                }
            },
        ),
        Section::new(
            "refused",
            "Refused: correct these",
            Tone::Bad,
            plan.refusals.len(),
            |at| Item {
                sign: '!',
                name: plan.refusals[at].dn.clone(),
                facts: vec![plan.refusals[at].why.to_string()],
                ..Item::default()
            },
        ),
        Section::new(
            "skipped",
            "Skipped",
            Tone::Plain,
            plan.skipped.len(),
            |at| Item {
                sign: '.',
                name: plan.skipped[at].dn.clone(),
                brief: Some(plan.skipped[at].why.to_string()),
                ..Item::default()
            },
        ),
    ]
}

fn operation<'p>(plan: &'p Plan, planned: &'p Planned, is_left: bool) -> Item<'p> {
    let operation = &planned.operation;
    let mut item = Item {
        sign: match operation.kind {
            Kind::Create => '+',
            Kind::Adopt => '=',
            Kind::Update => '~',
            Kind::Restore => '^',
            Kind::Deactivate => '-',
            Kind::Delete => 'x',
        },
        name: format!(
            "{} <{}>",
            operation.label(),
            email(operation).unwrap_or("no e-mail")
        ),
        facts: vec![operation.dn.clone(), operation.reason.to_string()],
        foreseen: plan
            .forecast
            .foreseen
            .get(&operation.key)
            .map(ToString::to_string),
        ..Item::default()
    };
    item.marks.extend(held(plan, planned));
    item.marks.extend(left(is_left));
    item.marks.extend(undo(&planned.undo));
    if operation.kind == Kind::Create {
        let values = operation.after.iter();
        let is_told = |attribute: Attribute| {
            !attribute.is_local() && !matches!(attribute, Attribute::DisplayName | Attribute::Email)
        };
        item.values = values
            .filter(|(attribute, _)| is_told(*attribute))
            .map(|(attribute, value)| (attribute.name(), value))
            .collect();
        return item;
    }
    if operation.cancel_delete {
        item.facts
            .push("the requested deletion is cancelled".to_owned());
    }
    let changes = operation.changes.iter();
    item.changes = changes
        .map(|change| Changed {
            attribute: &change.attribute,
            old: change.old.as_deref(),
            new: change.new.as_deref(),
        })
        .collect();
    item
}

/// What stands beside an operation that is held or approved.
fn held(plan: &Plan, planned: &Planned) -> Option<String> {
    let names = |holds: &[usize]| hold_names(plan, holds);
    match planned {
        Planned { holds, .. } if !holds.is_empty() => Some(format!("held: {}", names(holds))),
        Planned { waits, .. } if !waits.is_empty() => {
            Some(format!("held: waits for what is held by {}", names(waits)))
        }
        planned => planned.is_approved().then(|| "approved".to_owned()),
    }
}

/// The names of the holds with these indices.
pub(super) fn hold_names(plan: &Plan, holds: &[usize]) -> String {
    let holds = holds.iter().filter_map(|at| plan.holds.get(*at));
    let names: Vec<&str> = holds.map(|hold| hold.name.as_str()).collect();
    names.join(", ")
}

/// What stands beside an operation that `dirsyncd revert` could not put back wholly.
pub(super) fn undo(undo: &Undo) -> Option<String> {
    match undo {
        Undo::Full => None,
        Undo::InPart(_) => Some("undo in part".to_owned()),
        Undo::Until(until) => Some(format!("undo until {}", until.format("%Y-%m-%d"))),
        Undo::Never(_) => Some("no undo".to_owned()),
    }
}

/// What stands beside an operation that is left for the next run.
pub(super) fn left(is_left: bool) -> Option<String> {
    is_left.then(|| "left for the next run".to_owned())
}

/// The address by which an account is known before an operation, or after it where it has none yet.
pub(super) fn email(operation: &Operation) -> Option<&str> {
    [&operation.before, &operation.after]
        .into_iter()
        .find_map(|profile| profile.get(Attribute::Email))
}

/// What carrying the plan out takes, and what was not foreseen.
fn forecast(forecast: &Forecast) -> Vec<String> {
    let Forecast {
        foreseen: _,
        unseen_rights,
        unseen_addresses,
        calls,
        estimate,
        deadline: _,
    } = forecast;
    let mut lines = Vec::new();
    if let Some(calls) = calls.as_ref().filter(|calls| calls.total() > 0) {
        let each: Vec<String> = calls
            .iter()
            .map(|call| {
                let Endpoint { method, path, .. } = call.endpoint;
                format!("{} {method} {path}", number(call.count))
            })
            .collect();
        let time = match estimate {
            None => String::new(),
            Some(estimate) => format!(
                ", in at least {} by {}",
                humantime::format_duration(Duration::from_secs(estimate.time.as_secs().max(1))),
                estimate.by
            ),
        };
        lines.push(format!(
            "Requests to carry it out: {}{time}: {}.",
            number(calls.total()),
            each.join(", ")
        ));
    }
    for (count, what) in [
        (*unseen_rights, "the rights over accounts"),
        (
            *unseen_addresses,
            "who holds new addresses in the organization",
        ),
    ] {
        if count > 0 {
            lines.push(format!(
                "Not looked at beforehand (`forecast_accounts`, `admin_key`): {what}, {}.",
                number(count)
            ));
        }
    }
    lines
}

/// What does not fit the budget.
fn budget(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    let left = plan.carried_over_by_kind();
    if let (Some(max_calls), false) = (plan.carried_over.max_calls, left.is_empty()) {
        let left = left.into_iter().map(|(kind, count)| (kind, count as usize));
        lines.push(format!(
            "Left for {}, as `max_calls = {max_calls}` in [apply] lets no more go: {}.",
            next(plan),
            by_kind(left)
        ));
    }
    let Forecast {
        estimate, deadline, ..
    } = &plan.forecast;
    let late = estimate.zip(deadline.and_then(|deadline| deadline.to_std().ok()));
    if let Some((_, deadline)) = late.filter(|(estimate, deadline)| estimate.time > *deadline) {
        lines.push(format!(
            "That takes longer than the `deadline` of {} in [apply]: the last of it will be left for {}.",
            humantime::format_duration(deadline),
            next(plan)
        ));
    }
    lines
}

/// What somebody has to look at, by which a run ends with another exit code, and where it is shown.
pub(super) fn to_look_at(plan: &Plan) -> Option<String> {
    let groups = plan.groups.as_ref();
    let is_stale = |skipped: &&Skipped| skipped.why.is_stale();
    let has_missed = |notice: &&Notice| matches!(notice.what, Noticed::Missed { .. });
    let refused = plan.refusals.len() + groups.map_or(0, |groups| groups.refusals.len());
    let suspended = plan.suspensions.len() + groups.map_or(0, |groups| groups.suspensions.len());
    let figures = [
        (plan.held(), "held"),
        (refused, "refused"),
        (plan.skipped.iter().filter(is_stale).count(), "skipped"),
        (suspended, "with absences that are not believed"),
        (
            plan.notices.iter().filter(has_missed).count(),
            "with changes that were missed",
        ),
    ];
    let told = figures.iter().filter(|(count, _)| *count > 0);
    let told: Vec<String> = told
        .map(|(count, words)| format!("{} {words}", number(*count as u64)))
        .collect();
    let where_shown = match (plan.reverts, told.len()) {
        (_, 1) if plan.held() > 0 => "dirsyncd holds".to_owned(),
        (None, _) => "dirsyncd plan".to_owned(),
        (Some(run), _) => format!("dirsyncd revert {run} --dry-run"),
    };
    (!told.is_empty()).then(|| format!("to look at: {} ({where_shown})", told.join(", ")))
}

/// How a run ended, and the logins that are still to be turned off.
pub(super) fn ending(plan: &Plan, applied: &Applied) -> Vec<String> {
    let done = applied.done + applied.groups.done;
    let mut summary = format!("Done: {} applied", number(done as u64));
    let left = format!("left for {}", next(plan));
    for (count, words) in [
        (applied.failed.len() + applied.groups.failed.len(), "failed"),
        (applied.left + applied.groups.left, left.as_str()),
    ] {
        if count > 0 {
            let _ = write!(summary, ", {} {words}", number(count as u64));
        }
    }
    let accounts = applied.left_of.iter();
    let groups = applied.groups.left_of.iter();
    let left = accounts
        .map(|(kind, count)| (kind.name(), *count))
        .chain(groups.map(|(kind, count)| (kind.name(), *count)));
    let left = by_kind(left);
    if !left.is_empty() {
        let _ = write!(summary, " ({left})");
    }
    match &applied.ended_by {
        None => summary.push('.'),
        Some(EndedBy::Error(error)) => {
            let _ = write!(summary, "; the run ended early: {error}");
        }
        Some(ended_by) => {
            let _ = write!(summary, "; {ended_by}.");
        }
    }
    let mut lines = vec![summary];
    if applied.unawaited > 0 {
        lines.push(format!(
            "Operations whose answer was not waited for: {}; the next run reads back what became of them.",
            number(applied.unawaited as u64)
        ));
    }
    if let Some(Pending {
        count,
        dn,
        since,
        age,
    }) = &applied.pending
    {
        let age = Duration::from_secs(age.num_seconds().unsigned_abs());
        lines.push(format!(
            "Deactivations that are not done: {}; the oldest since {} ({}): {dn}.",
            number(*count as u64),
            minute(*since),
            humantime::format_duration(age)
        ));
    }
    lines
}

/// The logins that are to be turned off for longer than this run.
fn pending(plan: &Plan) -> Option<String> {
    let (count, oldest) = plan.oldest_pending()?;
    let since = oldest
        .since
        .map_or(String::new(), |since| format!(" since {}", minute(since)));
    Some(format!(
        "Deactivations that earlier runs have planned and that are not done: {}; the oldest{since}: {}.",
        number(count),
        oldest.dn
    ))
}

/// What does what this run leaves: nobody else undoes anything.
pub(super) fn next(plan: &Plan) -> String {
    match plan.reverts {
        None => "the next run".to_owned(),
        Some(run) => format!("`dirsyncd revert {run}` again"),
    }
}

/// How many of each kind.
pub(super) fn by_kind(counts: impl IntoIterator<Item = (&'static str, usize)>) -> String {
    let counts = counts.into_iter();
    let counts: Vec<String> = counts
        .map(|(kind, count)| format!("{} {kind}", number(count as u64)))
        .collect();
    counts.join(", ")
}

fn people(count: u64) -> String {
    several(count, "person", "people")
}
