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
//! Requests go in the order in which they came. After a 429 all of them wait as long as it says, or for a time that
//! grows with each 429 if it says nothing usable. Requests that would wait for too long fail at once.
//!
//! Where nobody knows what is left, because the client is new, was blocked or made a pause, one request asks before
//! others follow.

mod header;
mod window;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use http::{HeaderMap, StatusCode};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use self::header::items;
use self::window::{STALE_AFTER, Shares, Window};
use super::deadline::{has_passed, within};

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
#[derive(Clone)]
#[must_use]
pub struct RateLimit {
    shares: Shares,
    on_wait: Option<Arc<OnWait>>,
}

type OnWait = dyn Fn(Duration) + Send + Sync;

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            shares: Shares {
                reserved: 0.0,
                own: 1.0,
            },
            on_wait: None,
        }
    }
}

impl RateLimit {
    /// Reserves this share of the quota, from 0 to 1, for others on the same budget. Default: 0.
    pub fn reserve_share(mut self, share: f64) -> Self {
        self.shares.reserved = if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            0.0
        };
        self
    }

    /// Uses at most this share, above 0 and up to 1, of what is not [reserved](Self::reserve_share). Default: 1.
    ///
    /// It is for several processes with one budget, whose shares add up to 1: each counts its own requests, and what the
    /// service says is left counts those of all.
    pub fn own_share(mut self, share: f64) -> Self {
        self.shares.own = if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            1.0
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
            .field("shares", &self.shares)
            .finish_non_exhaustive()
    }
}

/// What is left of the service's rate limit, as it last said. Returned by
/// [`Client::requests_left`](crate::Client::requests_left).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestsLeft {
    /// How many requests were left.
    pub requests: u64,
    /// How many requests the limit allows in a window.
    pub quota: u64,
    /// How long a window is.
    pub window: Duration,
    /// When the current window ends, from now.
    pub resets_in: Duration,
}

/// Lets requests through as the limit allows. Shared by all calls of a client.
pub(crate) struct Limiter {
    settings: RateLimit,
    /// Held by the request at the head of the queue. The lock is fair, so the others follow in order.
    queue: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// A request completed, which may have made room.
    changed: Notify,
    /// A block began, which may be too long for those in the queue.
    blocked: Notify,
}

struct State {
    windows: Vec<Window>,
    /// Whether the service has stated its policies, or they are assumed.
    is_stated: bool,
    /// When the service last said what remains.
    updated_at: Option<Instant>,
    /// How many requests of a new client ended without the service saying what remains.
    unanswered: u32,
    last_sent_at: Instant,
    in_flight: u64,
    /// How many of those in flight are permits that were taken ahead and not used yet.
    reserved: u64,
    blocked_until: Option<Instant>,
    /// When the last 429 arrived.
    refused_at: Option<Instant>,
    /// How many 429s came since a request last succeeded. Those that were in flight together count once.
    refusals: u32,
    /// When the first of them arrived.
    refused_since: Option<Instant>,
}

/// How long a request may wait for the limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// When the call began.
    pub(crate) started: Instant,
    pub(crate) deadline: Option<Instant>,
    /// How long to wait for the end of blocks after a 429. `None` is no limit.
    pub(crate) max_block: Option<Duration>,
}

/// Why a request may not be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Room is free only after this time, which is longer than the request may wait.
    Blocked(Duration),
    DeadlinePassed,
}

/// Why a request has to wait.
enum Hold {
    /// For the end of a block.
    Block(Instant),
    /// Until there is room.
    Full(Instant),
    /// Until a request in flight is done, which may make room.
    InFlight,
    /// Until the request that asks is done, or does not respond for so long.
    Asking(Instant),
}

/// The permission to send a request.
pub(crate) struct Permit {
    limiter: Arc<Limiter>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Taken ahead.
    Reserved,
    /// Taken to be used at once.
    Ready,
    SentAt(Instant),
    Done,
}

impl Limiter {
    /// Creates a limiter. `is_cloudflare` adds the limit of an IP address, which Cloudflare does not state in its
    /// responses.
    pub(crate) fn new(settings: RateLimit, is_cloudflare: bool) -> Arc<Self> {
        let mut windows = vec![Window::new("default", 1200, Duration::from_secs(300))];
        if is_cloudflare {
            windows.push(Window::new(PER_ADDRESS, 200, Duration::from_secs(1)));
        }
        Arc::new(Self {
            settings,
            queue: tokio::sync::Mutex::new(()),
            state: Mutex::new(State {
                windows,
                is_stated: false,
                updated_at: None,
                unanswered: 0,
                last_sent_at: Instant::now(),
                in_flight: 0,
                reserved: 0,
                blocked_until: None,
                refused_at: None,
                refusals: 0,
                refused_since: None,
            }),
            changed: Notify::new(),
            blocked: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what the service last said is left, of the limit with the smallest share left.
    pub(crate) fn left(&self) -> Option<RequestsLeft> {
        let now = Instant::now();
        let state = self.state();
        let left = state.windows.iter().filter_map(|window| {
            let (requests, resets_in) = window.left(now)?;
            Some(RequestsLeft {
                requests,
                quota: window.quota,
                window: window.length,
                resets_in,
            })
        });
        left.min_by(|a, b| {
            let (a, b) = (
                a.requests as f64 / a.quota as f64,
                b.requests as f64 / b.quota as f64,
            );
            a.total_cmp(&b)
        })
    }

    /// Waits until a request may be sent, which is to be done at once. Dropping the future gives up its place.
    pub(crate) async fn acquire(self: &Arc<Self>, bounds: Bounds) -> Result<Permit, Refused> {
        self.permit(Stage::Ready, bounds).await
    }

    /// Waits like [`acquire`](Self::acquire), for a request that is sent later.
    pub(crate) async fn reserve(self: &Arc<Self>, bounds: Bounds) -> Result<Permit, Refused> {
        self.permit(Stage::Reserved, bounds).await
    }

    async fn permit(self: &Arc<Self>, stage: Stage, bounds: Bounds) -> Result<Permit, Refused> {
        if has_passed(bounds.deadline) {
            return Err(Refused::DeadlinePassed);
        }
        let waited = within(bounds.deadline, self.wait(stage, bounds)).await;
        waited.unwrap_or(Err(Refused::DeadlinePassed))?;
        Ok(Permit {
            limiter: self.clone(),
            stage,
        })
    }

    /// Waits for the turn and for room, and takes the place.
    async fn wait(&self, stage: Stage, bounds: Bounds) -> Result<(), Refused> {
        let _turn = self.wait_for_turn(bounds).await?;
        let mut is_reported = false;
        loop {
            let changed = self.changed.notified();
            let now = Instant::now();
            let acquired = self.state().try_acquire(now, stage, self.settings.shares);
            let until = match acquired {
                Ok(()) => return Ok(()),
                Err(Hold::InFlight) => {
                    changed.await;
                    continue;
                }
                Err(Hold::Asking(until)) => until,
                Err(Hold::Block(until)) => {
                    self.check_block(bounds)?;
                    is_reported = is_reported || self.report_wait(until - now);
                    until
                }
                Err(Hold::Full(until)) => {
                    bounds.check_deadline(now, until)?;
                    let wait = until.saturating_duration_since(now);
                    is_reported = is_reported || self.report_wait(wait);
                    until
                }
            };
            let _ = timeout_at(until, changed).await;
        }
    }

    /// Waits to become the head of the queue. Fails as soon as a block is too long, which the head may wait for.
    async fn wait_for_turn(
        &self,
        bounds: Bounds,
    ) -> Result<tokio::sync::MutexGuard<'_, ()>, Refused> {
        if let Ok(turn) = self.queue.try_lock() {
            return Ok(turn);
        }
        let mut turn = std::pin::pin!(self.queue.lock());
        loop {
            let blocked = std::pin::pin!(self.blocked.notified());
            self.check_block(bounds)?;
            if let Either::Left((turn, _)) = select(turn.as_mut(), blocked).await {
                return Ok(turn);
            }
        }
    }

    /// Checks that the current block, if there is one, is not too long for a call.
    pub(crate) fn check_block(&self, bounds: Bounds) -> Result<(), Refused> {
        let now = Instant::now();
        let state = self.state();
        let Some(until) = state.blocked_until.filter(|until| now < *until) else {
            return Ok(());
        };
        // Blocks in a row count as one.
        let since = state.refused_since.unwrap_or(now).max(bounds.started);
        if bounds.max_block.is_some_and(|max| until - since > max) {
            return Err(Refused::Blocked(until - now));
        }
        bounds.check_deadline(now, until)
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

impl Bounds {
    fn check_deadline(self, now: Instant, until: Instant) -> Result<(), Refused> {
        if self.deadline.is_some_and(|deadline| until >= deadline) {
            return Err(Refused::Blocked(until.saturating_duration_since(now)));
        }
        Ok(())
    }
}

impl Permit {
    /// Counts the request as sent, which is done now.
    pub(crate) fn begin(&mut self) {
        let now = Instant::now();
        if self.stage == Stage::Reserved {
            let mut state = self.limiter.state();
            state.reserved -= 1;
            state.last_sent_at = now;
        }
        self.stage = Stage::SentAt(now);
    }

    /// Takes what the response says about the limit. `wait` is its `Retry-After`.
    pub(crate) fn complete(
        mut self,
        status: StatusCode,
        headers: &HeaderMap,
        wait: Option<Duration>,
    ) {
        let now = Instant::now();
        let sent_at = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::SentAt(sent_at) => sent_at,
            _ => now,
        };
        let is_refused = status == StatusCode::TOO_MANY_REQUESTS;
        let mut state = self.limiter.state();
        state.count(now, true);
        state.update(now, headers);
        if is_refused {
            state.block(now, sent_at, wait);
        } else if !status.is_server_error() {
            (state.refusals, state.refused_since) = (0, None);
        }
        drop(state);
        self.limiter.changed.notify_waiters();
        if is_refused {
            self.limiter.blocked.notify_waiters();
        }
    }
}

/// A permit that was not used gives its place back. A request without a response may have been counted by the service.
impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.limiter.state();
        match self.stage {
            Stage::Done => return,
            Stage::SentAt(_) => state.count(Instant::now(), false),
            Stage::Reserved | Stage::Ready => {
                state.in_flight -= 1;
                state.reserved -= u64::from(self.stage == Stage::Reserved);
            }
        }
        drop(state);
        self.limiter.changed.notify_waiters();
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.stage).finish()
    }
}

impl State {
    /// Takes a place for a request, or says what it has to wait for.
    fn try_acquire(&mut self, now: Instant, stage: Stage, shares: Shares) -> Result<(), Hold> {
        if let Some(until) = self.blocked_until {
            if now < until {
                return Err(Hold::Block(until));
            }
            self.blocked_until = None;
        }
        if let Some(patience) = self.asks_first(now) {
            // A permit that was taken ahead asks nothing yet.
            let is_reserved = self.in_flight == self.reserved;
            let patience = if is_reserved { STALE_AFTER } else { patience };
            let until = self.last_sent_at + patience;
            if self.in_flight > 0 && now < until {
                return Err(Hold::Asking(until));
            }
        }
        let mut latest = None;
        for window in &mut self.windows {
            if let Err(until) = window.check(now, self.in_flight, shares) {
                // The window that is free last decides. One that depends on a request in flight is later than any.
                latest = match (latest, until) {
                    (Some(None), _) | (_, None) => Some(None),
                    (Some(Some(other)), Some(until)) => Some(Some(until.max(other))),
                    (None, Some(until)) => Some(Some(until)),
                };
            }
        }
        match latest {
            Some(None) => return Err(Hold::InFlight),
            Some(Some(until)) => return Err(Hold::Full(until)),
            None => {}
        }
        self.in_flight += 1;
        self.reserved += u64::from(stage == Stage::Reserved);
        self.last_sent_at = now;
        Ok(())
    }

    /// Whether one request has to ask what is left before others follow, and how long they wait for its response.
    fn asks_first(&self, now: Instant) -> Option<Duration> {
        if self.refusals > 0 {
            return Some(MAX_ASKING);
        }
        match self.updated_at {
            Some(updated) => (now > updated + STALE_AFTER).then_some(STALE_AFTER),
            None => (self.unanswered < MAX_UNANSWERED).then_some(MAX_ASKING),
        }
    }

    fn count(&mut self, now: Instant, has_response: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        for window in &mut self.windows {
            window.count(now, has_response);
        }
        self.unanswered = self.unanswered.saturating_add(1);
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

    /// Begins a block. `stated` is how long the response says that it lasts.
    fn block(&mut self, now: Instant, sent_at: Instant, stated: Option<Duration>) {
        // Refusals of requests that were in flight together say the same.
        if self.refused_at.is_none_or(|refused| sent_at >= refused) {
            self.refusals = self.refusals.saturating_add(1);
        }
        self.refused_at = Some(now);
        self.refused_since.get_or_insert(now);
        let windows = self.windows.iter();
        let used_up = windows.filter_map(|window| window.used_up_for(now)).max();
        let stated = stated.filter(|stated| !stated.is_zero()).or(used_up);
        // What is stated is honoured. If it is not stated, or turns out to be too short, the wait grows.
        let doublings = self.refusals.saturating_sub(1).min(6);
        let growing = MIN_BLOCK
            .saturating_mul(1 << doublings)
            .min(MAX_GROWING_BLOCK);
        let growing = growing.mul_f64(1.0 + fastrand::f64() / 2.0);
        let wait = match stated {
            Some(stated) if doublings == 0 => stated,
            Some(stated) => stated.max(growing),
            None => growing,
        };
        let until = now + wait.min(Duration::from_secs(MAX_WINDOW_SECONDS));
        self.blocked_until = Some(self.blocked_until.map_or(until, |other| other.max(until)));
    }
}

/// How long a block lasts at least if the service does not say. It doubles with each 429 in a row.
const MIN_BLOCK: Duration = Duration::from_secs(1);

/// The service blocks for minutes.
const MAX_GROWING_BLOCK: Duration = Duration::from_secs(60);

/// How long other requests wait for the response of the one that asks.
const MAX_ASKING: Duration = Duration::from_secs(30);

/// A service that said nothing in this many responses never says what remains.
const MAX_UNANSWERED: u32 = 3;

/// The name of the limit of an IP address.
const PER_ADDRESS: &str = "per address";

/// More policies than any service states.
const MAX_WINDOWS: usize = 8;

/// A day. A longer window is not plausible.
const MAX_WINDOW_SECONDS: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    impl Limiter {
        /// Sends a request.
        async fn begin(self: &Arc<Self>) -> Permit {
            let mut permit = self.acquire(bounds(None, None)).await.expect("no bounds");
            permit.begin();
            permit
        }

        /// Sends a request that gets this response.
        async fn send(self: &Arc<Self>, status: u16, headers: HeaderMap, wait: Option<Duration>) {
            let status = StatusCode::from_u16(status).expect("a status");
            self.begin().await.complete(status, &headers, wait);
        }
    }

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
            let limiter = Limiter::new(RateLimit::default(), false);
            let mut state = limiter.state();
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
        let limiter = Limiter::new(RateLimit::default(), true);
        let mut state = limiter.state();
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
            let permit = limiter.begin().await;
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
        let blocked = Instant::now();
        let wait = Duration::from_secs(300);
        limiter.send(429, HeaderMap::new(), Some(wait)).await;
        for _ in 0..10 {
            drop(limiter.begin().await);
        }
        assert_eq!(blocked.elapsed(), Duration::from_secs(300));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_is_what_the_service_said_last() {
        let limiter = Limiter::new(RateLimit::default(), true);
        assert_eq!(limiter.left(), None);
        let stated = headers(&[
            ("ratelimit-policy", "\"a\";q=100;w=60, \"b\";q=1000;w=300"),
            ("ratelimit", "\"a\";r=50;t=30, \"b\";r=400;t=200"),
        ]);
        limiter.send(200, stated, None).await;
        let left = limiter.left().expect("was said");
        assert_eq!((left.requests, left.quota), (400, 1000));
        assert_eq!(left.window, Duration::from_secs(300));
        tokio::time::advance(Duration::from_secs(40)).await;
        assert!(limiter.left().is_some());
        tokio::time::advance(Duration::from_secs(300)).await;
        assert_eq!(limiter.left(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_service_says_remains_counts_until_the_window_ends() {
        let limiter = Limiter::new(RateLimit::default(), false);
        let start = Instant::now();
        let remaining = headers(&[("ratelimit", "\"default\";r=2;t=30")]);
        limiter.send(200, remaining, None).await;
        drop(limiter.begin().await);
        drop(limiter.begin().await);
        assert_eq!(start.elapsed(), Duration::ZERO);
        drop(limiter.begin().await);
        assert_eq!(start.elapsed(), Duration::from_secs(31));
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_is_reserved_for_others() {
        let limiter = Limiter::new(RateLimit::default().reserve_share(0.5), false);
        let start = Instant::now();
        for _ in 0..600 {
            drop(limiter.begin().await);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        drop(limiter.begin().await);
        assert!(start.elapsed() >= Duration::from_secs(300));
        let everything = Limiter::new(RateLimit::default().reserve_share(7.0), false);
        drop(everything.begin().await);
    }

    #[tokio::test(start_paused = true)]
    async fn processes_with_one_budget_use_a_share_each_of_what_is_not_reserved() {
        let settings = || RateLimit::default().reserve_share(0.5).own_share(0.5);
        let limiter = Limiter::new(settings(), false);
        let start = Instant::now();
        // The others have used a quarter, which leaves half to nobody but those that it is reserved for.
        limiter
            .send(
                200,
                headers(&[("ratelimit", "\"default\";r=900;t=300")]),
                None,
            )
            .await;
        for _ in 1..300 {
            drop(limiter.begin().await);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        drop(limiter.begin().await);
        assert!(start.elapsed() >= Duration::from_secs(300));
    }

    #[tokio::test(start_paused = true)]
    async fn waits_are_reported_and_requests_go_in_order() {
        let reported = Arc::new(Mutex::new(Vec::new()));
        let report = reported.clone();
        let settings =
            RateLimit::default().on_wait(move |wait| report.lock().expect("ok").push(wait));
        let limiter = Limiter::new(settings, false);
        for _ in 0..1200 {
            drop(limiter.begin().await);
        }
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let (limiter, order) = (limiter.clone(), order.clone());
                tokio::spawn(async move {
                    let _permit = limiter.begin().await;
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
        let limiter = Limiter::new(RateLimit::default(), false);
        for _ in 0..1200 {
            drop(limiter.begin().await);
        }
        let first = tokio::spawn({
            let limiter = limiter.clone();
            async move { drop(limiter.begin().await) }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        first.abort();
        tokio::time::timeout(Duration::from_secs(400), limiter.begin())
            .await
            .map(drop)
            .expect("goes on");
    }

    fn bounds(deadline: Option<u64>, max_block: Option<u64>) -> Bounds {
        Bounds {
            started: Instant::now(),
            deadline: deadline.map(|seconds| Instant::now() + Duration::from_secs(seconds)),
            max_block: max_block.map(Duration::from_secs),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_that_is_not_used_gives_its_place_back() {
        let limiter = Limiter::new(RateLimit::default(), false);
        for _ in 0..5000 {
            drop(
                limiter
                    .reserve(bounds(None, None))
                    .await
                    .expect("no bounds"),
            );
            drop(
                limiter
                    .acquire(bounds(None, None))
                    .await
                    .expect("no bounds"),
            );
        }
        let state = limiter.state();
        assert_eq!((state.in_flight, state.reserved), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_that_was_taken_ahead_holds_nobody_up() {
        let limiter = Limiter::new(RateLimit::default(), false);
        let mut reserved = limiter
            .reserve(bounds(None, None))
            .await
            .expect("no bounds");
        let start = Instant::now();
        limiter.send(200, HeaderMap::new(), None).await;
        assert_eq!(start.elapsed(), STALE_AFTER);
        reserved.begin();
        reserved.complete(StatusCode::OK, &HeaderMap::new(), None);
        assert_eq!(limiter.state().in_flight, 0);
        // Its place counts while it is held.
        for _ in 2..1199 {
            limiter.send(200, HeaderMap::new(), None).await;
        }
        let reserved = limiter
            .reserve(bounds(None, None))
            .await
            .expect("is the last");
        let refused = limiter.acquire(bounds(Some(1), None)).await;
        assert!(refused.is_err());
        drop(reserved);
        limiter.acquire(bounds(Some(1), None)).await.expect("free");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_too_long_is_refused_at_once() {
        let limiter = Limiter::new(RateLimit::default(), false);
        let wait = Duration::from_secs(300);
        limiter.send(429, HeaderMap::new(), Some(wait)).await;
        // A patient request waits at the head of the queue.
        let patient = tokio::spawn({
            let limiter = limiter.clone();
            async move { drop(limiter.begin().await) }
        });
        tokio::time::sleep(Duration::from_secs(10)).await;
        let left = Duration::from_secs(290);
        let start = Instant::now();
        for bounds in [
            bounds(Some(289), None),
            bounds(None, Some(289)),
            bounds(Some(289), Some(600)),
        ] {
            let refused = limiter.acquire(bounds).await.map(drop);
            assert_eq!(refused, Err(Refused::Blocked(left)), "{bounds:?}");
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        let waits = limiter.acquire(bounds(Some(600), Some(600))).await;
        waits.expect("is long enough");
        assert_eq!(start.elapsed(), left);
        patient.await.expect("ends");
    }

    #[tokio::test(start_paused = true)]
    async fn those_in_the_queue_are_refused_when_a_block_begins() {
        let limiter = Limiter::new(RateLimit::default(), false);
        // The first request asks, so all others wait for it.
        let asks = limiter.begin().await;
        let start = Instant::now();
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let limiter = limiter.clone();
                let bounds = bounds(None, Some(360));
                tokio::spawn(async move { limiter.acquire(bounds).await.map(drop) })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let wait = Duration::from_secs(3600);
        asks.complete(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), Some(wait));
        for waiting in waiting {
            let refused = waiting.await.expect("ends");
            assert_eq!(refused, Err(Refused::Blocked(wait)));
        }
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn blocks_that_nobody_states_grow_until_a_request_succeeds() {
        for stated in [None, Some(0), Some(1)] {
            let stated = stated.map(Duration::from_secs);
            let limiter = Limiter::new(RateLimit::default(), false);
            for _ in 0..2 {
                let mut gaps = Vec::new();
                for _ in 0..12 {
                    limiter.send(429, HeaderMap::new(), stated).await;
                    let blocked = Instant::now();
                    limiter
                        .acquire(bounds(None, None))
                        .await
                        .expect("no bounds");
                    gaps.push(blocked.elapsed().as_secs_f64());
                }
                for (place, gap) in gaps.iter().enumerate() {
                    let least = f64::from(1 << place.min(6)).min(60.0);
                    assert!(
                        (least..=1.5 * least + 0.01).contains(gap),
                        "{stated:?} {gaps:?}"
                    );
                }
                limiter.send(200, HeaderMap::new(), None).await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_of_requests_in_flight_together_count_once() {
        let limiter = Limiter::new(RateLimit::default(), false);
        for _ in 0..3 {
            limiter.send(200, HeaderMap::new(), None).await;
        }
        let mut in_flight = Vec::new();
        for _ in 0..50 {
            in_flight.push(limiter.begin().await);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        for permit in in_flight {
            permit.complete(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), None);
        }
        assert_eq!(limiter.state().refusals, 1);
    }

    /// Starts `count` requests, each of which takes 100 ms, and returns how long all take.
    async fn burst(
        limiter: &Arc<Limiter>,
        count: u32,
        status: u16,
        headers: &HeaderMap,
    ) -> Duration {
        let start = Instant::now();
        let requests: Vec<_> = (0..count)
            .map(|_| {
                let (limiter, headers) = (limiter.clone(), headers.clone());
                let status = StatusCode::from_u16(status).expect("a status");
                tokio::spawn(async move {
                    let permit = limiter.begin().await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    permit.complete(status, &headers, None);
                })
            })
            .collect();
        for request in requests {
            request.await.expect("ends");
        }
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_asks_before_others_follow() {
        let remaining = headers(&[("ratelimit", "\"default\";r=1000;t=300")]);
        let stating = Limiter::new(RateLimit::default(), false);
        let took = burst(&stating, 50, 200, &remaining).await;
        assert_eq!(took, Duration::from_millis(200));
        // A service that states nothing is asked three times, and then believed.
        let silent = Limiter::new(RateLimit::default(), false);
        let took = burst(&silent, 50, 200, &HeaderMap::new()).await;
        assert_eq!(took, Duration::from_millis(400));
        let failing = Limiter::new(RateLimit::default(), false);
        let took = burst(&failing, 50, 502, &HeaderMap::new()).await;
        assert_eq!(took, Duration::from_millis(400));
        // After a block, one asks again.
        let wait = Some(Duration::from_secs(5));
        silent.send(429, HeaderMap::new(), wait).await;
        let took = burst(&silent, 50, 200, &HeaderMap::new()).await;
        assert_eq!(took, Duration::from_millis(5200));
    }
}
