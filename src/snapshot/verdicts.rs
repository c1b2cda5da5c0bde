//! How the pulls of a run ended, and what it said of people for whom it does nothing.

use std::collections::BTreeMap;

use serde_json::json;
use sqlx::{Sqlite, Transaction};

use crate::model::{Cursor, RunId, SourceName};
use crate::plan::{Pulls, Verdict};

/// How many rows go into one statement.
const PORTION: usize = 2000;

/// Records how the pulls of a run ended.
pub(super) async fn record_ends(
    transaction: &mut Transaction<'_, Sqlite>,
    run: RunId,
    pulls: &Pulls,
) -> Result<(), sqlx::Error> {
    for (source, end) in pulls {
        let (entries, way, incomplete) = match end {
            Ok(complete) => {
                let way = complete.changed().map_or("full", |_| "changes");
                (complete.entries(), way, None)
            }
            Err(incomplete) => (incomplete.entries, "full", Some(incomplete.why.as_str())),
        };
        sqlx::query(
            "INSERT INTO pulls (run_id, source, entries, way, incomplete) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(run.0)
        .bind(source.as_str())
        .bind(i64::try_from(entries).unwrap_or(i64::MAX))
        .bind(way)
        .bind(incomplete)
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

/// Replaces the verdicts of the run before. There may be thousands: row by row they would take
/// longer than all else that is recorded of a pull.
pub(super) async fn record_verdicts(
    transaction: &mut Transaction<'_, Sqlite>,
    run: RunId,
    verdicts: &[Verdict],
    cursors: &BTreeMap<SourceName, Cursor>,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM verdicts")
        .execute(&mut **transaction)
        .await?;
    for portion in verdicts.chunks(PORTION) {
        let rows: Vec<serde_json::Value> = portion
            .iter()
            .map(|verdict| {
                // Of sources with a cursor it is kept as a deviation, until the account is like
                // that.
                let wants = verdict.wants.as_ref();
                let wants = wants.filter(|person| !cursors.contains_key(&person.source));
                json!([
                    verdict.key,
                    verdict.source,
                    verdict.dn,
                    verdict.kind,
                    verdict.sentence,
                    wants.map(|person| json!(person).to_string()),
                ])
            })
            .collect();
        sqlx::query(
            "INSERT INTO verdicts (run_id, external_id, source, dn, kind, sentence, wants)
             SELECT ?, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
             FROM json_each(?)",
        )
        .bind(run.0)
        .bind(json!(rows).to_string())
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}
