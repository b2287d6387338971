//! One policy of the rate limit: a quota of requests in a window, what was sent, and what the service says remains.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// What the service said longer ago is not relied on without a request that asks again.
pub(super) const STALE_AFTER: Duration = Duration::from_secs(1);

/// How long a request and its response take, where that is not measured.
const NOMINAL_ROUND_TRIP: Duration = Duration::from_millis(100);

/// How much of a quota a client uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shares {
    /// What is left to others, of the whole.
    pub(super) reserved: f64,
    /// What this client uses, of the rest.
    pub(super) own: f64,
}

/// A quota of requests in any stretch of a window's length.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) name: String,
    pub(super) quota: u64,
    pub(super) length: Duration,
    /// Completed requests as (time, count), in steps, so that a large quota takes little memory.
    completed: VecDeque<(Instant, u64)>,
    total: u64,
    remaining: Option<Remaining>,
}

/// What the service says remains of the current window.
#[derive(Clone, Copy, Debug)]
struct Remaining {
    /// Completed requests are counted in it; requests in flight may be.
    requests: u64,
    resets_at: Instant,
    updated_at: Instant,
    /// What remained when this window was first reported, and when that was.
    first_requests: u64,
    first_at: Instant,
    /// How many requests of this client completed since then.
    own: u64,
}

impl Remaining {
    /// Returns how many requests to keep back for others on the same budget, who send between the last response and
    /// the arrival of a request that is sent now: twice what they sent in the same time so far.
    fn margin(&self, now: Instant, in_flight: u64) -> u64 {
        let others = (self.first_requests - self.requests).saturating_sub(self.own + in_flight);
        if others == 0 {
            return 0;
        }
        let unseen = now.saturating_duration_since(self.updated_at) + NOMINAL_ROUND_TRIP;
        let observed =
            self.updated_at.saturating_duration_since(self.first_at) + NOMINAL_ROUND_TRIP;
        let expected = others as f64 * unseen.as_secs_f64() / observed.as_secs_f64();
        2 + (2.0 * expected).ceil() as u64
    }
}

impl Window {
    /// A step is this fraction of the window: what waiting for the end of a step can cost.
    const STEPS: u32 = 1000;

    pub(super) fn new(name: &str, quota: u64, length: Duration) -> Self {
        Self {
            name: name.to_owned(),
            quota,
            length,
            completed: VecDeque::new(),
            total: 0,
            remaining: None,
        }
    }

    /// Counts a request that has completed, with or without a response.
    pub(super) fn count(&mut self, now: Instant, has_response: bool) {
        self.total += 1;
        if let Some(remaining) = &mut self.remaining {
            remaining.own += 1;
            if !has_response {
                remaining.requests = remaining.requests.saturating_sub(1);
            }
        }
        match self.completed.back_mut() {
            Some((until, count)) if now <= *until => *count += 1,
            _ => self
                .completed
                .push_back((now + self.length / Self::STEPS, 1)),
        }
    }

    /// Checks whether one more request may be sent. The error is the time from which it may; `None` if that depends on
    /// a request in flight.
    pub(super) fn check(
        &mut self,
        now: Instant,
        in_flight: u64,
        shares: Shares,
    ) -> Result<(), Option<Instant>> {
        while let Some((completed, count)) = self.completed.front()
            && *completed + self.length <= now
        {
            self.total -= count;
            self.completed.pop_front();
        }
        let reserved = (self.quota as f64 * shares.reserved).ceil() as u64;
        if let Some(remaining) = self.remaining {
            let margin = remaining.margin(now, in_flight).min(self.quota / 20);
            if now >= remaining.resets_at {
                self.remaining = None;
            } else if remaining.requests <= reserved + margin + in_flight {
                // Requests in flight may turn out to be counted already.
                return Err((in_flight == 0).then_some(remaining.resets_at));
            }
        }
        // At least one, or nothing would ever be sent.
        let usable = self.quota.saturating_sub(reserved) as f64 * shares.own;
        let usable = (usable as u64).max(1);
        if self.total + in_flight < usable {
            return Ok(());
        }
        Err(self
            .completed
            .front()
            .map(|(completed, _)| *completed + self.length))
    }

    /// Takes what the service says: `remaining` requests for `resets_in`.
    pub(super) fn update(&mut self, now: Instant, remaining: u64, resets_in: Duration) {
        let requests = remaining.min(self.quota);
        // The service rounds to seconds.
        let resets_at = now + resets_in.min(self.length) + Duration::from_secs(1);
        let current = self.remaining.filter(|current| {
            now < current.resets_at && resets_at <= current.resets_at + Duration::from_secs(2)
        });
        self.remaining = Some(match current {
            // Responses overtake each other. Within a window the remainder only shrinks.
            Some(current) => Remaining {
                requests: current.requests.min(requests),
                updated_at: now,
                ..current
            },
            None => Remaining {
                requests,
                resets_at,
                updated_at: now,
                first_requests: requests,
                first_at: now,
                own: 0,
            },
        });
    }

    /// Returns for how long nothing remains, if that is so.
    pub(super) fn used_up_for(&self, now: Instant) -> Option<Duration> {
        let remaining = self.remaining.filter(|remaining| remaining.requests == 0)?;
        Some(remaining.resets_at.saturating_duration_since(now))
    }

    /// Returns what remained when the service last said it, and for how long, if that is not over.
    pub(super) fn left(&self, now: Instant) -> Option<(u64, Duration)> {
        let remaining = self
            .remaining
            .filter(|remaining| now < remaining.resets_at)?;
        Some((remaining.requests, remaining.resets_at - now))
    }
}
