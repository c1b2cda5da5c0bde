//! What systemd is told, where there is one (sd_notify(3)).

use sd_notify::NotifyState;
use std::sync::Arc;
use tokio::task::JoinHandle;

use super::state::State;

/// Tells systemd.
pub(super) fn tell(states: &[NotifyState<'_>]) {
    // A line of its own would be taken for another message.
    let texts = states.iter().map(|state| match state {
        NotifyState::Status(text) => Some(text.replace(char::is_control, " ")),
        _ => None,
    });
    let texts: Vec<Option<String>> = texts.collect();
    let states: Vec<NotifyState<'_>> = states
        .iter()
        .zip(&texts)
        .map(|(state, text)| match text {
            Some(text) => NotifyState::Status(text),
            None => state.clone(),
        })
        .collect();
    let states = &states;
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// Tells that the configuration is read again; `READY=1` ends it.
pub(super) fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now());
    tell(&states);
}

/// Ends with the daemon.
pub(super) struct Watchdog(JoinHandle<()>);

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells the watchdog, if there is one, that all is well, as long as the work goes on by the configuration in force.
pub(super) fn keep_watch(state: &Arc<State>) -> Option<Watchdog> {
    let every = sd_notify::watchdog_enabled()? / 2;
    let state = Arc::clone(state);
    Some(Watchdog(tokio::spawn(async move {
        let mut has_hung = false;
        let mut interval = tokio::time::interval(every);
        loop {
            interval.tick().await;
            let hang_after = state.setup().config.daemon.hang_after;
            let hangs = state.pulse.hangs_for(hang_after);
            if !hangs {
                tell(&[NotifyState::Watchdog]);
            } else if !has_hung {
                tracing::error!(
                    "the work has not gone on for {}: the watchdog is told no more",
                    humantime::format_duration(hang_after)
                );
            }
            has_hung = hangs;
        }
    })))
}
