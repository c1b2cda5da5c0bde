//! `dirsyncd history`: what was written to the organization, from the database alone.

use std::collections::BTreeSet;
use std::io;
use std::str::FromStr;

use chrono::{NaiveDate, NaiveTime, TimeDelta};
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use super::{ConfigArgument, Exit, Failure, load, print, say, start_log};
use crate::config::LogFormat;
use crate::model::{GroupChange, Kind, RunId, Timestamp};
use crate::report::{HISTORY_SCHEMA, HistoryForm, HistorySheet, no_such_run, pruned_before};
use crate::snapshot::{Selection, Snapshot};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Only what this run has written
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    run: Option<i64>,
    /// Only what was written to this account, also under former names and keys
    #[arg(long, value_name = "KEY|MAIL|DN|SCIM-ID")]
    account: Option<String>,
    /// Only what was written to this group
    #[arg(long, value_name = "NAME|KEY|DN|SCIM-ID")]
    group: Option<String>,
    /// Only what was sent since then: 2026-11-30, 2026-11-30T08:00:00Z, or an age such as 7d
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Only what was sent until then; a day counts to its end (UTC)
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Only what is of this kind
    #[arg(long, value_name = "KIND", num_args = 1.., value_delimiter = ',', value_parser = PossibleValuesParser::new(kinds()))]
    kind: Vec<String>,
    /// Only what failed, or was sent and is not known to have taken effect
    #[arg(long)]
    failed: bool,
    /// Only the newest N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// The form of the history
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
    /// Print the JSON Schema of `--format json`, and do nothing else
    #[arg(long, exclusive = true)]
    schema: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Text,
    Json,
    Csv,
}

/// A moment as somebody types it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    At(Timestamp),
    Day(NaiveDate),
    Ago(TimeDelta),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            return Ok(Moment::Day(day));
        }
        if let Ok(at) = Timestamp::from_str(text) {
            return Ok(Moment::At(at));
        }
        let age = humantime::parse_duration(text).ok();
        let age = age.and_then(|age| TimeDelta::from_std(age).ok());
        age.map(Moment::Ago).ok_or_else(|| {
            "give a day (2026-11-30), a time (2026-11-30T08:00:00Z) or an age (7d)".to_owned()
        })
    }
}

impl Moment {
    /// Its first millisecond.
    fn begin(self, now: Timestamp) -> Timestamp {
        match self {
            Moment::At(at) => at,
            Moment::Day(day) => day.and_time(NaiveTime::MIN).and_utc(),
            // An age beyond all time is since ever.
            Moment::Ago(age) => now.checked_sub_signed(age).unwrap_or(Timestamp::MIN_UTC),
        }
    }

    /// Its last millisecond.
    fn end(self, now: Timestamp) -> Timestamp {
        let begin = self.begin(now);
        match self {
            Moment::At(_) | Moment::Ago(_) => begin,
            Moment::Day(_) => begin + TimeDelta::days(1) - TimeDelta::milliseconds(1),
        }
    }
}

fn kinds() -> impl Iterator<Item = &'static str> {
    let groups = GroupChange::ALL.into_iter().map(GroupChange::name);
    Kind::ALL.into_iter().map(Kind::name).chain(groups)
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    if arguments.schema {
        print(HISTORY_SCHEMA);
        return Ok(Exit::Done);
    }
    let setup = load(&arguments.config)?;
    start_log("warn", LogFormat::Text);
    let database = &setup.config.database;
    if !database.exists() {
        return Err(Failure::usage(format!(
            "there is no database {} yet, and so no history: the first sync makes it",
            database.display()
        )));
    }
    let mut snapshot = Snapshot::open_for_reading(database)
        .await
        .map_err(Failure::failed)?;
    let told = tell(&mut snapshot, &arguments).await;
    let closed = snapshot.close().await;
    told?;
    closed.map_err(Failure::failed)?;
    Ok(Exit::Done)
}

async fn tell(snapshot: &mut Snapshot, arguments: &Arguments) -> Result<(), Failure> {
    let selection = selection(snapshot, arguments).await?;
    let form = match arguments.format {
        Form::Text => HistoryForm::Text,
        Form::Json => HistoryForm::Json,
        Form::Csv => HistoryForm::Csv,
    };
    let mut history = snapshot.history(selection).await.map_err(Failure::failed)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut written = HistorySheet::begin(form, &mut out);
    let mut unreadable = 0;
    while let Ok(sheet) = &mut written {
        let page = snapshot.next_writes(&mut history).await;
        let page = page.map_err(Failure::failed)?;
        if page.is_empty() {
            break;
        }
        unreadable += page.iter().filter(|write| write.is_err()).count();
        let mut page = page.iter();
        if let Err(error) = page.try_for_each(|write| sheet.add(write.as_ref(), &mut out)) {
            written = Err(error);
        }
    }
    // Only now, as it may have been pruned meanwhile.
    let pruning = snapshot.pruning().await.map_err(Failure::failed)?;
    let first = pruning.map(|pruning| pruning.first_run);
    if matches!(arguments.format, Form::Csv) {
        say(&pruned_before(first));
    }
    match written.and_then(|sheet| sheet.end(first, None, &mut out)) {
        Ok(()) if unreadable > 0 => Err(Failure::failed(format!(
            "of these writes {unreadable} cannot be read in the database: something else has changed it"
        ))),
        Ok(()) => Ok(()),
        // A reader that has gone away (`| head`) is no failure; half a file is.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::failed(format!(
            "the history cannot be written: {error}"
        ))),
    }
}

async fn selection(snapshot: &mut Snapshot, arguments: &Arguments) -> Result<Selection, Failure> {
    let now = chrono::Utc::now();
    let run = arguments.run.map(RunId);
    if let Some(run) = run {
        let known = snapshot.has_ended(run).await.map_err(Failure::failed)?;
        if known.is_none() {
            let pruning = snapshot.pruning().await.map_err(Failure::failed)?;
            let first = pruning.map(|pruning| pruning.first_run);
            return Err(Failure::usage(format!(
                "{}; `dirsyncd history` tells of all that are there",
                no_such_run(run, first)
            )));
        }
    }
    let named = [(&arguments.account, false), (&arguments.group, true)];
    let mut whose: Option<BTreeSet<_>> = None;
    for (who, is_group) in named {
        let Some(who) = who else { continue };
        let found = snapshot.written_to(who, is_group).await;
        let found = found.map_err(Failure::failed)?;
        if found.is_empty() {
            let (what, names) = match is_group {
                false => (
                    "account",
                    "a key, an e-mail address, a user name, a DN or a SCIM id",
                ),
                true => ("group", "a name, a key, a DN or a SCIM id"),
            };
            return Err(Failure::usage(format!(
                "nothing was written to the {what} `{who}`, or was going to be: give {names} that it has or had"
            )));
        }
        whose.get_or_insert_default().extend(found);
    }
    Ok(Selection {
        run,
        whose,
        since: arguments.since.map(|since| since.begin(now)),
        until: arguments.until.map(|until| until.end(now)),
        kinds: arguments.kind.clone(),
        failed: arguments.failed,
        before: None,
        newest: arguments.limit,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_moment_is_a_day_a_time_or_an_age() {
        let now = "2026-11-30T08:00:00Z".parse::<Timestamp>().unwrap();
        let moment = |text: &str| text.parse::<Moment>().unwrap();
        for (text, begin, end) in [
            (
                "2026-11-29",
                "2026-11-29T00:00:00Z",
                "2026-11-29T23:59:59.999Z",
            ),
            (
                "2026-11-29T10:00:00+02:00",
                "2026-11-29T08:00:00Z",
                "2026-11-29T08:00:00Z",
            ),
            ("7d", "2026-11-23T08:00:00Z", "2026-11-23T08:00:00Z"),
            ("1h 30m", "2026-11-30T06:30:00Z", "2026-11-30T06:30:00Z"),
        ] {
            assert_eq!(
                moment(text).begin(now),
                begin.parse::<Timestamp>().unwrap(),
                "{text}"
            );
            assert_eq!(
                moment(text).end(now),
                end.parse::<Timestamp>().unwrap(),
                "{text}"
            );
        }
        assert_eq!(moment("300000y").begin(now), Timestamp::MIN_UTC);
        for text in ["", "yesterday", "2026-13-01", "2026-11-29T10:00:00", "-7d"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }
}
