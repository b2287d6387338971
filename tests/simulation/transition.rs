//! How a user moves certificates, and waits for moves.

use std::time::Duration;

use shieldcert::{Error, Status};
use tokio::time::{Instant, sleep};

use super::settings::pick;
use super::task::Task;

/// A replica that lags by less does not make a certificate look as if somebody had moved it.
const OVERTAKEN_AFTER: Duration = Duration::from_secs(75);

/// A certificate that is missing for less time may be one that a replica does not have yet.
const MISSING_FOR: Duration = Duration::from_secs(15);

/// How long looking at a certificate may take, with the limit's blocks.
const TIME_TO_LOOK: Duration = Duration::from_secs(120);

impl Task {
    /// Moves a certificate, and waits until it is settled.
    pub(super) async fn transition(&mut self) {
        // Others do the same to the same certificates, and sometimes somebody outside issues, too.
        if self.random.u8(0..3) == 0 {
            let count = self.random.usize(0..12);
            self.world.issue_elsewhere(&mut self.random, count).await;
        }
        let Some(id) = self.random.choice(&self.world.pool).cloned() else {
            return;
        };
        if self.random.u8(0..6) == 0 {
            let number = self.world.begin_move(&id);
            match self.random.bool() {
                true => self.world.service.revoke(id.as_str()).await,
                false => self.world.service.reactivate(id.as_str()).await,
            }
            self.world.end_move(&id, number);
        }
        let (wanted, request) = if self.random.bool() {
            (Status::Revoked, self.zone.revoke(&id).until_settled())
        } else {
            (Status::Active, self.zone.reactivate(&id).until_settled())
        };
        let longest = pick(&mut self.random, &[20, 400]);
        let limit = Duration::from_secs(self.random.u64(1..=longest));
        let name = format!(
            "client {} moves {id} to {wanted} within {limit:?}",
            self.client
        );
        self.world.history.add(&name);
        let started = Instant::now();
        let number = self.world.begin_move(&id);
        let wait = request.timeout(limit).send();
        let outcome = self.run_or_drop(wait).await;
        let is_alone = self.world.end_move(&id, number);
        let waited = started.elapsed();
        let end = match outcome {
            None => "dropped",
            Some(Ok(certificate)) if *certificate.status() == wanted => "settled",
            Some(Ok(certificate)) => {
                let seen = certificate.status();
                let broken = format!("promise 4: {name} returned {seen}");
                self.world.history.broken(broken);
                "wrong"
            }
            Some(Err(Error::Overtaken { seen, .. })) => {
                if is_alone && self.world.settings.lag < OVERTAKEN_AFTER {
                    let broken =
                        format!("promise 4: {name} was overtaken by {seen}, but nobody did");
                    self.world.history.broken(broken);
                }
                "overtaken"
            }
            Some(Err(Error::NotSettled { .. })) => "not settled",
            Some(Err(error)) => {
                // The service may refuse a repetition because it has acted. A block of the rate limit may take longer
                // than there is time to look.
                let is_unclear = error.call().is_some_and(|call| call.earlier_unclear);
                if is_unclear
                    && waited + TIME_TO_LOOK < limit
                    && !error.is_retryable()
                    && !self.network.has_read(id.as_str(), started)
                {
                    let broken = format!("promise 4: {name} did not look after {error}");
                    self.world.history.broken(broken);
                }
                "failed"
            }
        };
        self.end_wait("transition", &name, end, waited, limit);
    }

    /// Waits for what another tool does.
    pub(super) async fn wait(&mut self) {
        let Some(id) = self.random.choice(&self.world.pool).cloned() else {
            return;
        };
        let wanted = pick(&mut self.random, &["revoked", "active"]);
        let longest = pick(&mut self.random, &[20, 400]);
        let limit = Duration::from_secs(self.random.u64(1..=longest));
        let name = format!(
            "client {} waits until {id} is {wanted}, {limit:?} at most",
            self.client
        );
        self.world.history.add(&name);
        let (world, moved) = (self.world.clone(), id.clone());
        let after = Duration::from_millis(self.random.u64(0..200_000));
        tokio::spawn(async move {
            sleep(after).await;
            let number = world.begin_move(&moved);
            match wanted {
                "revoked" => world.service.revoke(moved.as_str()).await,
                _ => world.service.reactivate(moved.as_str()).await,
            }
            world.end_move(&moved, number);
        });
        let started = Instant::now();
        let wait = self
            .zone
            .wait(&id)
            .until(Status::from(wanted))
            .timeout(limit);
        let outcome = self.run_or_drop(wait.send()).await;
        let waited = started.elapsed();
        let broken = |what: &dyn std::fmt::Display| {
            let broken = format!("promise 4: {name}, and {what} after {waited:?}");
            self.world.history.broken(broken);
        };
        let end = match &outcome {
            None => "dropped",
            Some(Ok(certificate)) => {
                if *certificate.status() != wanted {
                    broken(&certificate.status());
                }
                "settled"
            }
            Some(Err(Error::NotSettled { .. })) => "not settled",
            Some(Err(error)) => {
                // It moves nothing, so nobody overtakes it. One response shows nothing, nor does any of a gateway.
                let is_too_early = matches!(error, Error::Overtaken { .. })
                    || matches!(error, Error::InvalidResponse { .. })
                    || error.is_retryable()
                    || error.is_not_found() && waited < MISSING_FOR;
                if is_too_early {
                    broken(error);
                }
                "failed"
            }
        };
        self.end_wait("wait", &name, end, waited, limit);
    }

    fn end_wait(&self, kind: &str, name: &str, end: &str, waited: Duration, limit: Duration) {
        let world = &self.world;
        world
            .history
            .add(format_args!("{name} → {end} after {waited:?}"));
        if waited > limit + Duration::from_secs(1) {
            let broken = format!("promise 4: {name} ended after {waited:?}");
            world.history.broken(broken);
        }
        world.record().count(kind, end);
    }
}
