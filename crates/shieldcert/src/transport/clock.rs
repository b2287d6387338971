//! The service's time, from the `Date` header of its responses.

use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use http::HeaderMap;
use jiff::Timestamp;
use tokio::time::Instant;

/// Tells the service's time: the newest `Date`, plus the monotonic time since it arrived.
///
/// The local clock is never read.
#[derive(Default)]
pub(crate) struct ServiceClock(Mutex<Option<Reading>>);

#[derive(Clone, Copy)]
struct Reading {
    date: Timestamp,
    received: Instant,
}

impl ServiceClock {
    /// Takes the `Date` of a response, if it is newer than what is known.
    pub(crate) fn update(&self, headers: &HeaderMap) {
        let date = headers.get(http::header::DATE);
        let Some(date) = date.and_then(|date| parse(date.to_str().ok()?)) else {
            return;
        };
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.is_none_or(|newest| date > newest.date) {
            *newest = Some(Reading {
                date,
                received: Instant::now(),
            });
        }
    }

    pub(crate) fn now(&self) -> Option<Timestamp> {
        let newest = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = newest?;
        newest.date.checked_add(newest.received.elapsed()).ok()
    }
}

fn parse(date: &str) -> Option<Timestamp> {
    let time = httpdate::parse_http_date(date).ok()?;
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn headers(date: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("date", date.parse().expect("a header value"));
        headers
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_date_goes_on_with_the_monotonic_clock() {
        let clock = ServiceClock::default();
        let now = || clock.now().map(|time| time.to_string());
        assert_eq!(now(), None);
        clock.update(&headers("Wed, 25 Nov 2026 15:00:00 GMT"));
        assert_eq!(now().as_deref(), Some("2026-11-25T15:00:00Z"));
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(now().as_deref(), Some("2026-11-25T15:01:30Z"));
        // Responses overtake each other, and a cache may send an old one.
        clock.update(&headers("Wed, 25 Nov 2026 14:00:00 GMT"));
        assert_eq!(now().as_deref(), Some("2026-11-25T15:01:30Z"));
        for odd in [
            "",
            "now",
            "Wed, 25 Nov 1066 15:00:00 GMT",
            "2026-11-25T15:00:00Z",
        ] {
            clock.update(&headers(odd));
        }
        assert_eq!(now().as_deref(), Some("2026-11-25T15:01:30Z"));
        clock.update(&headers("Wed, 25 Nov 2026 15:02:00 GMT"));
        assert_eq!(now().as_deref(), Some("2026-11-25T15:02:00Z"));
    }
}
