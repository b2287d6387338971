//! One rate limit for all the operations of a client.
//!
//! The service counts requests in windows and blocks for minutes once too many came, so the aim is to
//! come close and never to be blocked. Two things are kept for each policy that the service states:
//!
//! - *What this client sent*: at most the quota in any stretch of a window's length, wherever the
//!   service's windows begin. A request counts from when it is sent until a window's length after it was
//!   answered, since the service may have counted it at any time in between.
//! - *What the service says is left*, which is less where others use the same token: what it said last,
//!   less what is under way, and less a margin for what those others send meanwhile. When that is used
//!   up, requests wait until the window's end. After a pause one request goes ahead and asks.
//!
//! Requests go in the order in which they came. After a 429 all of them wait as long as it says, once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::retry::retry_after;

/// How much of the service's rate limit a client uses.
///
/// The quota itself is the service's to say, in its `Ratelimit-Policy` and `Ratelimit` headers; until it
/// does, 1,200 requests in 300 seconds are assumed.
///
/// ```
/// use shieldcert::RateLimit;
///
/// // A tenth of the quota stays free for the dashboard and other tools of the same user.
/// let considerate = RateLimit::default().leave_for_others(0.1);
/// let told = RateLimit::default().on_wait(|wait| eprintln!("rate limit: waiting {wait:?}"));
/// # let _ = (considerate, told);
/// ```
#[derive(Clone, Default)]
pub struct RateLimit {
    left_for_others: f64,
    on_wait: Option<Arc<OnWait>>,
}

type OnWait = dyn Fn(Duration) + Send + Sync;

impl RateLimit {
    /// Leaves this share of the quota, from 0 to 1, to others on the same token. Nothing unless set.
    pub fn leave_for_others(mut self, share: f64) -> Self {
        self.left_for_others = if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            0.0
        };
        self
    }

    /// Calls this, with how long, whenever requests begin to wait for longer than a second.
    pub fn on_wait(mut self, notice: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        self.on_wait = Some(Arc::new(notice));
        self
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("left_for_others", &self.left_for_others)
            .finish_non_exhaustive()
    }
}

/// Lets requests through as the limit allows. Shared by everything that a client does.
pub(crate) struct Limiter {
    settings: RateLimit,
    /// Held by the one request whose turn it is; the others queue up behind it, first come, first served.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// An answer came, which may have made room.
    changed: Notify,
}

struct State {
    policies: Vec<Policy>,
    /// Whether the service has stated its policies, or they are assumed.
    is_stated: bool,
    /// When the service last said what is left, if it ever did.
    heard_at: Option<Instant>,
    last_sent_at: Instant,
    under_way: u64,
    blocked_until: Option<Instant>,
}

/// A request that is under way.
pub(crate) struct Permit<'a> {
    limiter: &'a Limiter,
    done: bool,
}

impl Limiter {
    /// `is_cloudflare` adds what Cloudflare's edge allows an address and does not state in its answers.
    pub(crate) fn new(settings: RateLimit, is_cloudflare: bool) -> Self {
        let mut policies = vec![Policy::new("default", 1200, Duration::from_secs(300))];
        if is_cloudflare {
            policies.push(Policy::new(PER_ADDRESS, 200, Duration::from_secs(1)));
        }
        Self {
            settings,
            turn: tokio::sync::Mutex::new(()),
            state: Mutex::new(State {
                policies,
                is_stated: false,
                heard_at: None,
                last_sent_at: Instant::now(),
                under_way: 0,
                blocked_until: None,
            }),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a request may be sent. Dropping the future gives its place up.
    pub(crate) async fn acquire(&self) -> Permit<'_> {
        let _turn = self.turn.lock().await;
        let mut told = false;
        loop {
            let changed = self.changed.notified();
            let now = Instant::now();
            let room = self.state().room(now, self.settings.left_for_others);
            match room {
                Ok(()) => {
                    return Permit {
                        limiter: self,
                        done: false,
                    };
                }
                Err(Some(until)) => {
                    if !told {
                        told = self.tell(until.saturating_duration_since(now));
                    }
                    let _ = timeout_at(until, changed).await;
                }
                // Everything that counts is under way.
                Err(None) => changed.await,
            }
        }
    }

    fn tell(&self, wait: Duration) -> bool {
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
    /// The request was answered so.
    pub(crate) fn answered(mut self, response: &http::Response<Bytes>) {
        self.done = true;
        let now = Instant::now();
        let mut state = self.limiter.state();
        state.ended(now, true);
        state.learn(now, response.headers());
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            state.block(now, retry_after(response.headers()));
        }
        drop(state);
        self.limiter.changed.notify_waiters();
    }
}

/// Without an answer the service may have counted the request all the same.
impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.limiter.state().ended(Instant::now(), false);
            self.limiter.changed.notify_waiters();
        }
    }
}

impl State {
    /// Takes a place for a request, or says until when there is none.
    fn room(&mut self, now: Instant, left_for_others: f64) -> Result<(), Option<Instant>> {
        if let Some(until) = self.blocked_until {
            if now < until {
                return Err(Some(until));
            }
            self.blocked_until = None;
        }
        // One goes ahead to ask, and another each second in case its answer does not come.
        let is_stale = self.heard_at.is_some_and(|heard| now > heard + STALE);
        if is_stale && self.under_way > 0 && now < self.last_sent_at + STALE {
            return Err(Some(self.last_sent_at + STALE));
        }
        let mut latest = None;
        for policy in &mut self.policies {
            if let Err(until) = policy.room(now, self.under_way, left_for_others) {
                // Of several policies, the one that is free last decides; one that can't say when is
                // free once something is answered.
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
        self.under_way += 1;
        self.last_sent_at = now;
        Ok(())
    }

    fn ended(&mut self, now: Instant, is_heard: bool) {
        self.under_way = self.under_way.saturating_sub(1);
        for policy in &mut self.policies {
            policy.count(now, is_heard);
        }
    }

    fn learn(&mut self, now: Instant, headers: &HeaderMap) {
        let stated = || {
            items(headers, "ratelimit-policy")
                .filter_map(|item| {
                    let (quota, window) = (item.number("q")?, item.number("w")?);
                    let is_sensible = quota > 0 && (1..=LONGEST_WINDOW).contains(&window);
                    is_sensible.then(|| (item.name, quota, Duration::from_secs(window)))
                })
                .take(MOST_POLICIES)
        };
        // They are the same in every answer, nearly.
        let known = self
            .policies
            .iter()
            .filter(|policy| policy.name != PER_ADDRESS);
        let known = known.map(|policy| (policy.name.as_str(), policy.quota, policy.window));
        let is_news = !self.is_stated || !known.eq(stated());
        if is_news && stated().next().is_some() {
            let stated = stated().map(|(name, quota, window)| (name.to_owned(), quota, window));
            self.state_policies(stated.collect());
        }
        for item in items(headers, "ratelimit") {
            let (Some(left), Some(resets_in)) = (item.number("r"), item.number("t")) else {
                continue;
            };
            if let Some(policy) = self
                .policies
                .iter_mut()
                .find(|policy| policy.name == item.name)
            {
                policy.hear(now, left, Duration::from_secs(resets_in));
                self.heard_at = Some(now);
            }
        }
    }

    /// What was counted stays counted under the names that the service uses.
    fn state_policies(&mut self, stated: Vec<(String, u64, Duration)>) {
        let mut known = std::mem::take(&mut self.policies);
        let own = known.iter().position(|policy| policy.name == PER_ADDRESS);
        let own = own.map(|place| known.remove(place));
        let assumed = (!self.is_stated).then(|| known.first().cloned()).flatten();
        for (name, quota, window) in stated {
            let place = known.iter().position(|policy| policy.name == name);
            let mut policy = match (place, &assumed) {
                (Some(place), _) => known.remove(place),
                (None, Some(assumed)) => assumed.clone(),
                (None, None) => Policy::new("", quota, window),
            };
            policy.name = name;
            policy.quota = quota;
            policy.window = window;
            self.policies.push(policy);
        }
        self.policies.extend(own);
        self.is_stated = true;
    }

    fn block(&mut self, now: Instant, wait: Option<Duration>) {
        let wait = wait
            .or_else(|| {
                self.policies
                    .iter()
                    .filter_map(|policy| policy.resets_in(now))
                    .max()
            })
            .unwrap_or(Duration::from_secs(1))
            .min(Duration::from_secs(LONGEST_WINDOW));
        let until = now + wait;
        self.blocked_until = Some(self.blocked_until.map_or(until, |other| other.max(until)));
    }
}

/// What the edge allows an address in a second.
const PER_ADDRESS: &str = "per address";

/// More policies than any service has.
const MOST_POLICIES: usize = 8;

/// A day, in seconds. A longer window would be nonsense.
const LONGEST_WINDOW: u64 = 86_400;

/// So many requests in such a window.
#[derive(Clone, Debug)]
struct Policy {
    name: String,
    quota: u64,
    window: Duration,
    /// When requests were answered, and how many: in steps, so that a large quota takes little memory.
    counted: VecDeque<(Instant, u64)>,
    total: u64,
    left: Option<Left>,
}

/// What the service says is left of a window.
#[derive(Clone, Copy, Debug)]
struct Left {
    /// With everything counted that was answered, and what is under way perhaps not.
    requests: u64,
    resets_at: Instant,
    heard_at: Instant,
    /// What was left when the window was first heard of, and when that was.
    at_first: u64,
    first_at: Instant,
    /// How many requests of this client ended since then.
    ours: u64,
}

impl Left {
    /// How many requests to keep back for what others send between the last answer and the arrival of
    /// a request sent now: twice what they sent in as much time so far.
    fn margin(&self, now: Instant, under_way: u64) -> u64 {
        let others = (self.at_first - self.requests).saturating_sub(self.ours + under_way);
        if others == 0 {
            return 0;
        }
        let unheard = now.saturating_duration_since(self.heard_at) + NOMINAL_ROUND_TRIP;
        let observed = self.heard_at.saturating_duration_since(self.first_at) + NOMINAL_ROUND_TRIP;
        let expected = others as f64 * unheard.as_secs_f64() / observed.as_secs_f64();
        2 + (2.0 * expected).ceil() as u64
    }
}

/// For what is not measured: how long a request and its answer are on their way.
const NOMINAL_ROUND_TRIP: Duration = Duration::from_millis(100);

/// What the service said so long ago is not believed without asking again.
const STALE: Duration = Duration::from_secs(1);

impl Policy {
    /// A step is this part of a window: what waiting for the end of a step can cost.
    const STEPS: u32 = 1000;

    fn new(name: &str, quota: u64, window: Duration) -> Self {
        Self {
            name: name.to_owned(),
            quota,
            window,
            counted: VecDeque::new(),
            total: 0,
            left: None,
        }
    }

    /// Counts a request that has ended, `is_heard` with an answer.
    fn count(&mut self, now: Instant, is_heard: bool) {
        self.total += 1;
        if let Some(left) = &mut self.left {
            left.ours += 1;
            if !is_heard {
                left.requests = left.requests.saturating_sub(1);
            }
        }
        match self.counted.back_mut() {
            Some((until, count)) if now <= *until => *count += 1,
            _ => self.counted.push_back((now + self.window / Self::STEPS, 1)),
        }
    }

    /// Whether there is room for one more, or from when on there is.
    fn room(
        &mut self,
        now: Instant,
        under_way: u64,
        left_for_others: f64,
    ) -> Result<(), Option<Instant>> {
        while let Some((counted, count)) = self.counted.front()
            && *counted + self.window <= now
        {
            self.total -= count;
            self.counted.pop_front();
        }
        let reserved = (self.quota as f64 * left_for_others).ceil() as u64;
        if let Some(left) = self.left {
            if now >= left.resets_at {
                self.left = None;
            } else if left.requests
                <= reserved + left.margin(now, under_way).min(self.quota / 20) + under_way
            {
                // What is under way may turn out to have been counted already.
                return Err((under_way == 0).then_some(left.resets_at));
            }
        }
        // At least one, or nothing would ever be sent.
        let usable = self.quota.saturating_sub(reserved).max(1);
        if self.total + under_way < usable {
            return Ok(());
        }
        Err(self
            .counted
            .front()
            .map(|(counted, _)| *counted + self.window))
    }

    /// Takes in what the service says: `left` requests for `resets_in`.
    fn hear(&mut self, now: Instant, left: u64, resets_in: Duration) {
        let requests = left.min(self.quota);
        // The service rounds to seconds.
        let resets_at = now + resets_in.min(self.window) + Duration::from_secs(1);
        let known = self.left.filter(|known| {
            now < known.resets_at && resets_at <= known.resets_at + Duration::from_secs(2)
        });
        self.left = Some(match known {
            // Answers overtake each other; within a window less is left, never more.
            Some(known) => Left {
                requests: known.requests.min(requests),
                heard_at: now,
                ..known
            },
            None => Left {
                requests,
                resets_at,
                heard_at: now,
                at_first: requests,
                first_at: now,
                ours: 0,
            },
        });
    }

    fn resets_in(&self, now: Instant) -> Option<Duration> {
        Some(self.left?.resets_at.saturating_duration_since(now))
    }
}

/// An item of a structured field: `"default";r=50;t=30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item<'a> {
    name: &'a str,
    parameters: &'a str,
}

impl<'a> Item<'a> {
    fn new(text: &'a str) -> Option<Self> {
        let end = split(text, ';').next()?.len();
        let (name, parameters) = text.split_at(end);
        let name = name.trim().trim_matches('"');
        (!name.is_empty()).then_some(Self { name, parameters })
    }

    fn number(self, name: &str) -> Option<u64> {
        let pairs = split(self.parameters, ';').filter_map(|pair| pair.split_once('='));
        let named = |key: &str| key.trim().eq_ignore_ascii_case(name);
        // As if those that are no numbers were not there.
        pairs
            .filter(|(key, _)| named(key))
            .find_map(|(_, value)| value.trim().parse().ok())
    }
}

/// Reads the items of a header. What can't be read is left out, and nothing it says fails. Allocates nothing: it is
/// done for every answer.
fn items<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = Item<'a>> {
    let values = headers.get_all(name).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| split(value, ','))
        .filter_map(Item::new)
}

/// Splits at a separator that stands in no quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |c: char| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    })
}

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
    fn headers_are_read_however_they_are_written() {
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
            state.learn(Instant::now(), &headers(&[("ratelimit-policy", value)]));
            let found: Vec<_> = state
                .policies
                .iter()
                .map(|policy| (policy.name.as_str(), policy.quota, policy.window.as_secs()))
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
        state.learn(Instant::now(), &headers(&[("ratelimit-policy", &many)]));
        assert_eq!(state.policies.len(), MOST_POLICIES + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quota_is_never_exceeded_in_any_stretch_of_a_window() {
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
    async fn a_429_is_waited_out_once_by_all() {
        let limiter = Limiter::new(RateLimit::default(), false);
        let permit = limiter.acquire().await;
        let mut response = http::Response::new(Bytes::new());
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        response
            .headers_mut()
            .insert("retry-after", "300".parse().expect("a value"));
        let blocked = Instant::now();
        permit.answered(&response);
        for _ in 0..10 {
            drop(limiter.acquire().await);
        }
        assert_eq!(blocked.elapsed(), Duration::from_secs(300));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_service_says_is_left_is_believed_until_the_window_ends() {
        let limiter = Limiter::new(RateLimit::default(), false);
        let start = Instant::now();
        let mut response = http::Response::new(Bytes::new());
        response.headers_mut().insert(
            "ratelimit",
            "\"default\";r=2;t=30".parse().expect("a value"),
        );
        limiter.acquire().await.answered(&response);
        drop(limiter.acquire().await);
        drop(limiter.acquire().await);
        assert_eq!(start.elapsed(), Duration::ZERO);
        drop(limiter.acquire().await);
        assert_eq!(start.elapsed(), Duration::from_secs(31));
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_is_left_for_others() {
        let limiter = Limiter::new(RateLimit::default().leave_for_others(0.5), false);
        let start = Instant::now();
        for _ in 0..600 {
            drop(limiter.acquire().await);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        drop(limiter.acquire().await);
        assert!(start.elapsed() >= Duration::from_secs(300));
        let everything = Limiter::new(RateLimit::default().leave_for_others(7.0), false);
        drop(everything.acquire().await);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_are_told_and_turns_are_taken_in_order() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let notice = told.clone();
        let settings =
            RateLimit::default().on_wait(move |wait| notice.lock().expect("ok").push(wait));
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
        let told = told.lock().expect("ok");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0] > Duration::from_secs(299), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_wait_gives_its_turn_up() {
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
            .expect("has its turn");
    }
}
