//! How the tables about a run are checked: `[policy]`, `[apply]`, `[reconcile]`, `[journal]`,
//! `[schedule]`, `[daemon]` and `[log]`.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::config::spanned::Spanned;
use chrono::TimeDelta;
use chrono_tz::Tz;

use super::written::{
    AdoptFile, ApplyFile, ConfirmationFile, DaemonFile, JobFile, JobTableFile, JournalFile,
    LogFile, OneOrMany, PathOrNoneFile, PolicyFile, ReconcileFile, ScheduleFile, TimeOrNeverFile,
};
use super::{Checked, Reader, nearest, unknown};
use crate::config::{
    Adopt, Apply, Confirmation, Daemon, Guard, Job, Journal, LEAST_CALLS, Listen, Log, OnLeave,
    Per, Policy, Reconcile, Schedule, Scheduled,
};
use crate::model::{Attribute, Cause};

impl Reader<'_> {
    /// A policy; what it does not say is as in `default`.
    pub(super) fn policy(
        &self,
        file: PolicyFile,
        default: Policy,
        has_admin_key: bool,
    ) -> Checked<Policy> {
        let mut on_leave = file.on_leave.map_or(default.on_leave, OnLeave::all);
        for (cause, departure) in [
            (Cause::Deleted, file.on_deleted),
            (Cause::MovedOut, file.on_moved_out),
            (Cause::Unmatched, file.on_unmatched),
            (Cause::Ungrouped, file.on_ungrouped),
            (Cause::Excluded, file.on_excluded),
            (Cause::Rescoped, file.on_rescoped),
        ] {
            if let Some(departure) = departure {
                on_leave.set(cause, departure);
            }
        }
        Ok(Policy {
            on_leave,
            on_disabled: file.on_disabled.unwrap_or(default.on_disabled),
            on_unreadable: file.on_unreadable.unwrap_or(default.on_unreadable),
            on_return: file.on_return.unwrap_or(default.on_return),
            on_rename: file.on_rename.unwrap_or(default.on_rename),
            on_email_change: file.on_email_change.unwrap_or(default.on_email_change),
            on_source_change: file.on_source_change.unwrap_or(default.on_source_change),
            deactivate_after: match file.deactivate_after {
                None => default.deactivate_after,
                Some(after) => self.confirmation(after)?,
            },
            delete_after: match file.delete_after {
                None => default.delete_after,
                Some(after) => self.delete_after(after, has_admin_key)?,
            },
            adopt: match file.adopt {
                None => default.adopt,
                Some(adopt) => self.adopt(adopt)?,
            },
            match_by: match file.match_by {
                None => default.match_by,
                Some(rules) => self.match_by(&rules)?,
            },
            rehire_within: match file.rehire_within {
                None => default.rehire_within,
                Some(time) => self.time_delta(&time)?,
            },
            recycle_after: match file.recycle_after {
                None => default.recycle_after,
                Some(time) => Some(self.time_delta(&time)?),
            },
        })
    }

    fn confirmation(&self, file: Spanned<ConfirmationFile>) -> Checked<Confirmation> {
        let span = file.span();
        let (pulls, time) = match file.into_inner() {
            ConfirmationFile::Time(time) => (None, Some(time)),
            ConfirmationFile::Both(table) => (table.pulls, table.time),
        };
        let default = Confirmation::default();
        let pulls = pulls.unwrap_or(default.pulls);
        if pulls == 0 {
            return self.refuse(span, "`pulls` is 1 or more: no one leaves unseen");
        }
        let time = match time {
            None => default.time,
            Some(time) => self.time_delta(&Spanned::new(span, time))?,
        };
        Ok(Confirmation { pulls, time })
    }

    fn delete_after(
        &self,
        file: Spanned<TimeOrNeverFile>,
        has_admin_key: bool,
    ) -> Checked<Option<TimeDelta>> {
        let span = file.span();
        match file.into_inner() {
            TimeOrNeverFile::Never(false) => Ok(None),
            TimeOrNeverFile::Never(true) => {
                self.refuse(span, "say after how long, such as \"90days\", or false for never")
            }
            TimeOrNeverFile::Time(_) if !has_admin_key => self.refuse(
                span,
                "`delete_after` needs `admin_key` in [organization]: accounts are deleted through the user-management API",
            ),
            TimeOrNeverFile::Time(text) => Ok(Some(self.time_delta(&Spanned::new(span, text))?)),
        }
    }

    fn adopt(&self, file: Spanned<AdoptFile>) -> Checked<Adopt> {
        match file.get_ref() {
            AdoptFile::Switch(true) => Ok(Adopt::Any),
            AdoptFile::Switch(false) => Ok(Adopt::Off),
            AdoptFile::Named(name) if name == "unowned" => Ok(Adopt::Unowned),
            AdoptFile::Named(_) => self.refuse(
                file.span(),
                "`adopt` is true, \"unowned\" (only accounts without another provisioner's key) or false",
            ),
        }
    }

    fn match_by(&self, rules: &Spanned<Vec<OneOrMany>>) -> Checked<Vec<Vec<Attribute>>> {
        let known: Vec<&str> = Attribute::ALL
            .iter()
            .map(|attribute| attribute.name())
            .collect();
        let attribute = |name: &String| match name.parse() {
            Ok(attribute) => Ok(attribute),
            Err(_) => self.refuse(rules.span(), unknown("attribute", name, &known)),
        };
        let rule = |rule: &OneOrMany| match rule.texts() {
            [] => self.refuse(rules.span(), "a rule compares at least one attribute"),
            names => names.iter().map(attribute).collect(),
        };
        rules.get_ref().iter().map(rule).collect()
    }

    pub(super) fn apply(&self, file: ApplyFile) -> Checked<Apply> {
        let ApplyFile {
            quarantine_after,
            max_calls,
            deadline,
        } = file;
        let default = Apply::default();
        let quarantine_after = match quarantine_after {
            None => default.quarantine_after,
            Some(count) if *count.get_ref() == 0 => {
                return self.refuse(
                    count.span(),
                    "`quarantine_after` is 1 or more: an operation is tried at least once",
                );
            }
            Some(count) => count.into_inner(),
        };
        let max_calls = match max_calls {
            Some(most) if *most.get_ref() < LEAST_CALLS => {
                return self.refuse(
                    most.span(),
                    format!("`max_calls` is {LEAST_CALLS} or more; leave it out for no limit"),
                );
            }
            most => most.map(Spanned::into_inner),
        };
        let deadline = match deadline {
            None => None,
            Some(text) => {
                let deadline = self.time_delta(&text)?;
                if deadline.is_zero() {
                    return self.refuse(text.span(), "a deadline is longer than zero");
                }
                Some(deadline)
            }
        };
        Ok(Apply {
            quarantine_after,
            max_calls,
            deadline,
        })
    }

    /// What the daemon does when, and the time zone of the whole.
    pub(super) fn schedule(&self, file: Spanned<ScheduleFile>) -> Checked<(Vec<Scheduled>, Tz)> {
        let span = file.span();
        let ScheduleFile {
            sync,
            full,
            reconcile,
            prune,
            time_zone,
            jitter,
            at_start,
            catch_up,
        } = file.into_inner();
        let zone = match &time_zone {
            None => Tz::UTC,
            Some(zone) => self.time_zone(zone)?,
        };
        let jitter = match &jitter {
            None => Duration::ZERO,
            Some(jitter) => self.duration(jitter)?,
        };
        let written = |job| match job {
            Job::Sync => &sync,
            Job::Full => &full,
            Job::Reconcile => &reconcile,
            Job::Prune => &prune,
        };
        let mut jobs = Vec::new();
        for job in Job::ALL {
            let Some(written) = written(job) else {
                continue;
            };
            let parse = |cron: &str, span, zone| self.check(span, Schedule::parse(cron, zone));
            let mut scheduled = Scheduled {
                job,
                schedule: match written.get_ref() {
                    JobFile::Cron(cron) => parse(cron, written.span(), zone)?,
                    JobFile::Table(JobTableFile {
                        cron, time_zone, ..
                    }) => {
                        let zone = match time_zone {
                            None => zone,
                            Some(zone) => self.time_zone(zone)?,
                        };
                        parse(cron.get_ref(), cron.span(), zone)?
                    }
                },
                jitter,
                at_start: at_start.unwrap_or(false),
                catch_up: catch_up.unwrap_or(true),
            };
            if let JobFile::Table(own) = written.get_ref() {
                if let Some(jitter) = &own.jitter {
                    scheduled.jitter = self.duration(jitter)?;
                }
                scheduled.at_start = own.at_start.unwrap_or(scheduled.at_start);
                scheduled.catch_up = own.catch_up.unwrap_or(scheduled.catch_up);
            }
            let gap = scheduled.schedule.shortest_gap();
            if let Some(gap) = gap.filter(|gap| scheduled.jitter >= *gap) {
                return self.refuse(
                    written.span(),
                    format!(
                        "`jitter` is {}, and between two times of {} there are {}: give it less than that, or a job would be put off past its next time",
                        humantime::format_duration(scheduled.jitter),
                        job.name(),
                        humantime::format_duration(gap)
                    ),
                );
            }
            jobs.push(scheduled);
        }
        if jobs.is_empty() {
            return self.refuse(
                span,
                "there is no job in [schedule]: say when to sync, for example sync = \"*/15 * * * *\"",
            );
        }
        Ok((jobs, zone))
    }

    pub(super) fn daemon(&self, file: DaemonFile, database: &Path) -> Checked<Daemon> {
        let DaemonFile {
            hang_after,
            socket,
            listen,
            token,
        } = file;
        let socket = match socket {
            None => Some(Daemon::default_socket(database)),
            Some(socket) => {
                let span = socket.span();
                match socket.into_inner() {
                    PathOrNoneFile::None(false) => None,
                    PathOrNoneFile::None(true) => {
                        return self.refuse(
                            span,
                            "say where, such as \"/run/dirsyncd/dirsyncd.sock\", or false for no socket",
                        );
                    }
                    PathOrNoneFile::Path(path) => Some(self.resolve(path)),
                }
            }
        };
        let listen = match (listen, token) {
            (None, None) => None,
            (Some(listen), Some(token)) => Some(Listen {
                address: self.loopback(&listen)?,
                token: self.secret(token)?,
            }),
            (Some(listen), None) => {
                return self.refuse(
                    listen.span(),
                    "every user of this machine reaches a port: say by `token` where the secret is that whoever asks has to give",
                );
            }
            (None, Some(token)) => {
                return self.refuse(
                    token.span(),
                    "`token` is for `listen`, which is not set; the socket goes by who asks",
                );
            }
        };
        Ok(Daemon {
            hang_after: self.timeout(hang_after, Daemon::HANG_AFTER)?,
            socket,
            listen,
        })
    }

    /// An address that other machines do not reach.
    fn loopback(&self, listen: &Spanned<String>) -> Checked<SocketAddr> {
        let text = listen.get_ref();
        let Ok(address) = text.parse::<SocketAddr>() else {
            return self.refuse(
                listen.span(),
                format!("`{text}` is no address with a port: write it as \"127.0.0.1:8765\" or \"[::1]:8765\""),
            );
        };
        if !address.ip().is_loopback() {
            return self.refuse(
                listen.span(),
                format!("{} can be reached by other machines: the daemon listens only on a loopback address, such as \"127.0.0.1:8765\"", address.ip()),
            );
        }
        Ok(address)
    }

    pub(super) fn reconcile(&self, file: ReconcileFile) -> Checked<Reconcile> {
        let correct = file.correct.iter();
        let correct = correct.map(|kind| self.check(kind.span(), kind.get_ref().parse()));
        let limit = match file.limit {
            None => Reconcile::default().limit,
            Some(limit) if limit.get_ref().per != Per::Whole => {
                return self.refuse(
                    limit.span(),
                    "`limit` of [reconcile] counts all accounts together: leave `per` out",
                );
            }
            Some(limit) => self.limit(Guard::Update, limit.span(), limit.into_inner())?,
        };
        Ok(Reconcile {
            correct: correct.collect::<Checked<_>>()?,
            limit,
        })
    }

    pub(super) fn journal(&self, file: JournalFile) -> Checked<Journal> {
        let Some(keep) = file.keep else {
            return Ok(Journal::default());
        };
        let span = keep.span();
        let keep = match keep.into_inner() {
            TimeOrNeverFile::Never(false) => None,
            TimeOrNeverFile::Never(true) => {
                return self.refuse(
                    span,
                    "say for how long, such as \"400days\", or false to keep everything",
                );
            }
            TimeOrNeverFile::Time(text) => {
                let keep = self.time_delta(&Spanned::new(span.clone(), text))?;
                if keep < TimeDelta::days(30) {
                    return self.refuse(
                        span,
                        "`keep` is 30 days or more: a run cannot be reverted once it is out of the journal",
                    );
                }
                Some(keep)
            }
        };
        Ok(Journal { keep })
    }

    pub(super) fn time_zone(&self, zone: &Spanned<String>) -> Checked<Tz> {
        self.check(
            zone.span(),
            zone.get_ref().parse().map_err(|_| {
                let known: Vec<&str> = chrono_tz::TZ_VARIANTS
                    .iter()
                    .map(|zone| zone.name())
                    .collect();
                let hint = nearest(zone.get_ref(), &known)
                    .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                format!(
                    "`{}` is no time zone{hint} (names such as Europe/Berlin)",
                    zone.get_ref()
                )
            }),
        )
    }

    pub(super) fn log(&self, file: LogFile) -> Checked<Log> {
        let level = match file.level {
            None => "info".to_owned(),
            Some(level) => {
                self.check(
                    level.span(),
                    tracing_subscriber::EnvFilter::try_new(level.get_ref()).map_err(|_| {
                        format!(
                            "`{}` is no level: write error, warn, info, debug or trace",
                            level.get_ref()
                        )
                    }),
                )?;
                level.into_inner()
            }
        };
        Ok(Log {
            level,
            format: file.format,
        })
    }
}
