//! What a run has learnt of the zones: which take no requests, or no new certificates, and which can't be reached.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shieldcert::ZoneId;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use tokio::time::{Instant, sleep_until};

use crate::journal::Hold;
use crate::places::Places;

/// What is known of the zones in this run.
#[derive(Default)]
pub(super) struct Zones(Mutex<HashMap<ZoneId, Known>>, Mutex<Places>);

#[derive(Default)]
struct Known {
    is_full: bool,
    is_forbidden: bool,
    is_unreachable: bool,
    /// How many requests in a row got no response of the API.
    failures: u32,
    /// Until when the next one waits.
    until: Option<Instant>,
    /// Held by the one request that is tried while others fail.
    turn: Arc<Turn<()>>,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It takes a place in the quota.
    Issue,
    Other,
}

/// The permission to use a zone. While it does not respond, only one request holds it.
pub(super) struct Admission(
    #[expect(dead_code, reason = "it is held")] Option<OwnedMutexGuard<()>>,
);

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// After so many failures in a row a run gives the zone up. They take five minutes.
const MAX_FAILURES: u32 = 10;

impl Zones {
    fn lock(&self) -> MutexGuard<'_, HashMap<ZoneId, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, zone: &ZoneId, act: impl FnOnce(&mut Known) -> T) -> T {
        act(self.lock().entry(zone.clone()).or_default())
    }

    /// Waits until the zone may be used. Returns what it waits for where this run does not use it any more.
    pub(super) async fn admit(&self, zone: &ZoneId, purpose: Purpose) -> Result<Admission, Hold> {
        let mut held = None;
        loop {
            let (until, turn) = self.with(zone, |known| {
                if known.is_forbidden {
                    return Err(Hold::Permission);
                }
                if known.is_unreachable {
                    return Err(Hold::Failed);
                }
                if known.is_full && purpose == Purpose::Issue {
                    return Err(Hold::Quota);
                }
                Ok((
                    known.until,
                    (known.failures > 0).then(|| known.turn.clone()),
                ))
            })?;
            let Some(turn) = turn else {
                return Ok(Admission(None));
            };
            if held.is_none() {
                held = Some(turn.lock_owned().await);
                continue;
            }
            match until.filter(|until| Instant::now() < *until) {
                Some(until) => sleep_until(until).await,
                None => return Ok(Admission(held)),
            }
        }
    }

    /// The zone responded.
    pub(super) fn responded(&self, zone: &ZoneId) {
        self.with(zone, |known| (known.failures, known.until) = (0, None));
    }

    /// The zone did not respond. Returns whether it may be tried again in this run.
    pub(super) fn failed(&self, zone: &ZoneId) -> bool {
        self.with(zone, |known| {
            let pause = FIRST_PAUSE
                .saturating_mul(1 << known.failures.min(16))
                .min(MAX_PAUSE);
            known.failures += 1;
            known.until = Some(Instant::now() + pause);
            known.is_unreachable = known.failures >= MAX_FAILURES;
            !known.is_unreachable
        })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets how many new devices get a certificate where, by the quotas of the configuration.
    pub(super) fn set_places(&self, places: Places) {
        *self.places() = places;
    }

    /// Takes a place for a new device. Otherwise says why there is none.
    pub(super) fn take_place(&self, zone: &ZoneId) -> Result<(), String> {
        let mut places = self.places();
        match places.take(zone) {
            true => Ok(()),
            false => Err(places
                .get(zone)
                .map(|place| place.problem(zone))
                .unwrap_or_default()),
        }
    }

    /// Gives back the place of a new device that got no certificate.
    pub(super) fn give_place_back(&self, zone: &ZoneId) {
        self.places().give_back(zone);
    }

    /// The quota of the zone is reached.
    pub(super) fn is_full_now(&self, zone: &ZoneId) {
        self.with(zone, |known| known.is_full = true);
    }

    /// Whether new certificates may be asked for there, as far as this run knows.
    pub(super) fn takes_new(&self, zone: &ZoneId) -> bool {
        self.places().has_place(zone)
            && self.with(zone, |known| {
                !known.is_full && !known.is_forbidden && !known.is_unreachable
            })
    }

    /// A place in the quota became free.
    pub(super) fn has_place_again(&self, zone: &ZoneId) {
        self.with(zone, |known| known.is_full = false);
        self.places().give_back(zone);
    }

    /// The service refused the credentials, and there are no others.
    pub(super) fn forbid(&self, zone: &ZoneId) {
        self.with(zone, |known| known.is_forbidden = true);
    }
}
