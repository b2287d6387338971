//! Finds the certificates that were issued for a CSR.
//!
//! CSRs are compared by their DER, because the service changes the text.

use jiff::Timestamp;

use crate::certificate::ClientCertificate;
use crate::certificate::status::Status;
use crate::context::Context;
use crate::error::Result;
use crate::list::List;
use crate::observe::trace;
use crate::pki::csr::Csr;
use crate::transport::BoxFuture;
use crate::transport::retry::RetryPolicy;

/// Finds the certificates that were issued for a CSR, in any status, oldest first. Created by
/// [`Zone::find_by_csr`](crate::Zone::find_by_csr).
///
/// It reads the whole list: 20 requests for each 1,000 certificates. Use it after an
/// [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown).
///
/// # Errors
/// Returns the error of the list if it can't be read to its end.
///
/// # Cancel safety
/// Dropping the future changes nothing at the service.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct FindByCsr {
    context: Context,
    csr: Csr,
}

impl FindByCsr {
    pub(crate) fn new(context: Context, csr: Csr) -> Self {
        Self { context, csr }
    }

    /// Overrides the client's retry policy.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.context.set_retry(policy);
        self
    }

    /// Reads the list. The same as `.await`, for where a plain future is needed.
    ///
    /// # Errors
    /// See [`FindByCsr`].
    pub fn send(self) -> BoxFuture<'static, Result<Vec<ClientCertificate>>> {
        let span = tracing::info_span!(
            "shieldcert.find",
            zone = %self.context.zone_id, csr.sha256 = self.csr.sha256()
        );
        Box::pin(trace(span, async move {
            find_all(&self.context, &self.csr).await
        }))
    }
}

impl IntoFuture for FindByCsr {
    type Output = Result<Vec<ClientCertificate>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.send()
    }
}

/// Finds every certificate for the CSR, oldest first, by reading the whole list.
async fn find_all(context: &Context, csr: &Csr) -> Result<Vec<ClientCertificate>> {
    let mut stream = List::new(context.clone()).stream();
    let mut found = Vec::new();
    while let Some(certificate) = stream.try_next().await? {
        found.extend(matching(csr, [certificate]));
    }
    Ok(oldest_first(found))
}

/// Finds the certificates for the CSR that were issued since `since`, oldest first.
///
/// A list that is ordered by age has them at one of its ends. Reading from there up to a certificate that is older
/// than `since` is enough: a few requests, whatever the size of the list. A list in another order is read to its end.
pub(crate) async fn find_recent(
    context: &Context,
    csr: &Csr,
    since: Timestamp,
) -> Result<Vec<ClientCertificate>> {
    let span = tracing::info_span!("shieldcert.find_recent", csr.sha256 = csr.sha256());
    trace(span, find_recent_inner(context, csr, since)).await
}

async fn find_recent_inner(
    context: &Context,
    csr: &Csr,
    since: Timestamp,
) -> Result<Vec<ClientCertificate>> {
    let page = |number| List::new(context.clone()).single_page(number);
    let size = u64::from(List::MAX_PAGE_SIZE);
    let is_recent =
        |certificate: &ClientCertificate| certificate.issued_on().is_none_or(|time| time >= since);
    let select = |certificates: Vec<ClientCertificate>| {
        let recent = certificates.into_iter().filter(is_recent);
        oldest_first(matching(csr, recent))
    };
    let reaches_back = |page: &[ClientCertificate]| !page.iter().all(is_recent);

    let (first, total) = page(1).await?;
    let order = Order::detect(&first);
    // The first page is the whole list, or the only page that can hold the certificate.
    let mut is_enough = (first.len() as u64) < size
        || total.is_some_and(|total| total <= size)
        || order == Order::NewestFirst && reaches_back(&first);
    let found = select(first);
    if is_enough || !found.is_empty() {
        return Ok(found);
    }
    // From the newest certificate to older ones. A certificate that is issued meanwhile joins behind the reader.
    let last = total.map(|total| total.div_ceil(size));
    let mut next = match (order, last) {
        (Order::NewestFirst, _) => Some(2),
        (_, Some(last)) => Some(last),
        (_, None) => None,
    };
    while let Some(number) = next {
        let (certificates, _) = page(number).await?;
        let is_in_order = order != Order::Unknown
            && (Order::detect(&certificates) == order || certificates.len() < Order::MIN_TIMES);
        is_enough = is_in_order && reaches_back(&certificates);
        next = match order {
            Order::NewestFirst if is_in_order && !certificates.is_empty() => Some(number + 1),
            Order::OldestFirst if is_in_order && number > 2 => Some(number - 1),
            _ => None,
        };
        let found = select(certificates);
        if is_enough || !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(select(find_all(context, csr).await?))
}

/// Whether the edge accepts the certificate, or will without another request.
pub(crate) fn may_be_active(certificate: &ClientCertificate) -> bool {
    !matches!(
        certificate.status(),
        Status::Revoked | Status::PendingRevocation
    )
}

fn matching(
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

/// The order of a page by the time of issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    NewestFirst,
    OldestFirst,
    /// Another order, or too few different times to tell.
    Unknown,
}

impl Order {
    /// This many different times are in order by chance once in 180,000 pages.
    const MIN_TIMES: usize = 9;

    fn detect(certificates: &[ClientCertificate]) -> Self {
        let times: Option<Vec<Timestamp>> = certificates
            .iter()
            .map(ClientCertificate::issued_on)
            .collect();
        let Some(times) = times else {
            return Self::Unknown;
        };
        let mut distinct = times.clone();
        distinct.dedup();
        if distinct.len() < Self::MIN_TIMES {
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
    use serde_json::json;

    use super::*;

    fn certificate(id: &str, issued_on: Option<i64>) -> ClientCertificate {
        let time = issued_on.map(|second| Timestamp::from_second(second).expect("a time"));
        let record = json!({ "id": id, "issued_on": time.map(|time| time.to_string()) });
        serde_json::from_value(record).expect("a record")
    }

    fn page(seconds: &[i64]) -> Vec<ClientCertificate> {
        let certificates = seconds.iter().enumerate();
        certificates
            .map(|(place, second)| certificate(&format!("id-{place}"), Some(*second)))
            .collect()
    }

    #[test]
    fn an_order_is_detected_only_on_evidence() {
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
            assert_eq!(Order::detect(&page(seconds)), order, "{seconds:?}");
        }
        let mut untimed = page(&rising);
        untimed.push(certificate("untimed", None));
        assert_eq!(Order::detect(&untimed), Order::Unknown);
    }
}
