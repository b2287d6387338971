//! Looking for the certificates of a CSR in a zone, by DER: the service changes the text.

use jiff::Timestamp;

use crate::certificate::{ClientCertificate, Status};
use crate::csr::Csr;
use crate::error::Result;
use crate::list::List;
use crate::trace::traced;
use crate::transport::retry::RetryPolicy;
use crate::zone::Zone;

/// Every certificate for the CSR, oldest first. Reads the whole list.
pub(crate) async fn everywhere(
    zone: &Zone,
    csr: &Csr,
    policy: &RetryPolicy,
) -> Result<Vec<ClientCertificate>> {
    let mut stream = zone.list().retry(policy.clone()).stream();
    let mut found = Vec::new();
    while let Some(certificate) = stream.try_next().await? {
        found.extend(for_csr(csr, [certificate]));
    }
    Ok(oldest_first(found))
}

/// The certificates for the CSR that were issued since `since`, oldest first.
///
/// Where the list is ordered by age, they stand at one of its ends, so that reading from there until
/// what is older than `since` is enough: a few requests, however many certificates there are. The
/// whole list is read where it is in another order.
pub(crate) async fn recent(
    zone: &Zone,
    csr: &Csr,
    since: Timestamp,
    policy: &RetryPolicy,
) -> Result<Vec<ClientCertificate>> {
    let span = tracing::info_span!("shieldcert.look_up", csr.sha256 = csr.sha256());
    traced(span, look(zone, csr, since, policy)).await
}

async fn look(
    zone: &Zone,
    csr: &Csr,
    since: Timestamp,
    policy: &RetryPolicy,
) -> Result<Vec<ClientCertificate>> {
    let page = |number| zone.list().retry(policy.clone()).single_page(number);
    let size = u64::from(List::LARGEST_PAGE);
    let is_recent =
        |certificate: &ClientCertificate| certificate.issued_on().is_none_or(|time| time >= since);
    let mine = |certificates: Vec<ClientCertificate>| {
        let recent = certificates.into_iter().filter(is_recent);
        oldest_first(for_csr(csr, recent))
    };

    let reaches_back = |page: &[ClientCertificate]| !page.iter().all(is_recent);

    let (first, total) = page(1).await?;
    let order = Order::of(&first);
    // The whole list is on this page, or what is wanted can be on this page only.
    let mut is_enough = (first.len() as u64) < size
        || total.is_some_and(|total| total <= size)
        || order == Order::NewestFirst && reaches_back(&first);
    let found = mine(first);
    if is_enough || !found.is_empty() {
        return Ok(found);
    }
    // From the newest towards the oldest. What joins the list meanwhile moves nothing out of sight:
    // it joins behind the reader.
    let last = total.map(|total| total.div_ceil(size));
    let mut next = match (order, last) {
        (Order::NewestFirst, _) => Some(2),
        (_, Some(last)) => Some(last),
        (_, None) => None,
    };
    while let Some(number) = next {
        let (certificates, _) = page(number).await?;
        let is_in_order = order != Order::Unknown
            && (Order::of(&certificates) == order || certificates.len() < Order::CONVINCING);
        is_enough = is_in_order && reaches_back(&certificates);
        next = match order {
            Order::NewestFirst if is_in_order && !certificates.is_empty() => Some(number + 1),
            Order::OldestFirst if is_in_order && number > 2 => Some(number - 1),
            _ => None,
        };
        let found = mine(certificates);
        if is_enough || !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(mine(everywhere(zone, csr, policy).await?))
}

/// A certificate that is, or may become, accepted at the edge without anybody asking for it.
pub(crate) fn may_be_active(certificate: &ClientCertificate) -> bool {
    !matches!(
        certificate.status(),
        Status::Revoked | Status::PendingRevocation
    )
}

fn for_csr(
    csr: &Csr,
    certificates: impl IntoIterator<Item = ClientCertificate>,
) -> Vec<ClientCertificate> {
    certificates
        .into_iter()
        .filter(|certificate| {
            certificate
                .csr_pem()
                .and_then(|pem| pem::parse(pem).ok())
                .is_some_and(|block| block.contents() == csr.der())
        })
        .collect()
}

fn oldest_first(mut certificates: Vec<ClientCertificate>) -> Vec<ClientCertificate> {
    certificates.sort_by(|a, b| (a.issued_on(), a.id()).cmp(&(b.issued_on(), b.id())));
    certificates
}

/// What order a page is in, by when its certificates were issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    NewestFirst,
    OldestFirst,
    /// Another, or too few different times to be sure.
    Unknown,
}

impl Order {
    /// So many different times stand in one order by chance once in 180,000 pages.
    const CONVINCING: usize = 9;

    fn of(certificates: &[ClientCertificate]) -> Self {
        let times: Option<Vec<Timestamp>> = certificates
            .iter()
            .map(ClientCertificate::issued_on)
            .collect();
        let Some(times) = times else {
            return Self::Unknown;
        };
        let mut distinct = times.clone();
        distinct.dedup();
        if distinct.len() < Self::CONVINCING {
            Self::Unknown
        } else if times.is_sorted() {
            Self::OldestFirst
        } else if times.is_sorted_by(|a, b| a >= b) {
            Self::NewestFirst
        } else {
            Self::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use shieldcert_api::types;

    use super::*;

    fn page(seconds: &[i64]) -> Vec<ClientCertificate> {
        let certificate = |(place, second): (usize, &i64)| {
            let mut wire = types::ClientCertificate::default();
            wire.id = Some(types::Identifier(format!("id-{place}")));
            wire.issued_on = Timestamp::from_second(*second)
                .ok()
                .map(|time| time.to_string());
            wire.try_into().expect("has an id")
        };
        seconds.iter().enumerate().map(certificate).collect()
    }

    #[test]
    fn an_order_is_believed_only_on_evidence() {
        let rising: Vec<i64> = (0..50).collect();
        let falling: Vec<i64> = (0..50).rev().collect();
        let mut disturbed = rising.clone();
        disturbed.swap(10, 20);
        for (seconds, order) in [
            (rising.as_slice(), Order::OldestFirst),
            (&falling, Order::NewestFirst),
            (&disturbed, Order::Unknown),
            (&rising[..8], Order::Unknown),
            (&[7; 50], Order::Unknown),
            (&[], Order::Unknown),
        ] {
            assert_eq!(Order::of(&page(seconds)), order, "{seconds:?}");
        }
        let mut untimed = page(&rising);
        let mut wire = types::ClientCertificate::default();
        wire.id = Some(types::Identifier("untimed".into()));
        untimed.push(wire.try_into().expect("has an id"));
        assert_eq!(Order::of(&untimed), Order::Unknown);
    }
}
