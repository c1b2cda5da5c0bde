//! The command line: arguments, exit codes, one file a verb; no logic.
//!
//! Floor 9.

mod approve;
mod backup;
mod check;
mod completions;
mod demo;
mod explain;
mod history;
mod holds;
mod init;
mod log;
mod map;
mod output;
mod pause;
mod plan;
mod progress;
mod prune;
mod reconcile;
mod rehearse;
mod retry;
mod revert;
mod run;
mod simulate;
mod status;
mod sync;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use nix::unistd::Uid;

use crate::apply::Shutdown;
use crate::config::{Config, MailTls, SourceKind, Way, is_loopback, user_name};
use crate::daemon::AskError;
use crate::model::Invoker;
use crate::pull::Depth;
use crate::report::{self, Detail};
use crate::run::{Ended, Orders, RunError, Setup};

use log::start_log;

/// How long a sync that is under way is waited for by whoever writes a word into the database.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many threads do what is to be done at once.
const WORKERS: usize = 4;

/// How many more do what takes its time; what else there is to do waits. Each may have a database open, which has a
/// thread of its own: with the workers, the main thread and the databases of a job they are fewer than `TasksMax=` of
/// the unit (`deploy/systemd/dirsyncd.service`), however many connections ask the daemon for something.
const ASIDE: usize = 48;

const EXIT_CODES: &str = "\
Exit codes:
   0  done; a dry run was made, nothing was to do, or a sync was stopped by a signal, within 10 s;
      the next one goes on from there
   1  failed; nothing was changed unless the message says so
   2  wrong usage or configuration
   3  something was refused or is held by a guard, or is in quarantine; what is safe was done;
      `reconcile`: something is only told, or an account waits to be claimed
   4  some operations failed, or the budget of the run was used up; later runs go on from there
  10  changes are pending (only `plan --detailed-exitcode`)";

/// Keeps the managed accounts of an Atlassian Cloud organization in step with an LDAP directory.
#[derive(Parser)]
#[command(name = "dirsyncd", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show what a sync would do; changes nothing anywhere
    #[command(after_help = EXIT_CODES)]
    Plan(plan::Arguments),
    /// Sync once
    #[command(after_help = EXIT_CODES)]
    Sync(sync::Arguments),
    /// Run as a daemon: sync on the schedule of the configuration until SIGTERM or SIGINT
    #[command(after_help = EXIT_CODES)]
    Run(run::Arguments),
    /// Tell how the daemon stands: what it does, what comes next, when it last was all well
    #[command(after_help = status::EXIT_CODES)]
    Status(status::Arguments),
    /// Let the daemon start no more jobs, until `dirsyncd resume`, over restarts too
    #[command(after_help = EXIT_CODES)]
    Pause(pause::Arguments),
    /// Let the daemon start jobs again
    #[command(after_help = EXIT_CODES)]
    Resume(pause::ResumeArguments),
    /// List what the guards hold, from the database alone
    #[command(after_help = EXIT_CODES)]
    Holds(holds::Arguments),
    /// Let what a hold holds through: once, in the next sync
    #[command(after_help = EXIT_CODES)]
    Approve(approve::Arguments),
    /// Let go again what has failed for a person or a group: at once, in the next sync
    #[command(after_help = EXIT_CODES)]
    Retry(retry::Arguments),
    /// Undo what a run did, as far as it is still so and can be undone
    #[command(after_help = EXIT_CODES)]
    Revert(revert::Arguments),
    /// Read the organization back, and tell or take over what was changed there by hand
    #[command(after_help = EXIT_CODES)]
    Reconcile(reconcile::Arguments),
    /// Copy the database to a file, also while a run writes to it
    #[command(after_help = EXIT_CODES)]
    Backup(backup::Arguments),
    /// Take out of the journal what is old and not needed any more, as syncs do once a day
    #[command(after_help = EXIT_CODES)]
    Prune(prune::Arguments),
    /// Write a first configuration, from what the LDAP server tells of itself and a few answers
    #[command(after_help = EXIT_CODES)]
    Init(init::Arguments),
    /// Check configuration, directory, API keys and database, and tell about each
    #[command(after_help = EXIT_CODES)]
    Check(check::Arguments),
    /// Show what the mapping makes of an entry, step by step; changes nothing anywhere
    #[command(after_help = map::EXIT_CODES)]
    Map(map::Arguments),
    /// Tell what is known of one person and why the account is as it is, from the database alone
    #[command(after_help = EXIT_CODES)]
    Explain(explain::Arguments),
    /// Tell what was written to the organization, when, why, by whom and with which answer, from the
    /// database alone
    #[command(after_help = EXIT_CODES)]
    History(history::Arguments),
    /// Rehearse a sync: for real, but against a copy of the organization in a private simulator
    #[command(after_help = EXIT_CODES)]
    Rehearse(rehearse::Arguments),
    /// Serve a simulator of the organization's admin API
    Simulate(simulate::Arguments),
    /// Show dirsyncd at work on a made-up company; needs no server, account or network
    Demo(demo::Arguments),
    /// Print what a shell completes the words of this program by
    Completions(completions::Arguments),
}

#[derive(Args)]
struct ConfigArgument {
    /// The configuration file
    #[arg(
        short = 'c',
        long = "config",
        value_name = "FILE",
        default_value = "/etc/dirsyncd/config.toml",
        env = "DIRSYNCD_CONFIG"
    )]
    path: PathBuf,
}

#[derive(Args)]
struct OrderArguments {
    /// Read every source in full, also where a pull of what changed would do
    #[arg(long)]
    full: bool,
    /// Let those depart whom a change of the configuration has put out of scope, and let groups follow
    /// it too
    #[arg(long)]
    accept_scope_change: bool,
    /// Look at one person alone: by key, e-mail address, user name or DN
    #[arg(long, value_name = "KEY|MAIL|DN", conflicts_with = "full")]
    user: Option<String>,
}

impl OrderArguments {
    fn orders(&self) -> Orders<'_> {
        Orders {
            depth: if self.full {
                Depth::Full
            } else {
                Depth::Changes
            },
            accepts_scope_change: self.accept_scope_change,
            person: self.user.as_deref(),
        }
    }
}

/// The documented exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Refused = 3,
    SomeFailed = 4,
    Pending = 10,
}

/// What ends a verb early.
struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    fn usage(error: impl std::fmt::Display) -> Self {
        Failure {
            exit: Exit::Usage,
            message: error.to_string(),
        }
    }

    fn failed(error: impl std::fmt::Display) -> Self {
        Failure {
            exit: Exit::Failed,
            message: error.to_string(),
        }
    }
}

impl From<Ended> for Exit {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Done => Exit::Done,
            Ended::Failed => Exit::Failed,
            Ended::Usage => Exit::Usage,
            Ended::Refused => Exit::Refused,
            Ended::SomeFailed => Exit::SomeFailed,
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Failure {
            exit: error.ended().into(),
            message: error.to_string(),
        }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        Failure {
            exit: error.ended().into(),
            message: error.to_string(),
        }
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Fails only when a provider is installed already, which is then as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Whatever the machine has: the unit has a limit (TasksMax=), and there is less to do at once.
        .worker_threads(WORKERS)
        .max_blocking_threads(ASIDE)
        // As much as the main thread has: a dry run of the daemon is made in another one.
        .thread_stack_size(8 * 1024 * 1024)
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(verb(cli.verb)),
        Err(error) => Err(Failure::failed(format!("cannot start: {error}"))),
    };
    let exit = result.unwrap_or_else(|failure| {
        log::fail(&failure.message);
        failure.exit
    });
    // What was to be done is done all the same; but whoever reads the report has half of it.
    let exit = match UNWRITTEN.get() {
        None => exit,
        Some(why) => {
            log::fail(&format!(
                "standard output takes no more ({why}): what it was to show is lost, nothing else; the exit code would have been {}",
                exit as u8
            ));
            Exit::Failed
        }
    };
    ExitCode::from(exit as u8)
}

/// Whether the program takes these words, of which the first is its name; what is wrong with them otherwise.
pub fn check_words<I: IntoIterator<Item: Into<OsString> + Clone>>(words: I) -> Result<(), String> {
    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
    match Cli::try_parse_from(words) {
        Err(error) if !matches!(error.kind(), DisplayHelp | DisplayVersion) => {
            Err(error.to_string())
        }
        _ => Ok(()),
    }
}

async fn verb(verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Plan(arguments) => Box::pin(plan::run(arguments)).await,
        Verb::Sync(arguments) => Box::pin(sync::run(arguments)).await,
        Verb::Run(arguments) => Box::pin(run::run(arguments)).await,
        Verb::Status(arguments) => Box::pin(status::run(arguments)).await,
        Verb::Pause(arguments) => Box::pin(pause::run(arguments)).await,
        Verb::Resume(arguments) => Box::pin(pause::resume(arguments)).await,
        Verb::Holds(arguments) => Box::pin(holds::run(arguments)).await,
        Verb::Approve(arguments) => Box::pin(approve::run(arguments)).await,
        Verb::Retry(arguments) => Box::pin(retry::run(arguments)).await,
        Verb::Revert(arguments) => Box::pin(revert::run(arguments)).await,
        Verb::Reconcile(arguments) => Box::pin(reconcile::run(arguments)).await,
        Verb::Backup(arguments) => Box::pin(backup::run(arguments)).await,
        Verb::Prune(arguments) => Box::pin(prune::run(arguments)).await,
        Verb::Check(arguments) => Box::pin(check::run(arguments)).await,
        Verb::Map(arguments) => Box::pin(map::run(arguments)).await,
        Verb::Explain(arguments) => Box::pin(explain::run(arguments)).await,
        Verb::History(arguments) => Box::pin(history::run(arguments)).await,
        Verb::Rehearse(arguments) => Box::pin(rehearse::run(arguments)).await,
        Verb::Simulate(arguments) => Box::pin(simulate::run(arguments)).await,
        Verb::Demo(arguments) => Box::pin(demo::run(arguments)).await,
        Verb::Init(arguments) => Box::pin(init::run(arguments)).await,
        Verb::Completions(arguments) => completions::run(&arguments),
    }
}

/// Who runs this process.
fn invoker() -> Invoker {
    let uid = Uid::current();
    Invoker {
        name: user_name(uid),
        uid: uid.as_raw(),
        sudo_user: std::env::var("SUDO_USER").ok(),
    }
}

/// Reads the configuration and compiles its mappings.
fn load(argument: &ConfigArgument) -> Result<Setup, Failure> {
    load_from(&argument.path)
}

fn load_from(path: &Path) -> Result<Setup, Failure> {
    let config = Config::load(path).map_err(Failure::usage)?;
    // A fault in a mapping is told with its place in the file.
    let source = config.clone();
    let setup = Setup::new(config)
        .map_err(|error| Failure::usage(source.invalid(error.span.clone(), error.to_string())))?;
    for (what, place) in in_the_clear(&setup.config) {
        say(&format!(
            "dirsyncd: warning: `plaintext = true`: {what} cross the network to {place} readable by anyone\n"
        ));
    }
    Ok(setup)
}

/// What goes out without TLS, as the configuration says so, and where to.
fn in_the_clear(config: &Config) -> Vec<(&'static str, String)> {
    let sources = config
        .sources
        .iter()
        .filter_map(|source| match &source.kind {
            SourceKind::Ldap(server) if server.plaintext => {
                Some(("entries and the password of the bind", server.place()))
            }
            _ => None,
        });
    let channels = config.notify.channels.iter();
    let channels = channels.filter_map(|channel| match &channel.way {
        Way::Webhook { url, .. } if url.scheme() == "http" => {
            let host = url.host_str().filter(|host| !is_loopback(host))?;
            Some(("notifications", host.to_owned()))
        }
        Way::Email(email) if email.tls == MailTls::None => {
            let what = match email.login {
                Some(_) => "notifications and the password of the mail server",
                None => "notifications",
            };
            Some((what, email.host.clone()))
        }
        _ => None,
    });
    sources.chain(channels).collect()
}

/// Why standard output takes no more, the first time.
static UNWRITTEN: OnceLock<String> = OnceLock::new();

/// Writes a result to standard output.
fn print(text: &str) {
    show(&report::printable(text));
}

/// Writes a report of [`detail`] to standard output: its colours are its own, and what came from elsewhere was
/// made harmless in it.
fn show(text: &str) {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has gone away (`| head`) is no failure.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let _ = UNWRITTEN.set(error.to_string());
        }
        _ => {}
    }
}

/// How a report is laid out on standard output: in colours and as wide as the terminal, where it is one and
/// nothing says otherwise (`NO_COLOR`, `CLICOLOR`, `TERM`).
fn detail(limit: Option<usize>) -> Detail {
    let out = std::io::stdout();
    let width = out.is_terminal().then(terminal_size::terminal_size);
    Detail {
        limit,
        width: width
            .flatten()
            .map(|(width, _)| usize::from(width.0).max(40)),
        has_colour: anstream::AutoStream::choice(&out) != anstream::ColorChoice::Never,
        made_at: None,
    }
}

/// Writes what is not a result to standard error.
fn say(text: &str) {
    let text = report::printable(text);
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// A shutdown that SIGTERM and SIGINT ask for.
fn shutdown_on_signals() -> Result<Shutdown, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let cannot = |error| Failure::failed(format!("cannot listen for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let (sender, shutdown) = Shutdown::new();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // The receiver is gone only when the program ends anyway.
        let _ = sender.send(true);
        // Whoever asks twice does not want to wait for the answers that are under way; the journal
        // knows of them.
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(Exit::Failed as i32);
    });
    Ok(shutdown)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory;
    use clap_mangen::Man;

    use super::*;
    use crate::fixture::expect_made;

    /// The manual page, of all verbs on one: who looks for an option finds it by a search.
    fn manual() -> String {
        let mut cli = Cli::command().disable_help_subcommand(true);
        cli.build();
        let mut page = Vec::new();
        let whole = Man::new(cli.clone())
            .date("")
            .manual("Directory synchronization");
        whole.render_title(&mut page).unwrap();
        whole.render_name_section(&mut page).unwrap();
        whole.render_synopsis_section(&mut page).unwrap();
        whole.render_description_section(&mut page).unwrap();
        let mut page = String::from_utf8(page).unwrap();
        for verb in cli.get_subcommands() {
            let (name, verb) = (verb.get_name().to_uppercase(), Man::new(verb.clone()));
            let mut section = Vec::new();
            verb.render_synopsis_section(&mut section).unwrap();
            verb.render_description_section(&mut section).unwrap();
            verb.render_options_section(&mut section).unwrap();
            let section = String::from_utf8(section).unwrap();
            page += &format!(".SH {name}\n{}", section.replace(".SH ", ".SS "));
        }
        let (_, codes) = EXIT_CODES.split_once('\n').unwrap();
        page + &format!(
            ".SH \"EXIT CODES\"\n.nf\n{codes}\n.fi\n.SH FILES\n/etc/dirsyncd/config.toml\n.br\n/etc/dirsyncd/credentials/\n.br\n/var/lib/dirsyncd/dirsyncd.db\n"
        )
    }

    /// The chapter of the command line: all verbs, as `--help` tells them.
    fn command_line() -> String {
        let mut cli = Cli::command().disable_help_subcommand(true).term_width(100);
        cli.build();
        let mut page = format!(
            "# The command line\n\n{MADE}\n`--help` of each verb shows the same. The exit codes are in [a chapter of their own](exit-codes.md).\n"
        );
        for verb in cli.get_subcommands() {
            // Exit codes that are the verb's own stay.
            let own = verb.get_after_help().map(ToString::to_string);
            let own = own.filter(|codes| codes != EXIT_CODES).unwrap_or_default();
            // Whatever is set where this is made.
            let mut verb = verb
                .clone()
                .after_help(own)
                .mut_args(|option| option.hide_env_values(true));
            let name = verb.get_name().to_owned();
            let help = verb.render_help().to_string();
            let help: String = help
                .lines()
                .map(|line| format!("{}\n", line.trim_end()))
                .collect();
            page += &format!(
                "\n## `dirsyncd {name}`\n\n```text\n{}\n```\n",
                help.trim_end()
            );
        }
        page
    }

    /// The chapter of the exit codes.
    fn exit_codes() -> String {
        fn table(codes: &str) -> String {
            let mut rows: Vec<(String, String)> = Vec::new();
            for line in codes.lines().skip(1) {
                let (code, meaning) = line.split_at(5);
                match (code.trim(), rows.last_mut()) {
                    ("", Some((_, before))) => *before += &format!(" {}", meaning.trim()),
                    (code, _) => rows.push((code.to_owned(), meaning.trim().to_owned())),
                }
            }
            let rows = rows
                .iter()
                .map(|(code, meaning)| format!("| {code} | {meaning} |\n"));
            format!(
                "| code | meaning |\n| --- | --- |\n{}",
                rows.collect::<String>()
            )
        }
        format!(
            "# Exit codes\n\n{MADE}\n{}\n2 is also the end of a command that is to ask a daemon which has no socket (`socket = false`); 3 of `dirsyncd reconcile` when hand changes are only told, and of `dirsyncd sync --plan FILE` when rows of it had moved on; 4 of `dirsyncd prune` when another writer has kept it from the end.\n\n## `dirsyncd map`\n\n{}\n## `dirsyncd status`\n\n{}",
            table(EXIT_CODES),
            table(map::EXIT_CODES),
            table(status::EXIT_CODES)
        )
    }

    /// What stands at the head of what is made.
    const MADE: &str = "<!-- Made from the program by its tests: INSTA_UPDATE=always cargo test --lib made_from -->\n";

    #[test]
    fn the_manual_page_is_made_from_what_the_program_takes() {
        expect_made("docs/dirsyncd.1", &manual());
    }

    #[test]
    fn the_completions_are_made_from_what_the_program_takes() {
        use clap::ValueEnum;
        for shell in completions::Shell::value_variants() {
            let path = format!("docs/completions/{}", shell.file());
            expect_made(&path, &shell.script());
        }
    }

    #[test]
    fn the_chapters_of_the_book_are_made_from_what_the_program_takes() {
        expect_made("docs/src/reference/command-line.md", &command_line());
        expect_made("docs/src/reference/exit-codes.md", &exit_codes());
    }
}
