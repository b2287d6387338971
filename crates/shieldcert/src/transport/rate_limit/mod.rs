//! One rate limit for all calls of a client.
//!
//! The service counts requests in windows and blocks for minutes after too many, so the aim is to come close and never
//! to be blocked. For each policy that the service states, a [`Window`] holds two things:
//!
//! - *What this client sent*: at most the quota in any stretch of the window's length, wherever the service's windows
//!   begin. A request counts from when it is sent until a window's length after its response, because the service may
//!   have counted it at any time in between.
//! - *What the service says remains*, which is less where others use the same budget: the last reported value, minus
//!   what is in flight, minus a margin for what those others send meanwhile. When that is used up, requests wait for
//!   the end of the window. After a pause, one request goes ahead and asks.
//!
//! Requests go in the order in which they came. After a 429 all of them wait as long as it says, once.

mod header;
mod window;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use self::header::items;
use self::window::{STALE_AFTER, Window};
use super::retry::retry_after;

/// How much of the service's rate limit a client uses.
///
/// The quota is the service's to say, in its `Ratelimit-Policy` and `Ratelimit` headers. Until it does, 1,200 requests
/// in 300 seconds are assumed, as documented.
///
/// # Examples
///
/// ```
/// use shieldcert::RateLimit;
///
/// // A tenth of the quota stays free for the dashboard and other tools of the same user.
/// let considerate = RateLimit::default().reserve_share(0.1);
/// let verbose = RateLimit::default().on_wait(|wait| eprintln!("waiting {wait:?} for the rate limit"));
/// # let _ = (considerate, verbose);
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct RateLimit {
    reserved_share: f64,
    on_wait: Option<Arc<OnWait>>,
}

type OnWait = dyn Fn(Duration) + Send + Sync;

impl RateLimit {
    /// Reserves this share of the quota, from 0 to 1, for others on the same budget. Default: 0.
    pub fn reserve_share(mut self, share: f64) -> Self {
        self.reserved_share = if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            0.0
        };
        self
    }

    /// Calls `notify` with the duration whenever requests start to wait for longer than a second.
    pub fn on_wait(mut self, notify: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        self.on_wait = Some(Arc::new(notify));
        self
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("reserved_share", &self.reserved_share)
            .finish_non_exhaustive()
    }
}

/// Lets requests through as the limit allows. Shared by all calls of a client.
pub(crate) struct Limiter {
    settings: RateLimit,
    /// Held by the request at the head of the queue. The lock is fair, so the others follow in order.
    queue: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// A request completed, which may have made room.
    changed: Notify,
}

struct State {
    windows: Vec<Window>,
    /// Whether the service has stated its policies, or they are assumed.
    is_stated: bool,
    /// When the service last said what remains.
    updated_at: Option<Instant>,
    last_sent_at: Instant,
    in_flight: u64,
    blocked_until: Option<Instant>,
}

/// A request in flight.
pub(crate) struct Permit<'a> {
    limiter: &'a Limiter,
    done: bool,
}

impl Limiter {
    /// Creates a limiter. `is_cloudflare` adds the limit of an IP address, which Cloudflare does not state in its
    /// responses.
    pub(crate) fn new(settings: RateLimit, is_cloudflare: bool) -> Self {
        let mut windows = vec![Window::new("default", 1200, Duration::from_secs(300))];
        if is_cloudflare {
            windows.push(Window::new(PER_ADDRESS, 200, Duration::from_secs(1)));
        }
        Self {
            settings,
            queue: tokio::sync::Mutex::new(()),
            state: Mutex::new(State {
                windows,
                is_stated: false,
                updated_at: None,
                last_sent_at: Instant::now(),
                in_flight: 0,
                blocked_until: None,
            }),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a request may be sent. Dropping the future gives up its place.
    pub(crate) async fn acquire(&self) -> Permit<'_> {
        let _turn = self.queue.lock().await;
        let mut is_reported = false;
        loop {
            let changed = self.changed.notified();
            let now = Instant::now();
            let acquired = self.state().try_acquire(now, self.settings.reserved_share);
            match acquired {
                Ok(()) => {
                    return Permit {
                        limiter: self,
                        done: false,
                    };
                }
                Err(Some(until)) => {
                    if !is_reported {
                        is_reported = self.report_wait(until.saturating_duration_since(now));
                    }
                    let _ = timeout_at(until, changed).await;
                }
                // Everything that counts is in flight.
                Err(None) => changed.await,
            }
        }
    }

    fn report_wait(&self, wait: Duration) -> bool {
        if wait <= Duration::from_secs(1) {
            return false;
        }
        tracing::info!(?wait, "waiting for the rate limit");
        if let Some(on_wait) = &self.settings.on_wait {
            on_wait(wait);
        }
        true
    }
}

impl Permit<'_> {
    /// Takes what the response says about the limit.
    pub(crate) fn complete(mut self, response: &http::Response<Bytes>) {
        self.done = true;
        let now = Instant::now();
        let mut state = self.limiter.state();
        state.count(now, true);
        state.update(now, response.headers());
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            state.block(now, retry_after(response.headers()));
        }
        drop(state);
        self.limiter.changed.notify_waiters();
    }
}

/// A request without a response may have been counted by the service.
impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.limiter.state().count(Instant::now(), false);
            self.limiter.changed.notify_waiters();
        }
    }
}

impl State {
    /// Takes a place for a request. The error is the time from which one is free, if that is known.
    fn try_acquire(&mut self, now: Instant, reserved_share: f64) -> Result<(), Option<Instant>> {
        if let Some(until) = self.blocked_until {
            if now < until {
                return Err(Some(until));
            }
            self.blocked_until = None;
        }
        // After a pause one request goes ahead to ask, and another each second in case its response does not come.
        let is_stale = self
            .updated_at
            .is_some_and(|updated| now > updated + STALE_AFTER);
        if is_stale && self.in_flight > 0 && now < self.last_sent_at + STALE_AFTER {
            return Err(Some(self.last_sent_at + STALE_AFTER));
        }
        let mut latest = None;
        for window in &mut self.windows {
            if let Err(until) = window.check(now, self.in_flight, reserved_share) {
                // The window that is free last decides. One that depends on a request in flight is later than any.
                latest = match (latest, until) {
                    (Some(None), _) | (_, None) => Some(None),
                    (Some(Some(other)), Some(until)) => Some(Some(until.max(other))),
                    (None, Some(until)) => Some(Some(until)),
                };
            }
        }
        if let Some(until) = latest {
            return Err(until);
        }
        self.in_flight += 1;
        self.last_sent_at = now;
        Ok(())
    }

    fn count(&mut self, now: Instant, has_response: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        for window in &mut self.windows {
            window.count(now, has_response);
        }
    }

    fn update(&mut self, now: Instant, headers: &HeaderMap) {
        let stated = || {
            items(headers, "ratelimit-policy")
                .filter_map(|item| {
                    let (quota, length) = (item.number("q")?, item.number("w")?);
                    let is_plausible = quota > 0 && (1..=MAX_WINDOW_SECONDS).contains(&length);
                    is_plausible.then(|| (item.name, quota, Duration::from_secs(length)))
                })
                .take(MAX_WINDOWS)
        };
        // Nearly every response states the same.
        let known = self
            .windows
            .iter()
            .filter(|window| window.name != PER_ADDRESS);
        let known = known.map(|window| (window.name.as_str(), window.quota, window.length));
        let is_new = !self.is_stated || !known.eq(stated());
        if is_new && stated().next().is_some() {
            let stated = stated().map(|(name, quota, length)| (name.to_owned(), quota, length));
            self.replace_windows(stated.collect());
        }
        for item in items(headers, "ratelimit") {
            let (Some(remaining), Some(resets_in)) = (item.number("r"), item.number("t")) else {
                continue;
            };
            if let Some(window) = self
                .windows
                .iter_mut()
                .find(|window| window.name == item.name)
            {
                window.update(now, remaining, Duration::from_secs(resets_in));
                self.updated_at = Some(now);
            }
        }
    }

    /// Replaces the windows with those that the service states. What was counted stays counted.
    fn replace_windows(&mut self, stated: Vec<(String, u64, Duration)>) {
        let mut known = std::mem::take(&mut self.windows);
        let own = known.iter().position(|window| window.name == PER_ADDRESS);
        let own = own.map(|place| known.remove(place));
        let assumed = (!self.is_stated).then(|| known.first().cloned()).flatten();
        for (name, quota, length) in stated {
            let place = known.iter().position(|window| window.name == name);
            let mut window = match (place, &assumed) {
                (Some(place), _) => known.remove(place),
                (None, Some(assumed)) => assumed.clone(),
                (None, None) => Window::new("", quota, length),
            };
            window.name = name;
            window.quota = quota;
            window.length = length;
            self.windows.push(window);
        }
        self.windows.extend(own);
        self.is_stated = true;
    }

    fn block(&mut self, now: Instant, wait: Option<Duration>) {
        let wait = wait
            .or_else(|| {
                self.windows
                    .iter()
                    .filter_map(|window| window.resets_in(now))
                    .max()
            })
            .unwrap_or(Duration::from_secs(1))
            .min(Duration::from_secs(MAX_WINDOW_SECONDS));
        let until = now + wait;
        self.blocked_until = Some(self.blocked_until.map_or(until, |other| other.max(until)));
    }
}

/// The name of the limit of an IP address.
const PER_ADDRESS: &str = "per address";

/// More policies than any service states.
const MAX_WINDOWS: usize = 8;

/// A day. A longer window is not plausible.
const MAX_WINDOW_SECONDS: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().expect("a header value"));
        }
        map
    }

    #[test]
    fn headers_of_any_form_are_read() {
        for (value, expected) in [
            (r#""default";q=1200;w=300"#, vec![("default", 1200, 300)]),
            (
                r#" "default" ; q = 1200 ; w=300 "#,
                vec![("default", 1200, 300)],
            ),
            (
                "default;w=300;q=1200;partition=:abc=:",
                vec![("default", 1200, 300)],
            ),
            (
                r#""a,b;c";q=1;w=2, "d";Q=3;W=4"#,
                vec![("a,b;c", 1, 2), ("d", 3, 4)],
            ),
            (r#""default";q=-1;w=300"#, vec![]),
            (r#""default";q=99999999999999999999;w=300"#, vec![]),
            (
                r#""default";q=0;w=300,"x";q=5;w=0,"y";q=5;w=999999999"#,
                vec![],
            ),
            ("", vec![]),
            (";;;,,,===", vec![]),
            (r#""unclosed;q=1;w=2"#, vec![]),
        ] {
            let mut state = Limiter::new(RateLimit::default(), false)
                .state
                .into_inner()
                .expect("new");
            state.update(Instant::now(), &headers(&[("ratelimit-policy", value)]));
            let found: Vec<_> = state
                .windows
                .iter()
                .map(|window| (window.name.as_str(), window.quota, window.length.as_secs()))
                .collect();
            let expected = if expected.is_empty() {
                vec![("default", 1200, 300)]
            } else {
                expected
            };
            assert_eq!(found, expected, "{value}");
        }
        let mut state = Limiter::new(RateLimit::default(), true)
            .state
            .into_inner()
            .expect("new");
        let many = (0..100)
            .map(|n| format!("\"p{n}\";q=1;w=1"))
            .collect::<Vec<_>>()
            .join(",");
        state.update(Instant::now(), &headers(&[("ratelimit-policy", &many)]));
        assert_eq!(state.windows.len(), MAX_WINDOWS + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_quota_holds_in_any_stretch_of_a_windows_length() {
        let limiter = Limiter::new(RateLimit::default(), false);
        let mut sent = Vec::new();
        for _ in 0..5000 {
            let permit = limiter.acquire().await;
            sent.push(Instant::now());
            tokio::time::sleep(Duration::from_millis(30)).await;
            drop(permit);
        }
        for window in sent.windows(1201) {
            assert!(window[1200] - window[0] >= Duration::from_secs(300));
        }
        // Four full windows have to pass before the 4,801st.
        let ideal = Duration::from_secs(4 * 300);
        assert!(
            sent[4800] - sent[0] < ideal.mul_f64(1.01),
            "{:?}",
            sent[4800] - sent[0]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn all_requests_wait_once_after_a_429() {
        let limiter = Limiter::new(RateLimit::default(), false);
        let permit = limiter.acquire().await;
        let mut response = http::Response::new(Bytes::new());
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        response
            .headers_mut()
            .insert("retry-after", "300".parse().expect("a value"));
        let blocked = Instant::now();
        permit.complete(&response);
        for _ in 0..10 {
            drop(limiter.acquire().await);
        }
        assert_eq!(blocked.elapsed(), Duration::from_secs(300));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_service_says_remains_counts_until_the_window_ends() {
        let limiter = Limiter::new(RateLimit::default(), false);
        let start = Instant::now();
        let mut response = http::Response::new(Bytes::new());
        response.headers_mut().insert(
            "ratelimit",
            "\"default\";r=2;t=30".parse().expect("a value"),
        );
        limiter.acquire().await.complete(&response);
        drop(limiter.acquire().await);
        drop(limiter.acquire().await);
        assert_eq!(start.elapsed(), Duration::ZERO);
        drop(limiter.acquire().await);
        assert_eq!(start.elapsed(), Duration::from_secs(31));
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_is_reserved_for_others() {
        let limiter = Limiter::new(RateLimit::default().reserve_share(0.5), false);
        let start = Instant::now();
        for _ in 0..600 {
            drop(limiter.acquire().await);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        drop(limiter.acquire().await);
        assert!(start.elapsed() >= Duration::from_secs(300));
        let everything = Limiter::new(RateLimit::default().reserve_share(7.0), false);
        drop(everything.acquire().await);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_are_reported_and_requests_go_in_order() {
        let reported = Arc::new(Mutex::new(Vec::new()));
        let report = reported.clone();
        let settings =
            RateLimit::default().on_wait(move |wait| report.lock().expect("ok").push(wait));
        let limiter = Arc::new(Limiter::new(settings, false));
        for _ in 0..1200 {
            drop(limiter.acquire().await);
        }
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let (limiter, order) = (limiter.clone(), order.clone());
                tokio::spawn(async move {
                    let _permit = limiter.acquire().await;
                    order.lock().expect("ok").push(number);
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("ends");
        }
        assert_eq!(*order.lock().expect("ok"), (0..20).collect::<Vec<_>>());
        let reported = reported.lock().expect("ok");
        assert_eq!(reported.len(), 1, "{reported:?}");
        assert!(reported[0] > Duration::from_secs(299), "{reported:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_wait_gives_up_its_place() {
        let limiter = Arc::new(Limiter::new(RateLimit::default(), false));
        for _ in 0..1200 {
            drop(limiter.acquire().await);
        }
        let first = tokio::spawn({
            let limiter = limiter.clone();
            async move { drop(limiter.acquire().await) }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        first.abort();
        tokio::time::timeout(Duration::from_secs(400), limiter.acquire())
            .await
            .map(drop)
            .expect("goes on");
    }
}
