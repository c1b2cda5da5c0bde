//! How the tables about a run are checked: `[policy]`, `[guards]`, `[schedule]` and `[log]`.

use toml::Spanned;

use super::written::{GuardsFile, LimitFile, LogFile, PolicyFile, ScheduleFile};
use super::{Checked, Reader, nearest};
use crate::config::{Guards, Limit, Log, LogFormat, Policy, Schedule};

impl Reader<'_> {
    pub(super) fn policy(&self, file: PolicyFile, has_admin_key: bool) -> Checked<Policy> {
        let PolicyFile {
            on_leave,
            on_disabled,
            delete_after,
            adopt,
        } = file;
        let default = Policy::default();
        let delete_after = match delete_after {
            None => None,
            Some(text) if !has_admin_key => {
                return self.refuse(
                    text.span(),
                    "`delete_after` needs `admin_key` in [organization]: accounts are deleted through the user-management API",
                );
            }
            Some(text) => Some(self.time_delta(&text)?),
        };
        Ok(Policy {
            on_leave: on_leave.unwrap_or(default.on_leave),
            on_disabled: on_disabled.unwrap_or(default.on_disabled),
            delete_after,
            adopt: adopt.unwrap_or(default.adopt),
        })
    }

    pub(super) fn guards(&self, file: GuardsFile) -> Checked<Guards> {
        let GuardsFile {
            deactivate,
            delete,
            change_email,
        } = file;
        let default = Guards::default();
        let limit = |file: Option<Spanned<LimitFile>>, default: Limit| match file {
            None => Ok(default),
            Some(file) => {
                let span = file.span();
                let LimitFile {
                    always,
                    percent,
                    at_most,
                } = file.into_inner();
                if percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
                    return self.refuse(span, "`percent` is from 0 to 100");
                }
                if percent.is_none() && at_most.is_none() {
                    return self.refuse(
                        span,
                        "give `percent`, `at_most` or both: `always` alone sets no limit (percent = 100 lets everything through)",
                    );
                }
                Ok(Limit {
                    always,
                    percent,
                    at_most,
                })
            }
        };
        Ok(Guards {
            deactivate: limit(deactivate, default.deactivate)?,
            delete: limit(delete, default.delete)?,
            change_email: limit(change_email, default.change_email)?,
        })
    }

    pub(super) fn schedule(&self, file: ScheduleFile) -> Checked<Schedule> {
        let zone = match file.time_zone {
            None => chrono_tz::Tz::UTC,
            Some(zone) => self.check(
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
            )?,
        };
        self.check(file.sync.span(), Schedule::parse(file.sync.get_ref(), zone))
    }

    pub(super) fn log(&self, file: LogFile) -> Checked<Log> {
        let level = match file.level {
            None => "info".to_owned(),
            Some(level) => {
                self.check(
                    level.span(),
                    tracing_subscriber::EnvFilter::try_new(level.get_ref()).map_err(|error| {
                        format!("{error}; write error, warn, info, debug or trace")
                    }),
                )?;
                level.into_inner()
            }
        };
        Ok(Log {
            level,
            format: file.format.unwrap_or(LogFormat::Text),
        })
    }
}
