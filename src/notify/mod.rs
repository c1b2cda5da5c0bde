//! Tells people what goes on: what changed since they were last told, through the channels of `[notify]`.
//!
//! Floor 7. `seen` says what goes on, by a plan and what became of it; `decide` what of it is told, by what was
//! told before (both pure); [`tell`] puts that into the database's outbox, and [`deliver`] sends from there, so
//! that nothing waits for a slow receiver and nothing is lost by a restart. A message may arrive twice, under
//! the same id.

mod decide;
mod http;
mod mail;
mod message;
mod seen;

use std::path::Path;
use std::time::Duration;

use chrono::TimeDelta;
use secrecy::SecretString;

use crate::config::{Channel, Config, Notify, SecretError, SecretRef, Way};
use crate::model::Timestamp;
use crate::snapshot::{Letter, Outbox, Queued, Snapshot, SnapshotError, Tried};

pub use message::NOTIFICATION_SCHEMA;
pub use seen::{Matter, Seen};

use decide::{AllTold, REMIND_AFTER, backoff, decide, for_channel, room, room_at, sum_up};
use message::{Message, Place};

/// A message that has not arrived for so long is given up.
const GIVE_UP_AFTER: TimeDelta = TimeDelta::days(1);

/// The most messages that wait for a channel: beyond, they are summed up.
const WAITING: usize = 100;

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// Something of the configuration is no use.
    #[error("{0}")]
    Setup(String),
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A template.
    #[error("the template cannot be filled in: {0}")]
    Template(#[from] minijinja::Error),
    /// The receiver does not take it.
    #[error("refused ({status}): {said}")]
    Refused {
        /// The status of its answer.
        status: String,
        /// A part of what it said.
        said: String,
    },
    /// There was no answer.
    #[error("no answer: {0}")]
    NoAnswer(String),
}

/// Why a message was not sent, and whether it may be later.
#[derive(Debug)]
struct CannotSend {
    trouble: Trouble,
    /// Whether it is no use to try again.
    for_good: bool,
    /// How long the receiver wants to be left alone.
    wait: Option<Duration>,
}

impl CannotSend {
    fn later(trouble: Trouble) -> Self {
        CannotSend {
            trouble,
            for_good: false,
            wait: None,
        }
    }

    fn for_good(trouble: Trouble) -> Self {
        CannotSend {
            trouble,
            for_good: true,
            wait: None,
        }
    }
}

/// Puts into the outbox what people are to be told: of what was seen, or, where nothing was looked at, what
/// they are to be reminded of. Tells how many messages that are.
///
/// # Errors
/// When the database cannot be used.
pub async fn tell(
    config: &Config,
    seen: Option<&Seen>,
    now: Timestamp,
) -> Result<usize, SnapshotError> {
    let notify = &config.notify;
    let mut outbox = Outbox::open(&config.database).await?;
    let queued = outbox
        .tell(now, |told| {
            let told = told.into_iter();
            let told = told.map(|(topic, detail)| Ok((topic, serde_json::from_str(&detail)?)));
            let told = told.collect::<Result<AllTold, serde_json::Error>>()?;
            let (told, messages) = decide(told, seen, now);
            let told = told.into_iter();
            let told = told.map(|(topic, told)| Ok((topic, serde_json::to_string(&told)?)));
            Ok((
                told.collect::<Result<_, serde_json::Error>>()?,
                queue(notify, &messages)?,
            ))
        })
        .await;
    let closed = outbox.close().await;
    let queued = queued?;
    closed?;
    Ok(queued)
}

/// Each message for each channel that gets it.
fn queue(notify: &Notify, messages: &[Message]) -> Result<Vec<Queued>, serde_json::Error> {
    let mut queued = Vec::new();
    for channel in &notify.channels {
        for message in messages.iter().filter_map(|one| for_channel(one, channel)) {
            queued.push(Queued {
                channel: channel.name.clone(),
                id: new_id(),
                message: serde_json::to_string(&message)?,
            });
        }
    }
    Ok(queued)
}

fn new_id() -> String {
    format!("msg_{}", uuid::Uuid::new_v4().simple())
}

/// When there may be something to [`deliver`]; `None` if nothing waits.
///
/// # Errors
/// When the database cannot be read.
pub async fn next(database: &Path) -> Result<Option<Timestamp>, SnapshotError> {
    let mut snapshot = Snapshot::open_for_reading(database).await?;
    let next = snapshot.next_letter().await;
    snapshot.close().await?;
    next
}

/// Sends what waits in the outbox and is due, through all channels at once. Nobody else may do the same
/// meanwhile. What goes wrong is logged.
///
/// # Errors
/// When the database cannot be used.
pub async fn deliver(
    config: &Config,
    clock: &(dyn Fn() -> Timestamp + Sync),
) -> Result<(), SnapshotError> {
    let mut outbox = Outbox::open(&config.database).await?;
    let waiting = outbox.channels().await?;
    outbox.clear(clock() - REMIND_AFTER).await?;
    for name in &waiting {
        if !config
            .notify
            .channels
            .iter()
            .any(|channel| channel.name == *name)
        {
            for letter in outbox.waiting(name).await? {
                let gone = Tried::GivenUp("the channel is gone".to_owned());
                outbox.tried(letter.number, &gone, clock()).await?;
            }
            tracing::warn!(
                channel = name,
                "what waited to be told is given up: [notify] has no such channel any more"
            );
        }
    }
    outbox.close().await?;
    let channels = config.notify.channels.iter();
    let channels = channels.filter(|channel| waiting.contains(&channel.name));
    let all = channels.map(|channel| deliver_through(config, channel, clock));
    futures_util::future::join_all(all)
        .await
        .into_iter()
        .collect()
}

async fn deliver_through(
    config: &Config,
    channel: &Channel,
    clock: &(dyn Fn() -> Timestamp + Sync),
) -> Result<(), SnapshotError> {
    let place = Place::new(&config.organization.id);
    let mut outbox = Outbox::open(&config.database).await?;
    loop {
        let now = clock();
        let letters = outbox.waiting(&channel.name).await?;
        let sent = outbox.sent(&channel.name).await?;
        let room = room(&sent, config.notify.at_most, now);
        // The last that may go tells of all that may not; and no more wait than can be kept.
        let letters = if letters.len() > room.max(1) && (room <= 1 || letters.len() > WAITING) {
            summed_up(&mut outbox, letters).await?
        } else {
            letters
        };
        let Some(letter) = letters.into_iter().next() else {
            break;
        };
        if room == 0 {
            let at = room_at(&sent, config.notify.at_most, now);
            let later = Tried::Again(at, "as many as may were sent in an hour".to_owned());
            outbox.tried(letter.number, &later, now).await?;
            break;
        }
        // Those behind it wait too: the receiver that does not take one takes no other either.
        if letter.next_at > now && letter.next_at - now <= TimeDelta::hours(1) {
            break;
        }
        if !attempt(&mut outbox, channel, &letter, &place, clock).await? {
            break;
        }
    }
    outbox.close().await
}

/// Makes one message of all that wait, which takes the place of the last; one that was tried stays, as its
/// receiver may have got it.
async fn summed_up(
    outbox: &mut Outbox,
    letters: Vec<Letter>,
) -> Result<Vec<Letter>, SnapshotError> {
    let (tried, fresh): (Vec<Letter>, Vec<Letter>) =
        letters.into_iter().partition(|letter| letter.attempts > 0);
    let read = |letter: &Letter| serde_json::from_str(&letter.message).ok();
    let whole = sum_up(fresh.iter().filter_map(read).collect());
    let (Some(whole), Some((last, others))) = (whole, fresh.split_last()) else {
        return Ok(tried);
    };
    let Ok(message) = serde_json::to_string(&whole) else {
        return Ok(tried);
    };
    let others: Vec<i64> = others.iter().map(|letter| letter.number).collect();
    outbox.sum_up(last.number, &message, &others).await?;
    let last = Letter {
        message,
        ..last.clone()
    };
    Ok(tried.into_iter().chain([last]).collect())
}

/// Tries to send a message; whether the next one may be tried.
async fn attempt(
    outbox: &mut Outbox,
    channel: &Channel,
    letter: &Letter,
    place: &Place,
    clock: &(dyn Fn() -> Timestamp + Sync),
) -> Result<bool, SnapshotError> {
    let attempts = letter.attempts + 1;
    outbox
        .trying(letter.number, clock() + backoff(attempts))
        .await?;
    let result = match serde_json::from_str(&letter.message) {
        Ok(message) => send(channel, &message, &letter.id, place, clock()).await,
        Err(error) => Err(CannotSend::for_good(Trouble::Setup(error.to_string()))),
    };
    let now = clock();
    let name = &channel.name;
    let tried = match result {
        Ok(answer) => {
            tracing::info!(channel = name, id = letter.id, attempts, answer, "told");
            Tried::Sent
        }
        Err(CannotSend {
            trouble, for_good, ..
        }) if for_good || now - letter.queued_at >= GIVE_UP_AFTER => {
            tracing::error!(
                channel = name,
                id = letter.id,
                attempts,
                "not told, and given up: {trouble}"
            );
            Tried::GivenUp(trouble.to_string())
        }
        Err(CannotSend { trouble, wait, .. }) => {
            let wait = wait.and_then(|wait| TimeDelta::from_std(wait).ok());
            let wait = wait
                .unwrap_or_default()
                .min(TimeDelta::hours(1))
                .max(backoff(attempts));
            tracing::warn!(
                channel = name,
                id = letter.id,
                attempts,
                "not told, and tried again in {} s: {trouble}",
                wait.num_seconds()
            );
            Tried::Again(now + wait, trouble.to_string())
        }
    };
    outbox.tried(letter.number, &tried, now).await?;
    Ok(!matches!(tried, Tried::Again(..)))
}

/// Sends a message through a channel; what the receiver's answer was, in a word.
async fn send(
    channel: &Channel,
    message: &Message,
    id: &str,
    place: &Place,
    now: Timestamp,
) -> Result<String, CannotSend> {
    let rendered = message
        .render(channel, id, place)
        .map_err(|error| CannotSend::for_good(error.into()))?;
    let read = |secret: &SecretRef| -> Result<SecretString, CannotSend> {
        secret
            .read()
            .map_err(|error| CannotSend::later(error.into()))
    };
    match &channel.way {
        Way::Webhook { url, secret } => {
            http::webhook(channel, url, &read(secret)?, (id, &rendered), now).await
        }
        Way::Slack { url } => http::slack(channel, &read(url)?, &rendered).await,
        Way::Email(email) => {
            let password = email
                .login
                .as_ref()
                .map(|(_, secret)| read(secret))
                .transpose()?;
            mail::mail(
                channel,
                email,
                password.as_ref(),
                (id, &rendered),
                place,
                now,
            )
            .await
        }
    }
}

/// Sends a test message through a channel, at once and past the outbox; where it went and what the answer was.
///
/// # Errors
/// Why it was not sent, in words.
pub async fn test(config: &Config, channel: &Channel, now: Timestamp) -> Result<String, String> {
    let place = Place::new(&config.organization.id);
    let answer = send(channel, &Message::test(now), &new_id(), &place, now)
        .await
        .map_err(|error| error.trouble.to_string())?;
    let host = match &channel.way {
        Way::Webhook { url, .. } => url.host_str().unwrap_or_default().to_owned(),
        Way::Slack { .. } => "its URL".to_owned(),
        Way::Email(email) => {
            let to: Vec<String> = email.to.iter().map(|to| to.email.to_string()).collect();
            format!("{} through {}", to.join(", "), email.host)
        }
    };
    Ok(format!(
        "a test message went by {} to {host} ({answer})",
        channel.kind()
    ))
}

#[cfg(test)]
mod tests;
