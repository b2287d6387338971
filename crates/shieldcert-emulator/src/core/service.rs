//! The five operations: what each does, and when it refuses.

use std::sync::Arc;
use std::time::Duration;

use shieldcert_api::types::{ClientCertificate, ClientCertificateTag};
use uuid::Uuid;

use super::ca::Ca;
use super::clock::Clock;
use super::csr::Csr;
use super::random::Random;
use super::refusal::Refusal;
use super::status::{Change, Status};
use super::store::{Found, Selection, Store, View, ZoneId};
use crate::assumptions::MAX_VALIDITY_DAYS;
use crate::error::BoxError;
use crate::settings::{Order, Settings, TotalCount};

/// The service behind the handlers.
pub(crate) struct Service {
    pub(crate) ca: Ca,
    pub(crate) random: Random,
    pub(crate) clock: Arc<Clock>,
    pub(crate) store: Store,
    pub(crate) settings: Settings,
}

/// A page of a list, and what `total_count` says about it.
pub(crate) struct Listed {
    pub(crate) certificates: Vec<ClientCertificate>,
    pub(crate) total_count: usize,
    /// How many certificates the whole list has.
    pub(crate) matching: usize,
}

/// What the CA makes of a validity.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Signing {
    /// How long ago it signs. The time is then rounded down to the minute.
    pub(crate) backdate: Duration,
    /// The most days.
    pub(crate) max_validity: Option<i64>,
    /// Days that nobody asked for.
    pub(crate) extra_validity: i64,
}

impl Signing {
    /// From when and for how many days a certificate is valid that is asked for now.
    fn validity(self, now: i64, days: i64) -> (i64, i64) {
        let from = match i64::try_from(self.backdate.as_secs()) {
            Ok(0) => now,
            Ok(seconds) => (now - seconds).div_euclid(60) * 60,
            Err(_) => 0,
        };
        let days = self.max_validity.map_or(days, |max| days.min(max));
        (from, days + self.extra_validity)
    }
}

impl Service {
    pub(crate) async fn list(
        &self,
        zone: ZoneId,
        selection: &Selection,
        view: View,
    ) -> Result<Listed, Refusal> {
        if !self.store.can_show(view) {
            return Err(Refusal::NeedsMemory);
        }
        let page = self.store.list(zone, selection, view).await;
        let page = page.map_err(store_failed)?;
        Ok(Listed {
            matching: page.matching,
            total_count: match self.settings.total_count {
                TotalCount::Unfiltered => page.all,
                TotalCount::Filtered => page.matching,
            },
            certificates: page.certificates.into_iter().map(with_status).collect(),
        })
    }

    /// Returns a certificate, as it was at `as_of` since 1970, or as it is now.
    pub(crate) async fn get(
        &self,
        zone: ZoneId,
        id: Uuid,
        as_of: Option<Duration>,
    ) -> Result<ClientCertificate, Refusal> {
        let view = View {
            order: Order::default(),
            as_of,
        };
        if !self.store.can_show(view) {
            return Err(Refusal::NeedsMemory);
        }
        let found = self.store.get(zone, id, as_of).await;
        let found = found.map_err(store_failed)?;
        found.map(with_status).ok_or(Refusal::NotFound)
    }

    /// How many certificates of the zone are or will be active.
    pub(crate) async fn active(&self, zone: ZoneId) -> Result<usize, Refusal> {
        self.store.active(zone).await.map_err(store_failed)
    }

    pub(crate) async fn create(
        &self,
        zone: ZoneId,
        csr: String,
        validity_days: i64,
        signing: Signing,
    ) -> Result<ClientCertificate, Refusal> {
        if !(1..=MAX_VALIDITY_DAYS).contains(&validity_days) {
            return Err(Refusal::InvalidValidity);
        }
        // Saves a signature. The quota is enforced when the certificate is stored.
        let quota = self.settings.quota;
        let active = self.active(zone).await?;
        if quota.is_some_and(|quota| active >= quota) {
            return Err(Refusal::QuotaReached);
        }
        let id = self.random.uuid();
        let serial = self.random.bytes();
        let csr = Csr::parse(&csr).map_err(Refusal::InvalidCsr)?;
        let (from, days) = signing.validity(self.clock.unix_seconds(), validity_days);
        // On this thread: a signature takes about as long as it takes to hand it to another one.
        let signed = self.ca.issue(&csr, serial, from, days);
        let mut certificate = signed.map_err(signing_failed)?;
        certificate.id = Some(ClientCertificateTag(self.settings.ids.format(id)));
        let certificate = Arc::new(certificate);
        let stored = self.store.insert(zone, id, certificate.clone(), quota);
        if !stored.await.map_err(store_failed)? {
            return Err(Refusal::QuotaReached);
        }
        Ok(with_status((certificate, Status::Active)))
    }

    pub(crate) async fn reactivate(
        &self,
        zone: ZoneId,
        id: Uuid,
        repeatable: bool,
    ) -> Result<ClientCertificate, Refusal> {
        let reactivate = Change::Reactivate {
            repeatable,
            allow_revoked: self.settings.reactivate_revoked,
            quota: self.settings.quota,
        };
        self.change(zone, id, reactivate).await
    }

    pub(crate) async fn revoke(
        &self,
        zone: ZoneId,
        id: Uuid,
        repeatable: bool,
    ) -> Result<ClientCertificate, Refusal> {
        self.change(zone, id, Change::Revoke { repeatable }).await
    }

    async fn change(
        &self,
        zone: ZoneId,
        id: Uuid,
        change: Change,
    ) -> Result<ClientCertificate, Refusal> {
        let delay = self.settings.transition_delay;
        let changed = self.store.change(zone, id, change, delay).await;
        let changed = changed.map_err(store_failed)?;
        changed.ok_or(Refusal::NotFound)?.map(with_status)
    }
}

fn with_status((certificate, status): Found) -> ClientCertificate {
    let mut certificate = (*certificate).clone();
    certificate.status = Some(status.as_str().to_owned());
    certificate
}

// The log has the cause. The response does not: these failures are the emulator's own.

fn store_failed(error: BoxError) -> Refusal {
    tracing::error!(
        error = &*error as &dyn std::error::Error,
        "the store failed"
    );
    Refusal::StoreFailed
}

fn signing_failed(error: BoxError) -> Refusal {
    tracing::error!(error = &*error as &dyn std::error::Error, "signing failed");
    Refusal::SigningFailed
}
