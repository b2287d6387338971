//! The service's time, from the `Date` of its responses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// When an attempt was in the hands of the transport.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendWindow {
    /// Right before the request was handed over.
    pub(crate) began: Instant,
    /// When its response, or its failure, was there.
    pub(crate) ended: Instant,
}

/// Tells the service's time: what its responses say, plus the monotonic time since then.
///
/// The local clock is never read. Only responses of the API count, since a gateway has a clock of its own.
#[derive(Default)]
pub(crate) struct ServiceClock {
    readings: Mutex<Option<Readings>>,
    is_behind: AtomicBool,
}

#[derive(Clone, Copy)]
struct Readings {
    /// The newest `Date`, and when it arrived.
    newest: (Timestamp, Instant),
    /// By the reading that shows the service's clock the furthest behind: its time at an instant, at least.
    earliest: (Timestamp, Instant),
    /// By the reading that shows it the furthest ahead: its time at an instant, at most.
    latest: (Timestamp, Instant),
}

impl ServiceClock {
    /// Takes the `Date` of a response to a request that was sent in this window.
    pub(crate) fn update(&self, date: Timestamp, window: SendWindow) {
        // The service showed this second at some instant between the request and the response.
        let least = (date, window.ended);
        let most = (add(date, SignedDuration::from_secs(1)), window.began);
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let known = readings.get_or_insert(Readings {
            newest: least,
            earliest: least,
            latest: most,
        });
        if date > known.newest.0 {
            known.newest = least;
        }
        if at(least, window.ended) < at(known.earliest, window.ended) {
            known.earliest = least;
        }
        if at(most, window.ended) > at(known.latest, window.ended) {
            known.latest = most;
        }
    }

    /// Takes a time at which the CA has issued, by its own clock, as a response shows by now.
    pub(crate) fn check(&self, issued: Timestamp) {
        if self
            .latest_at(Instant::now())
            .is_some_and(|now| issued > now)
        {
            self.is_behind.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the `Date` was shown to be behind the clock of the CA. By how much is not known.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    fn readings(&self) -> Option<Readings> {
        *self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the newest `Date`, plus the time since it arrived.
    pub(crate) fn now(&self) -> Option<Timestamp> {
        Some(at(self.readings()?.newest, Instant::now()))
    }

    /// Returns the earliest time that the service's clock can have shown at this instant, by any reading.
    pub(crate) fn earliest_at(&self, instant: Instant) -> Option<Timestamp> {
        Some(at(self.readings()?.earliest, instant))
    }

    /// Returns the latest time that the service's clock can have shown at this instant, by any reading.
    pub(crate) fn latest_at(&self, instant: Instant) -> Option<Timestamp> {
        Some(at(self.readings()?.latest, instant))
    }
}

/// Returns what a clock shows at an instant that showed a time at another.
fn at((time, then): (Timestamp, Instant), instant: Instant) -> Timestamp {
    let elapsed = |from: Instant, to: Instant| {
        let elapsed = to.saturating_duration_since(from);
        SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX)
    };
    if instant >= then {
        add(time, elapsed(then, instant))
    } else {
        time.checked_sub(elapsed(instant, then))
            .unwrap_or(Timestamp::MIN)
    }
}

fn add(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// Reads the `Date` of a response.
pub(crate) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    parse_date(headers.get(http::header::DATE)?.to_str().ok()?)
}

/// Reads a time as HTTP writes it.
pub(crate) fn parse_date(text: &str) -> Option<Timestamp> {
    let time = httpdate::parse_http_date(text).ok()?;
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    /// A response that arrives now, a second after its request was sent.
    fn update(clock: &ServiceClock, date: &str) {
        let ended = Instant::now();
        let began = ended - Duration::from_secs(1);
        clock.update(time(date), SendWindow { began, ended });
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_date_goes_on_with_the_monotonic_clock() {
        let clock = ServiceClock::default();
        let now = || clock.now().map(|time| time.to_string());
        assert_eq!(now(), None);
        update(&clock, "2026-11-25T15:00:00Z");
        assert_eq!(now().as_deref(), Some("2026-11-25T15:00:00Z"));
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(now().as_deref(), Some("2026-11-25T15:01:30Z"));
        // Responses overtake each other, and a cache may send an old one.
        update(&clock, "2026-11-25T14:00:00Z");
        assert_eq!(now().as_deref(), Some("2026-11-25T15:01:30Z"));
        update(&clock, "2026-11-25T15:02:00Z");
        assert_eq!(now().as_deref(), Some("2026-11-25T15:02:00Z"));
    }

    #[tokio::test(start_paused = true)]
    async fn estimates_take_in_every_reading() {
        let clock = ServiceClock::default();
        let now = Instant::now();
        assert_eq!(clock.earliest_at(now).or(clock.latest_at(now)), None);
        update(&clock, "2026-11-25T15:00:00Z");
        let at = |instant| (clock.earliest_at(instant), clock.latest_at(instant));
        let range = |from, to| (Some(time(from)), Some(time(to)));
        // The service wrote the second 15:00:00 within the last second.
        assert_eq!(
            at(now),
            range("2026-11-25T15:00:00Z", "2026-11-25T15:00:02Z")
        );
        tokio::time::advance(Duration::from_secs(60)).await;
        let later = Instant::now();
        // A cached date, and a clock that jumps an hour ahead, only widen the range.
        update(&clock, "2026-11-25T15:00:00Z");
        assert_eq!(
            at(later),
            range("2026-11-25T15:00:00Z", "2026-11-25T15:01:02Z")
        );
        update(&clock, "2026-11-25T16:01:00Z");
        assert_eq!(
            at(later),
            range("2026-11-25T15:00:00Z", "2026-11-25T16:01:02Z")
        );
        assert_eq!(
            at(now),
            range("2026-11-25T14:59:00Z", "2026-11-25T16:00:02Z")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_issued_in_the_future_shows_that_the_date_is_behind() {
        let clock = ServiceClock::default();
        clock.check(time("2030-01-01T00:00:00Z"));
        assert!(!clock.is_behind(), "behind nothing");
        update(&clock, "2026-11-25T15:00:00Z");
        for (issued, is_behind) in [
            ("2026-11-25T14:00:00Z", false),
            // The service wrote its date up to a second ago, and within the second.
            ("2026-11-25T15:00:02Z", false),
            ("2026-11-25T15:00:03Z", true),
            ("2026-11-25T15:00:00Z", true),
        ] {
            clock.check(time(issued));
            assert_eq!(clock.is_behind(), is_behind, "{issued}");
        }
    }

    #[test]
    fn only_dates_as_http_writes_them_are_read() {
        let read = |text| parse_date(text).map(|time| time.to_string());
        assert_eq!(
            read("Wed, 25 Nov 2026 15:00:00 GMT").as_deref(),
            Some("2026-11-25T15:00:00Z")
        );
        for odd in [
            "",
            "now",
            "Wed, 25 Nov 1066 15:00:00 GMT",
            "2026-11-25T15:00:00Z",
        ] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }
}
