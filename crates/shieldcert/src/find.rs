//! Finds the certificates that were issued for CSRs.
//!
//! CSRs are compared by their DER, because the service changes the text.

use std::collections::{HashMap, HashSet};

use crate::certificate::ClientCertificate;
use crate::certificate::unreadable::UnreadableRecord;
use crate::context::Context;
use crate::error::Result;
use crate::list::List;
use crate::lookup::needle::{Origin, has_other_key};
use crate::observe::trace;
use crate::pki::csr::Csr;
use crate::transport::BoxFuture;
use crate::transport::retry::RetryPolicy;

/// Finds the certificates that were issued for a CSR. Created by [`Zone::find_by_csr`](crate::Zone::find_by_csr).
///
/// It reads the whole list: 20 requests for each 1,000 certificates. For many CSRs at once, use
/// [`Zone::find_by_csrs`](crate::Zone::find_by_csrs), which takes as many as for one.
///
/// # Errors
/// Returns the error of the list if it can't be read to its end.
///
/// # Cancel safety
/// Dropping the future changes nothing at the service.
///
/// # Examples
///
/// ```no_run
/// use shieldcert::{Csr, Zone};
///
/// # async fn example(zone: Zone, csr: Csr) -> shieldcert::Result<()> {
/// for certificate in zone.find_by_csr(&csr).await?.certificates {
///     println!("{} {}", certificate.id(), certificate.status());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct FindByCsr(FindByCsrs);

/// Finds the certificates that were issued for many CSRs, by one reading of the list. Created by
/// [`Zone::find_by_csrs`](crate::Zone::find_by_csrs).
///
/// # Errors
/// Returns the error of the list if it can't be read to its end.
///
/// # Cancel safety
/// Dropping the future changes nothing at the service.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct FindByCsrs {
    context: Context,
    csrs: Vec<Csr>,
}

/// What a zone holds for a CSR.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Found {
    /// The certificates that were issued for the CSR, in any status, oldest first.
    pub certificates: Vec<ClientCertificate>,
    /// The certificates with the CSR's public key whose record has no CSR that can be read, oldest first. They were
    /// issued for this CSR, or for another one with the same key.
    pub same_key: Vec<ClientCertificate>,
    /// The certificates whose record has neither a CSR nor a certificate that can be read, or has this CSR and a
    /// certificate with another key, oldest first. They may belong here.
    pub incomparable: Vec<ClientCertificate>,
    /// The records of the zone that can't be read, so that they may belong here.
    pub unreadable: Vec<UnreadableRecord>,
}

impl FindByCsr {
    pub(crate) fn new(context: Context, csr: Csr) -> Self {
        Self(FindByCsrs::new(context, vec![csr]))
    }

    /// Overrides the client's retry policy.
    pub fn retry(self, policy: RetryPolicy) -> Self {
        Self(self.0.retry(policy))
    }

    /// Reads the list. The same as `.await`, for where a plain future is needed.
    ///
    /// # Errors
    /// See [`FindByCsr`].
    pub fn send(self) -> BoxFuture<'static, Result<Found>> {
        Box::pin(async move {
            let mut found = self.0.send().await?;
            Ok(found.pop().unwrap_or_default())
        })
    }
}

impl FindByCsrs {
    pub(crate) fn new(context: Context, csrs: Vec<Csr>) -> Self {
        Self { context, csrs }
    }

    /// Overrides the client's retry policy.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.context.set_retry(policy);
        self
    }

    /// Reads the list, and returns what was found for each CSR, in their order. The same as `.await`, for where a plain
    /// future is needed.
    ///
    /// # Errors
    /// See [`FindByCsrs`].
    pub fn send(self) -> BoxFuture<'static, Result<Vec<Found>>> {
        let span = tracing::info_span!(
            "shieldcert.find",
            zone = %self.context.zone_id,
            csrs = self.csrs.len()
        );
        Box::pin(trace(span, self.send_inner()))
    }

    async fn send_inner(self) -> Result<Vec<Found>> {
        if self.csrs.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = vec![Found::default(); self.csrs.len()];
        let index = |key: fn(&Csr) -> &[u8]| {
            let mut index = HashMap::<_, Vec<usize>>::new();
            for (place, csr) in self.csrs.iter().enumerate() {
                index.entry(key(csr)).or_default().push(place);
            }
            index
        };
        let (by_csr, by_key) = (index(Csr::der), index(Csr::public_key));
        let mut pages = List::new(self.context).pages();
        while let Some(page) = pages.try_next().await? {
            for certificate in page.certificates {
                let origin = Origin::of(&certificate);
                if matches!(origin, Origin::Unreadable) {
                    for found in &mut found {
                        found.incomparable.push(certificate.clone());
                    }
                }
                for place in origin
                    .csr()
                    .and_then(|csr| by_csr.get(csr))
                    .into_iter()
                    .flatten()
                {
                    if has_other_key(&certificate, &self.csrs[*place]) {
                        found[*place].incomparable.push(certificate.clone());
                    } else {
                        found[*place].certificates.push(certificate.clone());
                    }
                }
                // A chain may hold a certificate twice.
                for key in origin.keys().collect::<HashSet<_>>() {
                    for place in by_key.get(key).into_iter().flatten() {
                        found[*place].same_key.push(certificate.clone());
                    }
                }
            }
            for found in &mut found {
                found.unreadable.extend(page.unreadable.iter().cloned());
            }
        }
        for found in &mut found {
            let age = |record: &ClientCertificate| (record.not_before(), record.id().clone());
            found.certificates.sort_by_cached_key(age);
            found.same_key.sort_by_cached_key(age);
            found.incomparable.sort_by_cached_key(age);
        }
        Ok(found)
    }
}

macro_rules! into_future {
    ($name:ident, $output:ty) => {
        impl IntoFuture for $name {
            type Output = Result<$output>;
            type IntoFuture = BoxFuture<'static, Self::Output>;

            fn into_future(self) -> Self::IntoFuture {
                self.send()
            }
        }
    };
}

into_future!(FindByCsr, Found);
into_future!(FindByCsrs, Vec<Found>);
