//! When which job is to be done next. Pure: the time and chance come from outside.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;

use crate::config::{Job, Scheduled};
use crate::model::Timestamp;
use crate::snapshot::LastJob;

/// So often in a row a job that was broken off is begun anew at the start: one that brings the daemon down waits for
/// its time.
const TRIES: u32 = 3;

/// Why a job is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its time has come.
    Schedule,
    /// The daemon has started, and `at_start` says so.
    Start,
    /// It was missed or broken off while the daemon was away.
    Missed,
    /// A signal asked for it.
    Signal,
    /// Somebody asked for it.
    Asked,
}

impl Why {
    /// What the journal calls it.
    pub(super) fn trigger(self) -> &'static str {
        match self {
            Why::Schedule => "schedule",
            Why::Start => "start",
            Why::Missed => "missed",
            Why::Signal => "signal",
            Why::Asked => "sync",
        }
    }
}

/// What picks a delay up to the longest one.
pub(super) type Chance<'a> = &'a dyn Fn(Duration) -> Duration;

/// The jobs, each with its next time.
pub(super) struct Timers {
    timers: Vec<Timer>,
}

struct Timer {
    scheduled: Scheduled,
    /// `None` when the schedule never comes again.
    due: Option<Timestamp>,
    why: Why,
}

impl Timer {
    fn set(&mut self, now: Timestamp, chance: Chance<'_>) {
        let next = self.scheduled.schedule.next_after(now);
        let jitter = TimeDelta::from_std(chance(self.scheduled.jitter)).unwrap_or_default();
        self.due = next.and_then(|next| next.checked_add_signed(jitter));
        self.why = Why::Schedule;
    }
}

impl Timers {
    /// The timers of a daemon that starts, when the jobs were last done as `done` tells.
    pub(super) fn start(
        schedule: &[Scheduled],
        done: &BTreeMap<Job, LastJob>,
        now: Timestamp,
        chance: Chance<'_>,
    ) -> Self {
        let timers = schedule.iter().map(|scheduled| {
            let mut timer = Timer {
                scheduled: scheduled.clone(),
                due: Some(now),
                why: Why::Start,
            };
            let is_missed = scheduled.catch_up
                && done.get(&scheduled.job).is_some_and(|last| {
                    let next = scheduled.schedule.next_after(last.begun);
                    (1..=TRIES).contains(&last.unended) || next.is_some_and(|next| next <= now)
                });
            if is_missed {
                timer.why = Why::Missed;
            } else if !scheduled.at_start {
                timer.set(now, chance);
            }
            timer
        });
        Timers {
            timers: timers.collect(),
        }
    }

    /// Takes another schedule. What stays as it was keeps its time.
    pub(super) fn take(&mut self, schedule: &[Scheduled], now: Timestamp, chance: Chance<'_>) {
        let timers = schedule.iter().map(|scheduled| {
            let mut former = self.timers.iter();
            let former = former.find(|timer| {
                let Scheduled { job, schedule, .. } = &timer.scheduled;
                (job, schedule) == (&scheduled.job, &scheduled.schedule)
            });
            let mut timer = Timer {
                scheduled: scheduled.clone(),
                due: former.and_then(|timer| timer.due),
                why: former.map_or(Why::Schedule, |timer| timer.why),
            };
            if former.is_none() {
                timer.set(now, chance);
            }
            timer
        });
        self.timers = timers.collect();
    }

    /// What is to be done first, and when.
    pub(super) fn next(&self) -> Option<(Timestamp, Job)> {
        let dues = self.timers.iter();
        let dues = dues.filter_map(|timer| Some((timer.due?, timer.scheduled.job)));
        let place = |job| Job::ALL.iter().position(|other| *other == job);
        dues.min_by_key(|(due, job)| (*due, place(*job)))
    }

    /// Why a job is due.
    pub(super) fn why(&self, job: Job) -> Why {
        let mut timers = self.timers.iter();
        let timer = timers.find(|timer| timer.scheduled.job == job);
        timer.map_or(Why::Schedule, |timer| timer.why)
    }

    /// When each job is due.
    pub(super) fn all(&self) -> impl Iterator<Item = (Job, Option<Timestamp>)> {
        let timers = self.timers.iter();
        timers.map(|timer| (timer.scheduled.job, timer.due))
    }

    /// Sets the next time of a job that was done, however often it was due meanwhile; and of those
    /// that it has done as well.
    pub(super) fn ended(&mut self, job: Job, now: Timestamp, chance: Chance<'_>) {
        for timer in &mut self.timers {
            let other = timer.scheduled.job;
            let is_due = timer.due.is_some_and(|due| due <= now);
            if other == job || (job == Job::Full && other == Job::Sync && is_due) {
                timer.set(now, chance);
            }
        }
    }

    /// Asks the schedules anew, as the clock was set back: what is due may be far away now. What is due
    /// sooner, as it waits for its jitter or for another job, stays so.
    pub(super) fn set_back(&mut self, now: Timestamp, chance: Chance<'_>) {
        for timer in &mut self.timers {
            let (former, why) = (timer.due, timer.why);
            timer.set(now, chance);
            timer.why = why;
            timer.due = timer.due.into_iter().chain(former).min();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use chrono_tz::Tz;

    use super::*;
    use crate::config::Schedule;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-25T{text}:00Z").parse().unwrap()
    }

    fn job(job: Job, cron: &str) -> Scheduled {
        Scheduled {
            job,
            schedule: Schedule::parse(cron, Tz::UTC).unwrap(),
            jitter: Duration::ZERO,
            at_start: false,
            catch_up: true,
        }
    }

    const EXACTLY: Chance<'_> = &|_| Duration::ZERO;

    fn started(schedule: &[Scheduled], done: &[(Job, &str)], now: &str) -> Timers {
        let done = done.iter().map(|(job, text)| (*job, last(text, 0)));
        Timers::start(schedule, &done.collect(), at(now), EXACTLY)
    }

    fn last(begun: &str, unended: u32) -> LastJob {
        LastJob {
            begun: at(begun),
            unended,
        }
    }

    #[test]
    fn what_was_broken_off_is_begun_anew_at_the_start_unless_it_never_comes_to_an_end() {
        let daily = job(Job::Sync, "0 2 * * *");
        let never = Scheduled {
            catch_up: false,
            ..daily.clone()
        };
        let now = at("02:05");
        let tomorrow = now + TimeDelta::minutes(24 * 60 - 5);
        for (scheduled, unended, first, why) in [
            (&daily, 0, tomorrow, Why::Schedule),
            (&daily, 1, now, Why::Missed),
            (&daily, TRIES, now, Why::Missed),
            (&daily, TRIES + 1, tomorrow, Why::Schedule),
            (&never, 1, tomorrow, Why::Schedule),
        ] {
            let done = BTreeMap::from([(Job::Sync, last("02:00", unended))]);
            let schedule = std::slice::from_ref(scheduled);
            let mut timers = Timers::start(schedule, &done, now, EXACTLY);
            assert_eq!(timers.next(), Some((first, Job::Sync)), "{unended}");
            assert_eq!(timers.why(Job::Sync), why, "{unended}");
            timers.ended(Job::Sync, now, EXACTLY);
            assert_eq!(timers.why(Job::Sync), Why::Schedule);
        }
    }

    #[test]
    fn what_was_missed_is_done_once_at_the_start() {
        let hourly = job(Job::Sync, "0 * * * *");
        let never = Scheduled {
            catch_up: false,
            ..hourly.clone()
        };
        let at_start = Scheduled {
            at_start: true,
            ..hourly.clone()
        };
        for (scheduled, done, first) in [
            (&hourly, None, "15:00"),
            (&hourly, Some("14:00"), "15:00"),
            (&hourly, Some("14:05"), "15:00"),
            (&hourly, Some("13:59"), "14:30"),
            (&hourly, Some("02:00"), "14:30"),
            // By a clock that was ahead.
            (&hourly, Some("20:00"), "15:00"),
            (&never, Some("02:00"), "15:00"),
            (&at_start, None, "14:30"),
            (&at_start, Some("14:29"), "14:30"),
        ] {
            let done: Vec<_> = done.into_iter().map(|done| (Job::Sync, done)).collect();
            let mut timers = started(std::slice::from_ref(scheduled), &done, "14:30");
            assert_eq!(timers.next(), Some((at(first), Job::Sync)), "{done:?}");
            timers.ended(Job::Sync, at("14:31"), EXACTLY);
            assert_eq!(timers.next(), Some((at("15:00"), Job::Sync)), "{done:?}");
        }
    }

    #[test]
    fn what_came_due_several_times_while_another_was_at_work_or_the_machine_slept_is_done_once() {
        let schedule = [
            job(Job::Sync, "*/15 * * * *"),
            job(Job::Reconcile, "0 3 * * *"),
        ];
        let mut timers = started(&schedule, &[], "02:50");
        assert_eq!(timers.next(), Some((at("03:00"), Job::Sync)));
        timers.ended(Job::Sync, at("03:40"), EXACTLY);
        assert_eq!(timers.next(), Some((at("03:00"), Job::Reconcile)));
        timers.ended(Job::Reconcile, at("09:50"), EXACTLY);
        assert_eq!(timers.next(), Some((at("03:45"), Job::Sync)));
        timers.ended(Job::Sync, at("09:51"), EXACTLY);
        assert_eq!(timers.next(), Some((at("10:00"), Job::Sync)));
    }

    #[test]
    fn a_full_sync_is_a_sync_as_well() {
        let schedule = [job(Job::Full, "0 3 * * *"), job(Job::Sync, "0 * * * *")];
        let mut timers = started(&schedule, &[], "02:30");
        assert_eq!(timers.next(), Some((at("03:00"), Job::Full)));
        timers.ended(Job::Full, at("03:20"), EXACTLY);
        assert_eq!(timers.next(), Some((at("04:00"), Job::Sync)));
    }

    #[test]
    fn jitter_only_delays() {
        let scheduled = Scheduled {
            jitter: Duration::from_secs(600),
            ..job(Job::Sync, "0 * * * *")
        };
        let most = |jitter: Duration| jitter;
        let timers = Timers::start(&[scheduled], &BTreeMap::new(), at("02:30"), &most);
        assert_eq!(timers.next(), Some((at("03:10"), Job::Sync)));
    }

    #[test]
    fn another_schedule_moves_only_what_it_changes() {
        let reconcile = job(Job::Reconcile, "0 2 * * *");
        let mut timers = started(
            &[job(Job::Sync, "0 * * * *"), reconcile.clone()],
            &[(Job::Reconcile, "01:00")],
            "02:30",
        );
        let all = [
            job(Job::Sync, "*/10 * * * *"),
            reconcile,
            job(Job::Prune, "0 4 * * *"),
        ];
        timers.take(&all, at("02:31"), EXACTLY);
        for (due, job) in [
            ("02:30", Job::Reconcile),
            ("02:40", Job::Sync),
            ("04:00", Job::Prune),
        ] {
            assert_eq!(timers.next(), Some((at(due), job)));
            timers.ended(job, at("23:59"), EXACTLY);
        }
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_anything_waiting() {
        let mut timers = started(&[job(Job::Sync, "0 * * * *")], &[], "12:30");
        timers.set_back(at("07:10"), EXACTLY);
        assert_eq!(timers.next(), Some((at("08:00"), Job::Sync)));
        // What has come due meanwhile is not put off.
        timers.set_back(at("08:10"), EXACTLY);
        assert_eq!(timers.next(), Some((at("08:00"), Job::Sync)));
    }
}
