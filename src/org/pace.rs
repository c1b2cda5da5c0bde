//! Manners: how fast requests may go out.
//!
//! Three things decide, each for one API: a rate that the configuration sets, the limit that
//! the API's headers tell (`X-RateLimit-*`, `Retry-After`; contract section 2), and how many
//! requests may be under way at once, which a 429 halves and good answers raise one by one.

use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::model::Timestamp;
use crate::plan;

/// How many requests may be under way at once to begin with.
const FIRST: usize = 8;
/// How many at most.
const MOST: usize = 64;
/// After so many good answers in a row one more may be under way.
const RAISE_AFTER: u32 = 20;
/// How late a request may go out by which the configured rate is still kept: what this machine's timers and the work
/// between two requests take.
const LATENESS: Duration = Duration::from_millis(5);
/// By how much the ends that answers tell of one period may differ.
const JITTER: TimeDelta = TimeDelta::seconds(1);

/// The pace of one API.
pub(super) struct Pace {
    quota: Option<DefaultDirectRateLimiter>,
    per_second: Option<NonZeroU32>,
    state: Mutex<State>,
    changed: Notify,
    /// They wait in a line: the first of it alone looks whether it may go.
    line: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    clock: ServerClock,
    under_way: usize,
    allowed: usize,
    good_in_a_row: u32,
    /// Nothing goes out before.
    closed_until: Option<Instant>,
    window: Option<Window>,
    limit: Option<Limit>,
    answers: u32,
    answered_in: Duration,
}

/// What the last headers told of the limit.
#[derive(Clone, Copy, Debug)]
struct Limit {
    requests: u64,
    /// When the period ends, as it was told: by that answers of the same period are known.
    reset_at: Timestamp,
    /// The longest way to the end of a period that was seen, and the shortest from one end to the next: how long a
    /// period is the headers do not tell.
    seen: Duration,
    between: Duration,
}

impl Limit {
    fn period(&self) -> Duration {
        self.seen.min(self.between)
    }
}

/// The present period.
#[derive(Clone, Copy, Debug)]
struct Window {
    /// What may still be sent in it, by the API's count and ours.
    remaining: u64,
    ends: Instant,
    /// Whether an answer has told of it; else it is taken to be as the one before.
    is_told: bool,
}

/// What an answer tells about the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// `X-RateLimit-Limit`.
    pub(super) limit: Option<u64>,
    /// `X-RateLimit-Remaining`.
    pub(super) remaining: Option<u64>,
    /// `X-RateLimit-Reset`, and how long until then.
    pub(super) reset: Option<(Timestamp, Duration)>,
    /// `Retry-After`.
    pub(super) retry_after: Option<Duration>,
}

impl Limits {
    /// Reads the headers. `Retry-After` is in seconds or a date (RFC 9110 section 10.2.3);
    /// `X-RateLimit-Reset` is ISO 8601. Times are taken against `now`, what time it is there, so
    /// that a wrong clock here does no harm.
    pub(super) fn read(header: impl Fn(&str) -> Option<String>, now: Timestamp) -> Self {
        let until = |moment: Timestamp| (moment - now).to_std().unwrap_or_default();
        let retry_after = header("retry-after").and_then(|text| {
            let text = text.trim();
            let seconds = text.parse().ok().map(Duration::from_secs);
            seconds.or_else(|| {
                let moment = chrono::DateTime::parse_from_rfc2822(text).ok()?;
                Some(until(moment.with_timezone(&chrono::Utc)))
            })
        });
        let reset = header("x-ratelimit-reset").and_then(|text| text.trim().parse().ok());
        let number = |name: &str| header(name).and_then(|text| text.trim().parse().ok());
        Limits {
            limit: number("x-ratelimit-limit"),
            remaining: number("x-ratelimit-remaining"),
            reset: reset.map(|moment| (moment, until(moment))),
            retry_after,
        }
    }

    /// How long the API asks to wait after a 429.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.retry_after.or(self.reset.map(|(_, until)| until))
    }
}

/// What time it is at the API, by the `Date` of its answers. That one is of whole seconds: each answer says within one
/// how far that clock is ahead, and all of them together much closer, as some come just after a second has begun.
#[derive(Clone, Copy, Debug, Default)]
struct ServerClock {
    /// Within what the time there minus the time here must be, in milliseconds.
    ahead: Option<(i64, i64)>,
}

impl ServerClock {
    /// Takes in an answer of this date to a request that was under way from and until these times here.
    fn learn(&mut self, date: Timestamp, (sent, answered): (Timestamp, Timestamp)) {
        let least = (date - answered).num_milliseconds();
        let most = (date - sent).num_milliseconds() + 1000;
        let known = self
            .ahead
            .map(|(known_least, known_most)| (known_least.max(least), known_most.min(most)));
        // One of the clocks was set, or another server has answered.
        let fits = known.filter(|(least, most)| least <= most);
        self.ahead = Some(fits.unwrap_or((least, most)));
    }

    /// What time it is there at least when it is this time here: so nothing that is waited for is taken to have come
    /// too early.
    fn at(&self, here: Timestamp) -> Timestamp {
        let ahead = self.ahead.map_or(0, |(least, _)| least);
        here + TimeDelta::milliseconds(ahead)
    }
}

/// The leave to send one request; it ends with the request.
pub(super) struct Leave<'a> {
    pace: &'a Pace,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.pace.state().under_way -= 1;
        self.pace.changed.notify_waiters();
    }
}

impl Pace {
    /// A pace of at most so many requests a second, if a number is given.
    pub(super) fn new(per_second: Option<NonZeroU32>) -> Self {
        // No more of a burst than makes up for lateness: the API's own window may be shorter than a second.
        let quota = per_second.map(|rate| {
            let late = (f64::from(rate.get()) * LATENESS.as_secs_f64()).floor();
            let burst = NonZeroU32::MIN.saturating_add(late as u32);
            DefaultDirectRateLimiter::direct(Quota::per_second(rate).allow_burst(burst))
        });
        Pace {
            quota,
            per_second,
            state: Mutex::new(State {
                clock: ServerClock::default(),
                under_way: 0,
                allowed: FIRST,
                good_in_a_row: 0,
                closed_until: None,
                window: None,
                limit: None,
                answers: 0,
                answered_in: Duration::ZERO,
            }),
            changed: Notify::new(),
            line: tokio::sync::Mutex::new(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; the figures are right in any case.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a request may go out; how long it is until then, if longer than `most`.
    pub(super) async fn admit(&self, most: Duration) -> Result<Leave<'_>, Duration> {
        let _first = self.line.lock().await;
        loop {
            let changed = self.changed.notified();
            let now = Instant::now();
            let until = match self.state().try_admit(now, self.quota.as_ref()) {
                Admission::Granted => return Ok(Leave { pace: self }),
                Admission::Closed(until) if until - now > most => return Err(until - now),
                Admission::Closed(until) => Some(until),
                Admission::Full => None,
            };
            match until {
                Some(until) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(until) => {}
                        () = changed => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// What is known of it, for an estimate.
    pub(super) fn rate(&self) -> plan::Rate {
        let now = Instant::now();
        let state = self.state();
        let window = state.limit.map(|limit| {
            let known = state.window.filter(|window| now < window.ends);
            let period = limit.period();
            plan::Window {
                limit: limit.requests,
                // A period that is over leaves the whole of the next one.
                remaining: known.map_or(limit.requests, |window| window.remaining),
                ends_in: known.map_or(period, |window| window.ends - now),
                period,
            }
        });
        plan::Rate {
            per_second: self.per_second.map(NonZeroU32::get),
            window,
            round_trip: state.answered_in.checked_div(state.answers),
            at_once: u32::try_from(state.allowed).unwrap_or(u32::MAX),
        }
    }

    /// Learns from an answer that has this `Date` how long it took and what time it is there, which it returns.
    pub(super) fn answered(&self, time: Duration, date: Option<Timestamp>) -> Timestamp {
        let now = chrono::Utc::now();
        let mut state = self.state();
        state.answers = state.answers.saturating_add(1);
        state.answered_in = state.answered_in.saturating_add(time);
        if let Some(date) = date {
            state.clock.learn(date, (now - time, now));
        }
        state.clock.at(now)
    }

    /// Learns from an answer.
    pub(super) fn learn(&self, throttled: bool, limits: &Limits) {
        self.state().learn(throttled, limits, Instant::now());
        self.changed.notify_waiters();
    }
}

#[derive(Debug, PartialEq)]
enum Admission {
    Granted,
    Closed(Instant),
    Full,
}

impl State {
    fn try_admit(&mut self, now: Instant, quota: Option<&DefaultDirectRateLimiter>) -> Admission {
        if let Some(until) = self.closed_until {
            if now < until {
                return Admission::Closed(until);
            }
            self.closed_until = None;
        }
        if let Some(window) = &mut self.window {
            if now >= window.ends {
                // The next period begins with this request, as far as is known.
                self.window = self.limit.map(|limit| Window {
                    // One asks, whatever the limit was.
                    remaining: limit.requests.max(1),
                    ends: now + limit.period(),
                    is_told: false,
                });
            } else if window.remaining == 0 {
                return Admission::Closed(window.ends);
            }
        }
        if self.under_way >= self.allowed {
            return Admission::Full;
        }
        // Last, so that nobody saves up a place while the way is closed.
        if let Some(Err(early)) = quota.map(|quota| quota.check()) {
            return Admission::Closed(now + early.wait_time_from(DefaultClock::default().now()));
        }
        if let Some(window) = &mut self.window {
            window.remaining -= 1;
        }
        self.under_way += 1;
        Admission::Granted
    }

    fn learn(&mut self, throttled: bool, limits: &Limits, now: Instant) {
        if let (Some(remaining), Some(reset)) = (limits.remaining, limits.reset) {
            self.learn_window(limits.limit, remaining, reset, now);
        }
        if throttled {
            self.allowed = (self.allowed / 2).max(1);
            self.good_in_a_row = 0;
            if let Some(wait) = limits.wait() {
                self.close(now + wait);
            }
        } else {
            // Where few are under way, it says nothing of more.
            self.good_in_a_row += u32::from(2 * self.under_way > self.allowed);
            if self.good_in_a_row >= RAISE_AFTER && self.allowed < MOST {
                self.allowed += 1;
                self.good_in_a_row = 0;
            }
        }
    }

    /// Lets nothing go out before.
    fn close(&mut self, until: Instant) {
        self.closed_until = Some(self.closed_until.map_or(until, |known| known.max(until)));
    }

    fn learn_window(
        &mut self,
        requests: Option<u64>,
        remaining: u64,
        (reset_at, reset): (Timestamp, Duration),
        now: Instant,
    ) {
        let last = self.limit;
        let between = last.map_or(TimeDelta::MAX, |last| reset_at - last.reset_at);
        let is_same = between.abs() < JITTER;
        if between < TimeDelta::zero() && !is_same {
            // A period that is over, of which an answer comes late; or that of an endpoint with a limit of its own,
            // which may be used up.
            if remaining == 0 && !reset.is_zero() {
                self.close(now + reset);
            }
            return;
        }
        let between = between.to_std().ok().filter(|_| !is_same);
        let known = last.map_or(Duration::MAX, |last| last.between);
        if let Some(requests) = requests {
            self.limit = Some(Limit {
                requests,
                // The first word of a period: ends that creep on are periods at last.
                reset_at: last
                    .filter(|_| is_same)
                    .map_or(reset_at, |last| last.reset_at),
                seen: last.map_or(reset, |last| last.seen.max(reset)),
                between: between.map_or(known, |between| between.min(known)),
            });
        }
        let told = Window {
            remaining,
            // What time it is there is known better with each answer.
            ends: now + reset,
            is_told: true,
        };
        match &mut self.window {
            // The API's count does not know yet what is under way; ours may not know what others send. The smaller
            // one is safe.
            Some(window) if is_same && window.is_told => {
                window.remaining = window.remaining.min(remaining);
                window.ends = told.ends;
            }
            // The one before the present one, of which nothing is told yet.
            Some(_) if is_same => {}
            window => {
                let others = (self.under_way as u64).saturating_sub(1);
                let ours = window.filter(|window| !window.is_told);
                let ours = ours.map_or(u64::MAX, |window| window.remaining);
                let remaining = ours.min(remaining.saturating_sub(others));
                *window = Some(Window { remaining, ..told });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What an answer tells this many seconds after the test's beginning of a period that ends so many after it.
    fn limits(remaining: u64, (at, reset): (u64, u64)) -> Limits {
        let begin: Timestamp = "2026-06-15T12:00:00Z".parse().unwrap();
        let reset_at = begin + Duration::from_secs(reset);
        Limits {
            limit: Some(100),
            remaining: Some(remaining),
            reset: Some((reset_at, Duration::from_secs(reset - at))),
            retry_after: None,
        }
    }

    #[test]
    fn headers_are_read_against_the_date_of_the_answer() {
        let now = "2026-06-15T12:00:00Z".parse().unwrap();
        for (name, value, expected) in [
            ("retry-after", "7", Some(7)),
            ("retry-after", "Mon, 15 Jun 2026 12:00:09 GMT", Some(9)),
            ("retry-after", "Mon, 15 Jun 2026 11:00:00 GMT", Some(0)),
            ("x-ratelimit-reset", "2026-06-15T12:00:30Z", Some(30)),
            ("x-ratelimit-reset", "soon", None),
        ] {
            let header = |asked: &str| (asked == name).then(|| value.to_owned());
            let wait = Limits::read(header, now).wait();
            assert_eq!(wait, expected.map(Duration::from_secs), "{name}: {value}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_429_closes_the_way_for_everybody_until_the_time_that_it_names() {
        let pace = Pace::new(None);
        let leave = pace.admit(Duration::from_secs(99)).await.unwrap();
        let asked = Limits {
            retry_after: Some(Duration::from_secs(5)),
            ..Limits::default()
        };
        pace.learn(true, &asked);
        drop(leave);
        let began = Instant::now();
        drop(pace.admit(Duration::from_secs(99)).await.unwrap());
        assert_eq!(began.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_goes_out_that_the_period_has_no_room_for() {
        let pace = Pace::new(None);
        drop(pace.admit(Duration::from_secs(99)).await.unwrap());
        pace.learn(false, &limits(3, (0, 60)));
        let began = Instant::now();
        for _ in 0..3 {
            drop(pace.admit(Duration::from_secs(99)).await.unwrap());
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        drop(pace.admit(Duration::from_secs(99)).await.unwrap());
        assert_eq!(began.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_counts_against_the_period() {
        let pace = Pace::new(None);
        let (first, _second) = (
            pace.admit(Duration::from_secs(99)).await.unwrap(),
            pace.admit(Duration::from_secs(99)).await.unwrap(),
        );
        pace.learn(false, &limits(1, (0, 60)));
        drop(first);
        let began = Instant::now();
        drop(pace.admit(Duration::from_secs(99)).await.unwrap());
        assert_eq!(
            began.elapsed().as_secs(),
            60,
            "the second request has the last place"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn parallel_requests_are_halved_by_a_429_and_grow_one_by_one_where_they_are_used() {
        let pace = Pace::new(None);
        let count = |pace: &Pace| pace.state().allowed;
        let good = |times: usize| {
            for _ in 0..RAISE_AFTER as usize * times {
                pace.learn(false, &Limits::default());
            }
        };
        assert_eq!(count(&pace), 8);
        for expected in [4, 2, 1, 1] {
            pace.learn(true, &Limits::default());
            assert_eq!(count(&pace), expected);
        }
        let mut leaves = vec![pace.admit(Duration::from_secs(99)).await.unwrap()];
        good(1);
        assert_eq!(count(&pace), 2);
        // One of two is half of them: the second is not needed.
        good(1);
        assert_eq!(count(&pace), 2);
        while leaves.len() < count(&pace) {
            leaves.push(pace.admit(Duration::from_secs(99)).await.unwrap());
            good(1);
        }
        assert_eq!(count(&pace), MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_period_takes_as_many_as_the_last_one() {
        let pace = Pace::new(None);
        drop(pace.admit(Duration::from_secs(99)).await.unwrap());
        let told = |remaining, at| Limits {
            limit: Some(2),
            ..limits(remaining, at)
        };
        pace.learn(false, &told(1, (0, 10)));
        let began = Instant::now();
        for ends in [0, 10, 10, 20, 20, 30] {
            drop(pace.admit(Duration::from_secs(99)).await.unwrap());
            assert_eq!(began.elapsed().as_secs(), ends);
        }
        // An answer of the period before says nothing of this one, the next one's own does.
        pace.learn(false, &told(0, (10, 10)));
        assert_eq!(pace.state().window.unwrap().remaining, 1);
        pace.learn(false, &told(0, (30, 40)));
        assert_eq!(pace.state().window.unwrap().remaining, 0);
        drop(pace.admit(Duration::from_secs(99)).await.unwrap());
        assert_eq!(began.elapsed().as_secs(), 40);
    }

    #[tokio::test(start_paused = true)]
    async fn when_a_period_ends_is_known_better_with_each_answer() {
        let pace = Pace::new(None);
        drop(pace.admit(Duration::from_secs(99)).await.unwrap());
        let period = pace.state().limit.map(|limit| limit.period());
        assert_eq!(period, None);
        let told = |at: u64, reset: u64, late: u64| {
            let mut limits = limits(0, (at, reset));
            limits.reset = limits
                .reset
                .map(|(reset_at, until)| (reset_at, until + Duration::from_millis(late)));
            limits
        };
        pace.learn(false, &told(0, 1, 900));
        pace.learn(false, &told(0, 1, 100));
        let began = Instant::now();
        drop(pace.admit(Duration::from_secs(99)).await.unwrap());
        assert_eq!(began.elapsed().as_millis(), 1100);
        let period = |pace: &Pace| pace.state().limit.map(|limit| limit.period().as_millis());
        assert_eq!(period(&pace), Some(1900));
        pace.learn(false, &told(1, 2, 100));
        assert_eq!(period(&pace), Some(1000));
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_is_used_up_closes_the_way_although_its_period_ends_earlier() {
        let pace = Pace::new(None);
        drop(pace.admit(Duration::from_secs(99)).await.unwrap());
        pace.learn(false, &limits(50, (0, 60)));
        let began = Instant::now();
        // Some are left there, or they were until a time that is over.
        pace.learn(false, &limits(1, (0, 20)));
        pace.learn(false, &limits(0, (0, 0)));
        drop(pace.admit(Duration::from_secs(99)).await.unwrap());
        assert_eq!(began.elapsed(), Duration::ZERO);

        pace.learn(false, &limits(0, (0, 20)));
        drop(pace.admit(Duration::from_secs(99)).await.unwrap());

        assert_eq!(began.elapsed().as_secs(), 20);
        let window = pace.rate().window.unwrap();
        assert_eq!((window.remaining, window.ends_in.as_secs()), (48, 40));
    }

    #[tokio::test(start_paused = true)]
    async fn ends_that_differ_by_less_than_a_second_are_of_one_period() {
        let pace = Pace::new(None);
        drop(pace.admit(Duration::from_secs(99)).await.unwrap());
        let told = |remaining, at, late: i64| {
            let mut limits = limits(remaining, at);
            let by = TimeDelta::milliseconds(late);
            limits.reset = limits.reset.map(|(reset_at, until)| (reset_at + by, until));
            limits
        };
        for (remaining, late) in [(50, 3), (30, 9), (40, -4), (45, 900)] {
            pace.learn(false, &told(remaining, (0, 60), late));
        }
        let window = |pace: &Pace| pace.rate().window.unwrap();
        assert_eq!(window(&pace).remaining, 30);
        assert_eq!(window(&pace).period.as_secs(), 60);

        // The next one is another one however its end is told.
        tokio::time::advance(Duration::from_secs(60)).await;
        pace.learn(false, &told(99, (60, 120), -4));
        assert_eq!(window(&pace).remaining, 99);
        assert!(window(&pace).period.as_millis() > 59_900);
    }

    #[test]
    fn many_dates_of_whole_seconds_tell_the_time_there_closely() {
        let here: Timestamp = "2026-06-15T12:00:00Z".parse().unwrap();
        let ms = chrono::TimeDelta::milliseconds;
        // The clock there is 12,345 ms ahead, and each answer takes 8 ms, of which it is made after 4.
        let mut clock = ServerClock::default();
        for n in 0..200 {
            let sent = here + ms(n * 10);
            let made = sent + ms(4 + 12_345);
            let date = made - ms(i64::from(made.timestamp_subsec_millis()));
            clock.learn(date, (sent, sent + ms(8)));
        }
        let ahead = (clock.at(here) - here).num_milliseconds();
        assert!((12_330..=12_345).contains(&ahead), "{ahead}");
        // Set back by an hour, it is believed at once.
        let date = here - chrono::TimeDelta::hours(1);
        clock.learn(date, (here, here));
        assert_eq!(clock.at(here), date);
    }

    #[tokio::test]
    async fn a_configured_rate_is_kept() {
        let pace = Pace::new(NonZeroU32::new(200));
        let began = std::time::Instant::now();
        for _ in 0..11 {
            drop(pace.admit(Duration::from_secs(99)).await.unwrap());
        }
        // Two at once and nine intervals of 5 ms; the upper end is the machine's.
        assert!(
            began.elapsed() >= Duration::from_millis(44),
            "{:?}",
            began.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_for_an_estimate_is_what_headers_and_answers_have_told() {
        let pace = Pace::new(NonZeroU32::new(7));
        let rate = pace.rate();
        assert_eq!(rate.per_second, Some(7));
        assert_eq!(
            (rate.window, rate.round_trip, rate.at_once),
            (None, None, 8)
        );

        pace.learn(false, &limits(40, (0, 60)));
        tokio::time::advance(Duration::from_secs(20)).await;
        pace.learn(false, &limits(30, (20, 60)));
        pace.answered(Duration::from_millis(100), None);
        pace.answered(Duration::from_millis(300), None);
        let window = |remaining, ends_in| plan::Window {
            limit: 100,
            remaining,
            ends_in: Duration::from_secs(ends_in),
            period: Duration::from_secs(60),
        };
        let rate = pace.rate();
        assert_eq!(rate.window, Some(window(30, 40)));
        assert_eq!(rate.round_trip, Some(Duration::from_millis(200)));

        // The period is over: the next one has not begun.
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(pace.rate().window, Some(window(100, 60)));
    }
}
