//! Finds what unclear requests have led to after all, and revokes it. Nothing else revokes surplus.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use shieldcert::ClientCertificate;

use super::issue::may_be_active;
use super::revoke::revoke;
use super::{Engine, Purpose, Tally};
use crate::error::{Error, Result};
use crate::journal::Owed;
use crate::keystore::Stored;
use crate::step::Request;

/// How many look-ups are made together. They share their requests.
const TOGETHER: usize = 256;

impl Engine {
    /// Makes the looks that are owed by now, and revokes the surplus that is known.
    pub(crate) async fn reconcile(self: &Arc<Self>) -> Result<()> {
        loop {
            let owed = self.journal.owed_looks(self.now().time, TOGETHER)?;
            if owed.is_empty() || self.is_stopped() {
                break;
            }
            let looks = stream::iter(owed.iter().map(|owed| self.look_again(owed)));
            let looks: Vec<Result<()>> = looks.buffer_unordered(TOGETHER).collect().await;
            looks.into_iter().collect::<Result<()>>()?;
            // What became due meanwhile is looked for with what is due soon.
            if owed.len() < TOGETHER {
                break;
            }
        }
        if self.may_revoke {
            self.revoke_surplus().await?;
        }
        Ok(())
    }

    /// How long until the next looks are due. Those that are due within a settle window are made together.
    pub(crate) fn next_looks(&self) -> Result<Option<Duration>> {
        let window = self.config.limits.settle_window;
        let Some(at) = self.journal.next_looks(window)? else {
            return Ok(None);
        };
        let left = at.duration_since(self.now().time);
        Ok(Some(Duration::try_from(left).unwrap_or_default()))
    }

    async fn look_again(&self, owed: &Owed) -> Result<()> {
        let generation = &owed.generation;
        let name = &owed.name;
        let path = self.folder.generation(name, generation.number);
        let csr = match self.folder.stored(&path)? {
            Stored::Complete(keyed) => keyed.csr,
            // The inventory shows it.
            Stored::Missing | Stored::Unusable(_) => {
                return self
                    .journal
                    .finish_look(owed.device, generation, &[], self.now().time);
            }
        };
        let Ok(_admission) = self.admit(&generation.zone, Purpose::Other).await else {
            return self.postpone(owed, "the zone can't be used");
        };
        let zone = match self.budgets.zone(&generation.zone).await {
            Ok(zone) => zone,
            Err(error @ (Error::Token { .. } | Error::Zone { .. })) => {
                return self.postpone(owed, &error.to_string());
            }
            Err(error) => return Err(error),
        };
        let request = Request {
            zone,
            csr,
            validity_days: generation.spec.days,
            known: self
                .journal
                .certificates_of_csr(generation.csr_sha256.as_deref().unwrap_or_default())?,
            key_is_new: generation.spec.key != crate::policy::CSR,
            settle_window: self.config.limits.settle_window,
            sender_ended: self.request_ended(generation),
        };
        match request.find(owed.intent.clone()).await {
            Ok(found) => {
                self.zones.responded(&generation.zone);
                // An id can be written in several ways, and what shows no certificate may be the generation's own.
                let own = generation.fingerprint.as_deref();
                let is_other = |found: &ClientCertificate| {
                    own.is_none()
                        || found
                            .x509()
                            .is_ok_and(|x509| Some(&*x509.fingerprint_sha256()) != own)
                };
                let surplus: Vec<_> = found
                    .iter()
                    .filter(|found| may_be_active(found.status()) && is_other(found))
                    .map(|found| found.id().clone())
                    .collect();
                if !surplus.is_empty() {
                    tracing::warn!(device = %name, generation = generation.number, count = surplus.len(), "surplus found");
                }
                self.journal
                    .finish_look(owed.device, generation, &surplus, self.now().time)
            }
            Err(error) => {
                self.count_silence(&generation.zone, &error);
                self.postpone(owed, &error.to_string())
            }
        }
    }

    /// Tries a look again later.
    fn postpone(&self, owed: &Owed, problem: &str) -> Result<()> {
        tracing::warn!(device = %owed.name, generation = owed.generation.number, problem, "a look failed");
        self.journal.postpone_look(owed, problem, self.now().time)
    }

    async fn revoke_surplus(&self) -> Result<()> {
        for surplus in self.journal.surplus()? {
            if self.is_stopped() {
                break;
            }
            let Ok(_admission) = self.admit(&surplus.zone, Purpose::Other).await else {
                continue;
            };
            let zone = match self.budgets.zone(&surplus.zone).await {
                Ok(zone) => zone,
                Err(Error::Token { .. } | Error::Zone { .. }) => continue,
                Err(error) => return Err(error),
            };
            if let Err(error) = revoke(&zone, &surplus.certificate).await {
                tracing::warn!(certificate = %surplus.certificate, %error, "surplus could not be revoked");
                Tally::add(&self.tally.failures);
                continue;
            }
            self.zones.responded(&surplus.zone);
            self.zones.has_place_again(&surplus.zone);
            tracing::info!(certificate = %surplus.certificate, "surplus revoked");
            Tally::add(&self.tally.revoked);
            self.journal.surplus_revoked(&surplus, self.now().time)?;
        }
        Ok(())
    }
}
