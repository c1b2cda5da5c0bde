//! How the tables about a run are checked: `[policy]`, `[schedule]` and `[log]`.

use chrono_tz::Tz;
use toml::Spanned;

use super::written::{LogFile, PolicyFile, ScheduleFile};
use super::{Checked, Reader, nearest};
use crate::config::{Log, LogFormat, Policy, Schedule};

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

    pub(super) fn schedule(&self, file: ScheduleFile) -> Checked<Schedule> {
        let zone = match &file.time_zone {
            None => Tz::UTC,
            Some(zone) => self.time_zone(zone)?,
        };
        self.check(file.sync.span(), Schedule::parse(file.sync.get_ref(), zone))
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
