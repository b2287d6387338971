//! Fills zones with certificates, as if a fleet had had them for years.
//!
//! Ids, serial numbers, subjects, validities and statuses depend on the zone and on the index of a certificate
//! alone. Keys and signatures are new each time, and dates end now.

use std::num::NonZero;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use shieldcert_api::types::ClientCertificateTag;

use super::csr::Csr;
use super::random::Random;
use super::service::Service;
use super::status::Status;
use super::store::{NewCertificate, ZoneId};
use crate::error::BoxError;

/// How many are signed on one thread and stored in one transaction. A few such chunks are in memory at once.
const CHUNK: usize = 2_000;
const DAY: i64 = 86_400;
/// The certificates were issued over this many seconds, up to now.
const SPAN: i64 = 2 * 365 * DAY;
/// In days. The short ones are mostly expired.
const VALIDITIES: [i64; 5] = [30, 90, 365, 1_095, 3_650];
const SEED: u64 = 0x7365_6564;

/// Issues until the zone holds `count` certificates. Signs on all cores.
pub(crate) async fn populate(
    service: &Arc<Service>,
    zone: ZoneId,
    count: usize,
) -> Result<(), BoxError> {
    // Starts over if another process with the same file was faster.
    while !populate_from(service, service.store.len(zone).await?, zone, count).await? {}
    Ok(())
}

/// Issues the certificates from the index `held` on. Returns false if the zone no longer holds that many.
async fn populate_from(
    service: &Arc<Service>,
    held: usize,
    zone: ZoneId,
    count: usize,
) -> Result<bool, BoxError> {
    let now = service.clock.unix_seconds();
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let chunks = (held..count).step_by(CHUNK).map(|first| {
        let service = service.clone();
        let last = count.min(first + CHUNK);
        let sign = move || -> Result<Vec<NewCertificate>, BoxError> {
            let issued_at = |index| {
                let remaining = SPAN as i128 * (count - index) as i128;
                let ago = remaining / (count - held) as i128;
                now - i64::try_from(ago).unwrap_or(SPAN)
            };
            (first..last)
                .map(|index| issue(&service, zone, index, issued_at(index)))
                .collect()
        };
        async move {
            let certificates = tokio::task::spawn_blocking(sign).await??;
            Ok::<_, BoxError>((first, certificates))
        }
    });
    // Stored in order, whichever is signed first.
    let mut signed = stream::iter(chunks).buffered(cores);
    while let Some((first, certificates)) = signed.try_next().await? {
        let delay = service.settings.transition_delay;
        let stored = service.store.insert_all(zone, first, &certificates, delay);
        if !stored.await? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn issue(
    service: &Service,
    zone: ZoneId,
    index: usize,
    issued_at: i64,
) -> Result<NewCertificate, BoxError> {
    // Two zones share the CA, so the same index in each must not draw the same serial number.
    let random = Random::from_seed_part(SEED, zone.number() ^ index as u128);
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
    // Divided, so that validities do not follow the same pattern as statuses.
    let validity = VALIDITIES[index / 7 % VALIDITIES.len()];
    let signed = service.ca.issue(&csr, random.bytes(), issued_at, validity);
    let mut certificate = signed?;
    certificate.id = Some(ClientCertificateTag(service.settings.ids.format(id)));
    Ok(NewCertificate {
        id,
        certificate: Arc::new(certificate),
        status: status(index),
    })
}

/// Of 1,000 certificates, five are pending each way, 190 are revoked, and 800 are active.
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
    fn statuses_are_spread_as_documented() {
        let count = |wanted| (0..1_000).filter(|index| status(*index) == wanted).count();
        assert_eq!(count(Status::PendingRevocation), 5);
        assert_eq!(count(Status::PendingReactivation), 5);
        assert_eq!(count(Status::Revoked), 190);
        assert_eq!(count(Status::Active), 800);
    }
}
