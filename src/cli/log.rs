//! The log: lines on standard error, JSON on standard output, or entries of systemd's journal with fields of their own.

use std::fmt::{Debug, Write as _};
use std::io::{IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};
use crate::report;

/// Where the journal takes entries (systemd.io/JOURNAL_NATIVE_PROTOCOL).
const JOURNAL: &str = "/run/systemd/journal/socket";

/// How much of each value is kept of an entry that the journal does not take in one piece, in octets.
const SHORT: usize = 4096;

/// Starts the daemon's log: JSON on standard output, as what collects logs expects it. Where it goes is seen by itself
/// unless it is set.
pub(super) fn start(log: &Log) {
    let format = log.format.unwrap_or_else(|| match leads_to_journal() {
        true => LogFormat::Journal,
        false => LogFormat::Text,
    });
    start_log(&log.level, format);
}

/// Starts logging. `DIRSYNCD_LOG` goes before `level`. Without a journal, text is written.
pub(super) fn start_log(level: &str, format: LogFormat) {
    let level = std::env::var("DIRSYNCD_LOG").unwrap_or_else(|_| level.to_owned());
    // What the one crate has to say of a connection that was let go of is no news, nor, of the other, that a large
    // database is not read or copied whole within a second.
    let crates = "ldap3=error,sqlx::query=error";
    let filter = tracing_subscriber::EnvFilter::new(format!("{crates},{level}"));
    let journal = match format {
        LogFormat::Journal => Some(Journal::connect(JOURNAL.into())),
        LogFormat::Text | LogFormat::Json => None,
    };
    if let Some(Ok(journal)) = journal {
        // Fails only when a subscriber is there already, as in tests.
        let registry = tracing_subscriber::registry();
        let _ = registry.with(journal.with_filter(filter)).try_init();
        return;
    }
    let colours = std::io::stderr().is_terminal() && format != LogFormat::Json;
    let is_json = format == LogFormat::Json;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(move || LogLines { colours, is_json });
    let _ = match format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text | LogFormat::Journal => builder.try_init(),
    };
    if let Some(Err(error)) = journal {
        tracing::warn!("there is no journal at {JOURNAL}, so the log is text: {error}");
    }
}

/// Tells on standard error why the program ends; the journal takes it for an error.
pub(super) fn fail(message: &str) {
    let mark = if leads_to_journal() { "<3>" } else { "" };
    let lines: String = report::message(&format!("dirsyncd: {message}"))
        .lines()
        .map(|line| format!("{mark}{line}\n"))
        .collect();
    let _ = std::io::stderr().lock().write_all(lines.as_bytes());
}

/// Whether standard error leads to the journal (`JOURNAL_STREAM` in systemd.exec(5)).
fn leads_to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    nix::sys::stat::fstat(std::io::stderr())
        .is_ok_and(|file| stream == format!("{}:{}", file.st_dev, file.st_ino))
}

/// The journal. The crate tracing-journald would pass on what commands a terminal, and show the values of
/// an event to nobody who does not ask for them.
struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// # Errors
    /// When nobody listens there.
    fn connect(path: PathBuf) -> std::io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // An entry without a field is none.
        socket.send_to(&[], &path)?;
        Ok(Journal { socket, path })
    }

    fn send(&self, level: Level, target: &str, event: &Values) -> std::io::Result<()> {
        let priority = match level {
            Level::ERROR => "3",
            Level::WARN => "4",
            Level::INFO => "6",
            Level::DEBUG | Level::TRACE => "7",
        };
        let message = report::message(&format!("{}{}", event.message, event.shown));
        let send = |most: usize| {
            let mut entry = Vec::new();
            put(&mut entry, "PRIORITY", priority);
            put(&mut entry, "SYSLOG_IDENTIFIER", "dirsyncd");
            put(&mut entry, "TARGET", target);
            put(&mut entry, "MESSAGE", start_of(&message, most));
            for (name, value) in &event.fields {
                let name = format!("DIRSYNCD_{}", name.to_uppercase().replace('.', "_"));
                let value = report::printable(value);
                put(&mut entry, &name, start_of(&value, most));
            }
            self.socket.send_to(&entry, &self.path)
        };
        send(usize::MAX).or_else(|_| send(SHORT)).map(drop)
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut values = Values::default();
        event.record(&mut values);
        let metadata = event.metadata();
        let target = values.target.as_deref().unwrap_or(metadata.target());
        if let Err(error) = self.send(*metadata.level(), target, &values) {
            let text = format!("{} (the journal: {error})", values.message);
            let _ = writeln!(std::io::stderr().lock(), "{}", report::message(&text));
        }
    }
}

/// Adds a field to an entry.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

/// The start of a text, of so many octets at most.
fn start_of(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// What an event says.
#[derive(Default)]
struct Values {
    message: String,
    fields: Vec<(&'static str, String)>,
    /// The fields as they stand behind the message.
    shown: String,
    /// Of an event of the `log` crate, where it is from.
    target: Option<String>,
}

impl Values {
    fn add(&mut self, field: &Field, value: String, shown: &str) {
        match field.name() {
            "message" => self.message = value,
            "log.target" => self.target = Some(value),
            name if name.starts_with("log.") => {}
            name => {
                // Writing to a text does not fail.
                let _ = write!(self.shown, " {name}={shown}");
                self.fields.push((name, value));
            }
        }
    }
}

impl Visit for Values {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned(), &format!("{value:?}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = format!("{value:?}");
        self.add(field, value.clone(), &value);
    }
}

/// Standard error, for the log. An event, which the subscriber writes as one, must not look like
/// several, nor command the terminal; its own colours do.
struct LogLines {
    colours: bool,
    is_json: bool,
}

impl Write for LogLines {
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.trim_end_matches('\n');
        let lines = match self.colours {
            true => coloured(text),
            false => report::message(text),
        };
        match self.is_json {
            true => writeln!(std::io::stdout().lock(), "{lines}")?,
            false => writeln!(std::io::stderr().lock(), "{lines}")?,
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// An event as a terminal may show it, with the colours and styles that the subscriber writes and no other
/// command: it passes on what a field displays as it is.
fn coloured(event: &str) -> String {
    const STYLES: [&str; 9] = [
        "[0m", "[1m", "[2m", "[3m", "[31m", "[32m", "[33m", "[34m", "[35m",
    ];
    let mut parts = event.split('\u{1b}');
    let mut lines = report::message(parts.next().unwrap_or_default());
    for part in parts {
        match STYLES.into_iter().find(|style| part.starts_with(style)) {
            Some(style) => {
                lines.push('\u{1b}');
                lines.push_str(style);
                lines.push_str(&report::message(&part[style.len()..]));
            }
            None => lines.push_str(&report::message(&format!("\u{1b}{part}"))),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<u8>>>);

    impl Write for Said {
        fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
            let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            said.extend(event);
            Ok(event.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_value_in_a_coloured_log_line_commands_no_terminal() {
        let said = Said::default();
        let writer = said.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(true)
            .with_writer(move || writer.clone())
            .finish();
        let odd = "a\u{202e}b\u{1b}[2J\u{1b}[8mc\u{7}\r\u{9b}d\ne";
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(value = %odd, text = odd, "it says {odd}");
        });
        let event = said.0.lock().unwrap_or_else(PoisonError::into_inner);
        let event = String::from_utf8_lossy(&event).into_owned();

        let shown = coloured(event.trim_end_matches('\n'));

        assert!(shown.contains("\u{1b}[33m"), "{shown:?}");
        for command in [
            "\u{1b}[2J",
            "\u{1b}[8m",
            "\u{202e}",
            "\u{7}",
            "\r",
            "\u{9b}",
        ] {
            assert!(!shown.contains(command), "{command:?}: {shown:?}");
        }
        let mut lines = shown.lines().skip(1);
        assert!(lines.all(|line| line.starts_with("  ")), "{shown:?}");
        // What is no colour is none of the subscriber's.
        assert_eq!(coloured("a\u{1b}[2Jb\u{1b}"), "a\\u001b[2Jb\\u001b");
    }

    /// The one entry that a journal is told.
    fn told(tell: impl FnOnce()) -> BTreeMap<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let layer = Journal::connect(path).unwrap();
        let mut entry = vec![0; 1 << 20];
        assert_eq!(journal.recv(&mut entry).unwrap(), 0);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), tell);
        journal.set_nonblocking(true).unwrap();
        let length = journal.recv(&mut entry).unwrap();
        let mut rest = &entry[..length];
        let mut fields = BTreeMap::new();
        while let Some(end) = rest.iter().position(|&octet| octet == b'\n') {
            let (name, tail) = rest.split_at(end);
            let (length, tail) = tail[1..].split_at(8);
            let length = u64::from_le_bytes(length.try_into().unwrap());
            let (value, tail) = tail.split_at(usize::try_from(length).unwrap());
            assert_eq!(tail[0], b'\n');
            let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
            fields.insert(text(name), text(value));
            rest = &tail[1..];
        }
        assert_eq!(rest, b"");
        fields
    }

    #[test]
    fn an_entry_of_the_journal_has_its_values_as_fields_and_commands_no_terminal() {
        let fields = told(|| {
            let (run, dn) = (7, "cn=a\u{1b}[2J\nb");
            tracing::warn!(%run, dn, hold = ?Some(1), "refused: \u{202e}why\nPRIORITY=0");
        });
        let expected = [
            ("DIRSYNCD_DN", "cn=a\\u001b[2J\nb"),
            ("DIRSYNCD_HOLD", "Some(1)"),
            ("DIRSYNCD_RUN", "7"),
            (
                "MESSAGE",
                "refused: \\u202ewhy\n  PRIORITY=0 run=7 dn=\"cn=a\\u{1b}[2J\\nb\" hold=Some(1)",
            ),
            ("PRIORITY", "4"),
            ("SYSLOG_IDENTIFIER", "dirsyncd"),
            ("TARGET", module_path!()),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(fields, BTreeMap::from(expected));
    }

    #[test]
    fn a_level_is_a_priority() {
        let priority = |tell: fn()| told(tell)["PRIORITY"].clone();
        assert_eq!(priority(|| tracing::error!("it")), "3");
        assert_eq!(priority(|| tracing::info!("it")), "6");
        assert_eq!(priority(|| tracing::debug!("it")), "7");
    }

    #[test]
    fn what_is_too_long_for_the_journal_is_cut_and_not_lost() {
        let long = "ü".repeat(1 << 20);
        let fields = told(|| tracing::info!(long, "it is {long}"));
        assert!(fields["MESSAGE"].starts_with("it is ü"));
        assert_eq!(fields["MESSAGE"].len(), SHORT);
        assert_eq!(fields["DIRSYNCD_LONG"].len(), SHORT);
    }
}
