//! Certificates to fill a zone with, as if a fleet had had them for years.
//!
//! Ids, serial numbers, subjects, validities and statuses follow from the zone and the number of each; keys and
//! signatures do not, and dates end now.

use std::num::NonZero;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use shieldcert_api::types::Identifier;

use crate::csr::Csr;
use crate::error::BoxError;
use crate::random::Random;
use crate::service::Service;
use crate::store::{Seed, ZoneId};
use crate::transition::Status;

/// Signed on one thread and kept in one transaction: small enough to be held in memory a few times.
const CHUNK: usize = 2_000;
const DAY: i64 = 86_400;
/// Over how long the certificates were issued, up to now.
const SPAN: i64 = 2 * 365 * DAY;
/// Days. With a span of two years, the short ones are mostly expired.
const VALIDITIES: [i64; 5] = [30, 90, 365, 1_095, 3_650];
const SEED: u64 = 0x7365_6564;

impl Service {
    /// Issues until the zone holds so many certificates. Signs on all cores.
    pub(crate) async fn fill(self: Arc<Self>, zone: ZoneId, count: usize) -> Result<(), BoxError> {
        // Again where another process with the same file was faster.
        while !self
            .clone()
            .fill_from(self.store.len(zone).await?, zone, count)
            .await?
        {}
        Ok(())
    }

    async fn fill_from(
        self: Arc<Self>,
        held: usize,
        zone: ZoneId,
        count: usize,
    ) -> Result<bool, BoxError> {
        let now = self.clock.unix_seconds();
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let chunks = (held..count).step_by(CHUNK).map(|first| {
            let service = self.clone();
            let last = count.min(first + CHUNK);
            let signing = move || -> Result<Vec<Seed>, BoxError> {
                let issued = |index| {
                    let still_to_come = SPAN as i128 * (count - index) as i128;
                    let ago = still_to_come / (count - held) as i128;
                    now - i64::try_from(ago).unwrap_or(SPAN)
                };
                (first..last)
                    .map(|index| service.seed(zone, index, issued(index)))
                    .collect()
            };
            async move {
                let seeds = tokio::task::spawn_blocking(signing).await??;
                Ok::<_, BoxError>((first, seeds))
            }
        });
        // Kept in their order, whichever is signed first.
        let mut signed = stream::iter(chunks).buffered(cores);
        while let Some((first, seeds)) = signed.try_next().await? {
            let delay = self.settings.transition_delay;
            if !self.store.insert_all(zone, first, &seeds, delay).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn seed(&self, zone: ZoneId, index: usize, issued: i64) -> Result<Seed, BoxError> {
        // Two zones have the same CA, so the same number in each must not draw the same serial number.
        let random = Random::seeded_part(SEED, zone.number() ^ index as u128);
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, format!("sensor-{index:07}"));
        subject.push(DnType::OrganizationName, "Temperature Testers, Inc.");
        subject.push(
            DnType::OrganizationalUnitName,
            format!("site {}", index % 40),
        );
        subject.push(DnType::CountryName, ["US", "DE", "JP"][index % 3]);
        let mut params = CertificateParams::default();
        params.distinguished_name = subject;
        let csr = params.serialize_request(&KeyPair::generate()?)?.pem()?;
        let csr = Csr::parse(&csr)?;
        let id = random.uuid();
        // Not in step with the statuses.
        let validity = VALIDITIES[index / 7 % VALIDITIES.len()];
        let mut certificate = self
            .authority
            .issue(&csr, random.bytes(), issued, validity)?;
        certificate.id = Some(Identifier(self.settings.ids.write(id)));
        Ok(Seed {
            id,
            certificate: Arc::new(certificate),
            status: status(index),
        })
    }
}

/// Of 1,000, five are pending each way, 190 are revoked, and the rest are active.
fn status(index: usize) -> Status {
    match index % 1_000 {
        7 | 207 | 407 | 607 | 807 => Status::PendingRevocation,
        8 | 208 | 408 | 608 | 808 => Status::PendingReactivation,
        other if other % 5 == 4 && other % 100 != 99 => Status::Revoked,
        _ => Status::Active,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_spread_as_they_are_said_to_be() {
        let count = |wanted| (0..1_000).filter(|index| status(*index) == wanted).count();
        assert_eq!(count(Status::PendingRevocation), 5);
        assert_eq!(count(Status::PendingReactivation), 5);
        assert_eq!(count(Status::Revoked), 190);
        assert_eq!(count(Status::Active), 800);
    }
}
