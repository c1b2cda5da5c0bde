//! How `[guards]` is checked.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::config::spanned::Spanned;
use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use chrono_tz::Tz;
use toml::value::Datetime;

use super::written::{FreezeFile, GuardsFile, LimitFile, LimitsFile};
use super::{Checked, Reader, unknown};
use crate::config::{Freeze, Guard, Guards, Limit, NamePattern, Per, Window};
use crate::model::fold;

const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Reader<'_> {
    /// `zone` is the one of the schedule.
    pub(super) fn guards(&self, file: GuardsFile, zone: Tz) -> Checked<Guards> {
        let GuardsFile {
            create,
            update,
            deactivate,
            delete,
            change_email,
            same_attribute,
            remove_members,
            protected,
            protected_groups,
            administrators,
            freeze,
            hold_expiry,
        } = file;
        let mut guards = Guards::default();
        for (guard, limits) in [
            (Guard::Create, create),
            (Guard::Update, update),
            (Guard::Deactivate, deactivate),
            (Guard::Delete, delete),
            (Guard::ChangeEmail, change_email),
            (Guard::SameAttribute, same_attribute),
            (Guard::RemoveMembers, remove_members),
        ] {
            if let Some(limits) = limits {
                let span = limits.span();
                let limits = match limits.into_inner() {
                    LimitsFile::One(limit) => vec![self.limit(guard, span, limit)?],
                    LimitsFile::Many(limits) => limits
                        .into_iter()
                        .map(|limit| self.limit(guard, limit.span(), limit.into_inner()))
                        .collect::<Checked<_>>()?,
                };
                guards.limits.insert(guard, limits);
            }
        }
        for name in [&protected, &protected_groups, &administrators]
            .into_iter()
            .flatten()
        {
            if name.get_ref().trim().is_empty() {
                return self.refuse(name.span(), "a name is not empty: give one, or take it out");
            }
        }
        if let Some(name) = administrators.iter().find(|n| n.get_ref().contains('*')) {
            return self.refuse(
                name.span(),
                "`administrators` are named one by one, without `*`: each group keeps an active member of its own",
            );
        }
        guards.protected = protected.iter().map(|who| fold(who.get_ref())).collect();
        guards.protected_groups = protected_groups
            .iter()
            .map(|pattern| NamePattern::new(pattern.get_ref()))
            .collect();
        guards.administrators = administrators
            .into_iter()
            .map(Spanned::into_inner)
            .collect();
        guards.freezes = freeze
            .into_iter()
            .map(|freeze| self.freeze(freeze, zone))
            .collect::<Checked<_>>()?;
        if let Some(text) = hold_expiry {
            guards.hold_expiry = self.time_delta(&text)?;
            if guards.hold_expiry.is_zero() {
                return self.refuse(text.span(), "a hold is open for longer than zero");
            }
        }
        Ok(guards)
    }

    pub(super) fn limit(
        &self,
        guard: Guard,
        span: Range<usize>,
        file: LimitFile,
    ) -> Checked<Limit> {
        let LimitFile {
            always,
            percent,
            at_most,
            population,
            per,
        } = file;
        if percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
            return self.refuse(span, "`percent` is from 0 to 100");
        }
        if percent.is_none() && at_most.is_none() {
            return self.refuse(
                span,
                "give `percent`, `at_most` or both: `always` alone sets no limit (an empty list lets everything through)",
            );
        }
        if population > 0 && percent.is_none() {
            return self.refuse(
                span,
                "`population` is the smallest in which `percent` applies, and there is no `percent`",
            );
        }
        if guard == Guard::RemoveMembers && !matches!(per, Per::Whole | Per::Group) {
            return self.refuse(
                span,
                "`remove_members` is counted per \"whole\" or \"group\"",
            );
        }
        if guard != Guard::RemoveMembers && per == Per::Group {
            return self.refuse(
                span,
                "per = \"group\" is for `remove_members`; this is counted per \"whole\", \"source\", \"ou\" or \"domain\"",
            );
        }
        Ok(Limit {
            always,
            percent,
            at_most,
            population,
            per,
        })
    }

    fn freeze(&self, file: Spanned<FreezeFile>, zone: Tz) -> Checked<Freeze> {
        let span = file.span();
        let FreezeFile {
            from,
            to,
            days,
            hours,
            time_zone,
            what,
        } = file.into_inner();
        let zone = match time_zone {
            Some(name) => self.time_zone(&name)?,
            None => zone,
        };
        let window = match (from, to, days, hours) {
            (Some(from), Some(to), None, None) => self.once(&from, &to)?,
            (None, None, None, None) => {
                return self.refuse(
                    span,
                    "say when: `from` and `to`, or `days`, `hours` or both",
                );
            }
            (None, None, days, hours) => self.weekly(days, hours)?,
            _ => {
                return self.refuse(
                    span,
                    "give `from` together with `to`, and then neither `days` nor `hours`",
                );
            }
        };
        let what = match what {
            None => None,
            Some(what) if what.get_ref().is_empty() => {
                return self.refuse(what.span(), "name at least one kind, or leave `what` out");
            }
            Some(what) if what.get_ref().contains(&Guard::SameAttribute) => {
                return self.refuse(
                    what.span(),
                    "`same_attribute` is a way to count updates: write \"update\"",
                );
            }
            Some(what) => Some(what.into_inner()),
        };
        Ok(Freeze { window, zone, what })
    }

    fn once(&self, from: &Spanned<Datetime>, to: &Spanned<Datetime>) -> Checked<Window> {
        let window = (self.local(from)?, self.local(to)?);
        if window.0 >= window.1 {
            return self.refuse(to.span(), "`to` is later than `from`");
        }
        Ok(Window::Once {
            from: window.0,
            to: window.1,
        })
    }

    /// A local date and time: the zone has a key of its own.
    fn local(&self, written: &Spanned<Datetime>) -> Checked<NaiveDateTime> {
        let moment = match written.get_ref() {
            Datetime {
                date: Some(date),
                time: Some(time),
                offset: None,
            } => NaiveDate::from_ymd_opt(date.year.into(), date.month.into(), date.day.into())
                .and_then(|date| {
                    let second = time.second.unwrap_or_default();
                    date.and_hms_opt(time.hour.into(), time.minute.into(), second.into())
                }),
            _ => None,
        };
        moment.map_or_else(
            || {
                self.refuse(
                    written.span(),
                    "write a local date and time without an offset, such as 2026-12-24T12:00:00; the time zone is `time_zone`",
                )
            },
            Ok,
        )
    }

    fn weekly(
        &self,
        days: Option<Spanned<Vec<String>>>,
        hours: Option<Spanned<String>>,
    ) -> Checked<Window> {
        let days = match days {
            None => (0..7).collect(),
            Some(days) => self.weekdays(&days)?,
        };
        let (start, length) = match hours {
            None => (TimeDelta::zero(), TimeDelta::days(1)),
            Some(hours) => {
                let span = hours.span();
                let between = hours.get_ref().split_once('-');
                let parsed = between.and_then(|(start, end)| {
                    Some((time_of_day(start.trim())?, time_of_day(end.trim())?))
                });
                match parsed {
                    Some((start, end)) if start < TimeDelta::days(1) => {
                        let length = if end > start {
                            end - start
                        } else {
                            end + TimeDelta::days(1) - start
                        };
                        (start, length)
                    }
                    _ => return self.bad_hours(span),
                }
            }
        };
        Ok(Window::Weekly {
            days,
            start,
            length,
        })
    }

    fn bad_hours<T>(&self, span: Range<usize>) -> Checked<T> {
        self.refuse(
            span,
            "write `hours` as \"18:00-08:00\", from 00:00 to 24:00; an end that is not later than the start is on the next day",
        )
    }

    fn weekdays(&self, days: &Spanned<Vec<String>>) -> Checked<BTreeSet<u32>> {
        if days.get_ref().is_empty() {
            return self.refuse(days.span(), "name at least one day, or leave `days` out");
        }
        days.get_ref()
            .iter()
            .map(|day| {
                let found = WEEKDAYS.iter().zip(0..).find(|(name, _)| **name == *day);
                found.map_or_else(
                    || self.refuse(days.span(), unknown("weekday", day, &WEEKDAYS)),
                    |(_, number)| Ok(number),
                )
            })
            .collect()
    }
}

/// `HH:MM` as the time since midnight, up to 24:00.
fn time_of_day(text: &str) -> Option<TimeDelta> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| -> Option<i64> {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits)
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let time = TimeDelta::minutes(hours * 60 + minutes);
    (minutes < 60 && time <= TimeDelta::days(1)).then_some(time)
}
