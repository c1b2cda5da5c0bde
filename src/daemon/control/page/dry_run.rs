//! The dry run that somebody asks for on a page: it goes on while the page is left, and its plan is kept until the next
//! one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::super::{App, api};
use super::{Kind, Problem};
use crate::model::{Invoker, Timestamp};
use crate::plan::Plan;
use crate::pull::Depth;
use crate::run::Orders;

/// How long a page that has just been asked for waits, so that a short dry run is seen at once.
const SHORT: Duration = Duration::from_millis(1500);

/// The dry runs of the pages.
#[derive(Default)]
pub(super) struct DryRuns(Mutex<Now>);

/// How it stands with them.
#[derive(Clone, Default)]
pub(super) struct Now {
    /// The one that is at work: since when, and who wants it.
    pub(super) at_work: Option<(Timestamp, Invoker)>,
    /// The last one that has ended.
    pub(super) last: Option<Arc<Ended>>,
}

/// A dry run that has ended.
pub(super) struct Ended {
    pub(super) began: Timestamp,
    pub(super) ended: Timestamp,
    pub(super) by: Invoker,
    /// What it came to, or why to nothing.
    pub(super) plan: Result<Plan, String>,
}

impl DryRuns {
    pub(super) fn now(&self) -> Now {
        let now = self.0.lock();
        now.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Begins a dry run, and waits for a short one.
pub(super) async fn begin(app: &Arc<App>, by: Invoker) -> Result<(), Problem> {
    let only = api::only_dry_run(app)?;
    let began = chrono::Utc::now();
    tracing::info!(by = by.name, uid = by.uid, "asked for a dry run");
    let dry_runs = &app.desk.dry_runs;
    dry_runs.change(|now| now.at_work = Some((began, by.clone())));
    let app = Arc::clone(app);
    let done = tokio::spawn(async move {
        let orders = Orders {
            depth: Depth::Changes,
            accepts_scope_change: false,
            person: None,
        };
        let work = Arc::clone(&app);
        let planned = api::in_thread(async move || api::dry(&work, orders).await).await;
        let planned = planned.unwrap_or_else(|| {
            Err(Problem::new(
                Kind::Stopping,
                "it broke off; the log may say why",
            ))
        });
        let plan = planned
            .map(shown)
            .map_err(|problem| problem.details().detail);
        let ended = Ended {
            began,
            ended: chrono::Utc::now(),
            by,
            plan,
        };
        app.desk.dry_runs.change(|now| {
            *now = Now {
                at_work: None,
                last: Some(Arc::new(ended)),
            };
        });
        drop(only);
    });
    // It goes on if this takes too long.
    let _ = tokio::time::timeout(SHORT, done).await;
    Ok(())
}

/// What of a plan is shown: the rest need not be kept.
fn shown(mut plan: Plan) -> Plan {
    plan.notes = Vec::new();
    plan.pending = Vec::new();
    if let Some(groups) = &mut plan.groups {
        groups.notes = Vec::new();
    }
    plan.operations.shrink_to_fit();
    plan
}
