//! A user of a client.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use shieldcert::{ClientCertificate, Error, StatusFilter, Zone};
use tokio::time::{sleep, timeout};

use super::network::Network;
use super::record::Listing;
use super::service::plain;
use super::settings::pick;
use super::world::{OTHERS, World, csr};

/// A user of a client, who runs one operation after the other.
pub(super) struct Task {
    pub(super) world: Arc<World>,
    pub(super) zone: Zone,
    /// The client's way to the service.
    pub(super) network: Arc<Network>,
    pub(super) client: usize,
    pub(super) random: Rng,
    /// The CSRs that were not used yet.
    pub(super) unused: Vec<usize>,
    pub(super) used: Vec<usize>,
    pub(super) steps: usize,
}

impl Task {
    pub(super) async fn run(mut self) {
        for _ in 0..self.steps {
            let before = self.random.u64(0..5_000);
            sleep(Duration::from_millis(before)).await;
            match self.random.u8(0..18) {
                0..7 => self.issue().await,
                7..10 => self.list().await,
                10..12 => self.find().await,
                12..14 => self.wait().await,
                _ => self.transition().await,
            }
        }
    }

    /// Runs an operation, or drops it at any await.
    pub(super) async fn run_or_drop<T>(&mut self, operation: impl Future<Output = T>) -> Option<T> {
        if self.random.u8(0..6) > 0 {
            return Some(operation.await);
        }
        let after = Duration::from_millis(self.random.u64(0..40_000));
        timeout(after, operation).await.ok()
    }

    async fn list(&mut self) {
        let filter = pick(
            &mut self.random,
            &[
                StatusFilter::All,
                StatusFilter::All,
                StatusFilter::Active,
                StatusFilter::Revoked,
            ],
        );
        let (size, prefetch) = (self.random.u32(5..=12), self.random.u32(1..=4));
        let lasting = self.world.lasting(filter);
        let mut stream = self
            .zone
            .list()
            .status(filter)
            .page_size(size)
            .prefetch(prefetch)
            .stream();
        let name = format!("client {} lists {filter} by {size}", self.client);
        self.world.history.add(&name);
        // Others issue while it is read.
        let world = self.world.clone();
        let mut other = self.random.fork();
        let burst = if self.random.bool() {
            self.random.usize(1..12)
        } else {
            0
        };
        let mut listed: Vec<ClientCertificate> = Vec::new();
        let collect = async {
            let read = async {
                while let Some(certificate) = stream.try_next().await? {
                    listed.push(certificate);
                }
                Ok::<_, Error>(())
            };
            let issue = async {
                if burst > 0 {
                    sleep(Duration::from_millis(other.u64(0..2_000))).await;
                    world.issue_elsewhere(&mut other, burst).await;
                }
            };
            tokio::join!(read, issue).0
        };
        let outcome = self.run_or_drop(collect).await;
        let end = match outcome {
            None => "dropped",
            Some(Err(_)) => "failed",
            Some(Ok(())) => "complete",
        };
        self.world
            .history
            .add(format_args!("{name} → {end}, {}", listed.len()));
        let foreign = listed
            .iter()
            .filter(|certificate| !filter.matches(certificate.status()))
            .count();
        let unreadable = stream.take_unreadable().len();
        let mut record = self.world.record();
        record.count("list", end);
        if end == "complete" {
            record.listings.push(Listing {
                filter,
                lasting,
                foreign,
                unreadable,
                listed: listed
                    .iter()
                    .map(|certificate| plain(certificate.id().as_str()))
                    .collect(),
            });
        }
    }

    /// Finds the certificates of some CSRs.
    async fn find(&mut self) {
        let mut numbers: Vec<_> = OTHERS.chain(self.used.iter().copied()).collect();
        self.random.shuffle(&mut numbers);
        numbers.truncate(self.random.usize(1..=6));
        let name = format!("client {} finds {numbers:?}", self.client);
        self.world.history.add(&name);
        let lasting = self.world.lasting(StatusFilter::All);
        let held = self.world.service.list().await;
        let find = self
            .zone
            .find_by_csrs(numbers.iter().map(|number| csr(*number)));
        let outcome = self.run_or_drop(find.send()).await;
        let end = match &outcome {
            None => "dropped",
            Some(Err(_)) => "failed",
            Some(Ok(_)) => "complete",
        };
        self.world.history.add(format_args!("{name} → {end}"));
        self.world.record().count("find", end);
        let Some(Ok(found)) = outcome else {
            return;
        };
        for (number, found) in numbers.iter().zip(&found) {
            let expected_name = format!("sensor-{number}");
            let of = |certificates: &[ClientCertificate]| -> BTreeSet<String> {
                let ids = certificates.iter().map(|certificate| certificate.id());
                ids.map(|id| plain(id.as_str())).collect()
            };
            let certificates = of(&found.certificates);
            let maybe = &of(&found.same_key) | &of(&found.incomparable);
            let mut missed = 0;
            for held in &held {
                let id = plain(&held.id);
                if held.common_name != expected_name {
                    if certificates.contains(&id) {
                        self.world.history.broken(format_args!(
                            "promise 1: {name} found {id}, which is for {}",
                            held.common_name
                        ));
                    }
                } else if lasting.contains(&id)
                    && !certificates.contains(&id)
                    && !maybe.contains(&id)
                {
                    missed += 1;
                }
            }
            let unreadable = found.unreadable.len();
            if !self.world.settings.allows_missing(missed, unreadable) {
                self.world.history.broken(format_args!(
                    "promise 2: {name} misses {missed} of {expected_name}, and {unreadable} can't be read"
                ));
            }
        }
    }
}
