//! `dirsyncd explain`: what is known of one person, from the database alone.

use clap::Args;

use super::output::Format;
use super::{ConfigArgument, Exit, Failure, load, print, start_log};
use crate::config::LogFormat;
use crate::explain::explain;
use crate::model::Timestamp;
use crate::report;
use crate::snapshot::{Dossier, LAST_OPERATIONS, Meant, Snapshot, SnapshotError};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The person: key, e-mail address, user name or DN
    #[arg(value_name = "KEY|MAIL|DN")]
    who: String,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The longest line, in columns
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(40..))]
    width: u16,
    /// How many of the last changes are shown
    #[arg(long, value_name = "N", default_value_t = LAST_OPERATIONS, value_parser = super::output::whole)]
    limit: usize,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments {
        config,
        who,
        format,
        width,
        limit,
    } = arguments;
    let setup = load(&config)?;
    start_log("warn", LogFormat::Text);
    let now = chrono::Utc::now();
    let database = &setup.config.database;
    if !database.exists() {
        return Err(Failure::usage(format!(
            "there is no database {} yet, and so nothing is known of anybody: the first sync makes it",
            database.display()
        )));
    }
    let mut snapshot = Snapshot::open_for_reading(database)
        .await
        .map_err(Failure::failed)?;
    let found = find(&mut snapshot, &who, usize::from(width), now).await;
    snapshot.close().await.map_err(Failure::failed)?;
    let dossier = found
        .map_err(Failure::failed)?
        .map_err(|nobody| Failure::usage(nobody.trim_end()))?;
    let explanation = explain(&setup.config, &dossier, limit, now);
    print(&match format {
        Format::Text => report::explanation(&explanation, usize::from(width)),
        Format::Json => format!("{:#}\n", report::explanation_json(&explanation)),
    });
    Ok(Exit::Done)
}

/// What is known of the person of this name, or why it cannot be said who is meant.
async fn find(
    snapshot: &mut Snapshot,
    who: &str,
    width: usize,
    now: Timestamp,
) -> Result<Result<Dossier, String>, SnapshotError> {
    // A run that goes on meanwhile changes what stands there.
    snapshot.stand_still().await?;
    Ok(match snapshot.meant(who).await? {
        Meant::One(one) => Ok(snapshot.dossier(one, now).await?),
        Meant::Several(people) => Err(format!(
            "`{who}` may be any of these; give the key, or the DN:\n{}",
            report::candidates(&people, width)
        )),
        Meant::Nobody(near) if near.is_empty() => Err(format!(
            "nothing is known of `{who}`: no account has that key, e-mail address, user name or DN, and the last run told nothing of such a person; `dirsyncd map DN` shows what becomes of an entry"
        )),
        Meant::Nobody(near) => Err(format!(
            "nothing is known of `{who}`; names like that have:\n{}",
            report::candidates(&near, width)
        )),
    })
}
