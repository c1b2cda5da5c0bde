//! How a job ended, for the log.

use crate::apply::EndedBy;
use crate::model::RunId;
use crate::plan::{Decided, Excess, Notice, Noticed, Reconciliation, SkipReason};
use crate::report::{reconciled_line, summary_line};
use crate::run::{CannotPrune, Finished, PrunedByHand, RunError};
use crate::snapshot::Pruned;

/// Logs what was changed in the organization by hand.
pub(super) fn reconciled(result: Result<(Option<RunId>, Reconciliation), RunError>) {
    let (run, found) = match result {
        Ok((run, found)) => (run.map(|run| run.0), found),
        Err(RunError::Stopped) => return tracing::info!("the reconciliation was stopped"),
        Err(error) => return tracing::error!("the reconciliation failed: {error}"),
    };
    for Decided { drift, after, .. } in &found.drifts {
        let kinds: Vec<&str> = drift.kinds.keys().map(|kind| kind.name()).collect();
        let (kinds, dn) = (kinds.join(", "), &drift.row.dn);
        let taken_over = after.is_some();
        tracing::warn!(run, dn, kinds, taken_over, "changed in the organization");
    }
    for Excess {
        kind,
        count,
        of,
        allowed,
    } in &found.excess
    {
        tracing::error!(run, %kind, count, of, allowed, "too much to be taken over");
    }
    for drift in &found.group_drifts {
        let group = &drift.row.name;
        tracing::warn!(run, group, "changed in the organization");
    }
    tracing::info!(run, "{}", reconciled_line(&found));
}

/// Logs what a sync did.
pub(super) fn synced(result: &Result<Finished, RunError>) {
    match result {
        Ok(Finished { run, plan, applied }) => {
            for Notice { source, what } in &plan.notices {
                let source = source.as_str();
                match what {
                    Noticed::ReadInFull { .. } => tracing::info!(%run, source, "{what}"),
                    Noticed::Missed { .. } => tracing::error!(%run, source, "{what}"),
                }
            }
            for hold in &plan.holds {
                tracing::warn!(%run, hold = hold.name, "held: {hold}");
            }
            for suspension in &plan.suspensions {
                tracing::warn!(
                    %run,
                    source = suspension.source.as_str(),
                    absent = suspension.absent,
                    "absences are not believed: {}",
                    suspension.why
                );
            }
            for refusal in &plan.refusals {
                tracing::warn!(%run, dn = refusal.dn, "refused: {}", refusal.why);
            }
            for skipped in &plan.skipped {
                // The others are skipped for good, and the summary counts them.
                if matches!(skipped.why, SkipReason::UnverifiedDomain { .. })
                    || skipped.why.is_stale()
                {
                    tracing::warn!(%run, dn = skipped.dn, "skipped: {}", skipped.why);
                }
            }
            for refusal in plan.groups.iter().flat_map(|groups| &groups.refusals) {
                tracing::warn!(%run, dn = refusal.dn, "refused: {}", refusal.why);
            }
            for suspension in plan.groups.iter().flat_map(|groups| &groups.suspensions) {
                tracing::warn!(
                    %run,
                    place = suspension.place,
                    "nobody is taken out of groups: {}",
                    suspension.why
                );
            }
            match &applied.ended_by {
                None | Some(EndedBy::Stop) => {}
                Some(EndedBy::Error(error)) => {
                    tracing::error!(%run, "the run ended early: {error}");
                }
                Some(budget) => tracing::warn!(%run, "left for the next run: {budget}"),
            }
            if let Some(pending) = &applied.pending {
                tracing::warn!(
                    %run,
                    count = pending.count,
                    since = %pending.since,
                    dn = pending.dn,
                    "deactivations are not done"
                );
            }
            tracing::info!(
                %run,
                done = applied.done,
                failed = applied.failed.len() + applied.groups.failed.len(),
                left = applied.left + applied.groups.left,
                unawaited = applied.unawaited,
                "{}",
                summary_line(plan)
            );
        }
        Err(RunError::Stopped) => tracing::info!("the run was stopped before anything was sent"),
        Err(error) => tracing::error!("the run failed: {error}"),
    }
}

/// Logs what was taken out of the journal.
pub(super) fn pruned(result: Result<PrunedByHand, CannotPrune>) {
    match result {
        Ok(PrunedByHand { taken, kept_out }) => {
            let Pruned {
                runs, operations, ..
            } = taken;
            match kept_out {
                None => tracing::info!(runs, operations, "the journal is pruned"),
                Some(writer) => {
                    tracing::warn!(
                        runs,
                        operations,
                        "the journal is not pruned to the end: {writer}"
                    );
                }
            }
        }
        Err(CannotPrune::Stopped) => tracing::info!("the pruning was stopped"),
        Err(error) => tracing::error!("the journal is not pruned: {error}"),
    }
}
