//! What systemd is told, where there is one (sd_notify(3)).

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;

use super::pulse::Pulse;

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

/// Tells the watchdog, if there is one, that all is well, as long as the work goes on.
pub(super) fn keep_watch(pulse: &Arc<Pulse>, hang_after: Duration) -> Option<Watchdog> {
    let every = sd_notify::watchdog_enabled()? / 2;
    let pulse = Arc::clone(pulse);
    Some(Watchdog(tokio::spawn(async move {
        let mut has_hung = false;
        let mut interval = tokio::time::interval(every);
        loop {
            interval.tick().await;
            let hangs = pulse.hangs_for(hang_after);
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
