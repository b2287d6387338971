//! Issuing certificates.

use shieldcert_api::types;

use crate::certificate::ClientCertificate;
use crate::csr::Csr;
use crate::error::{Error, Result};
use crate::transport::BoxFuture;
use crate::transport::retry::RetryPolicy;
use crate::x509::Certificate;
use crate::zone::Zone;

/// Issues a certificate when awaited; made by [`Zone::issue`].
///
/// The request is sent once. It is sent again only where the service has certainly not acted on it:
/// no connection was made, or it answered 429. After any other failure without a clear answer the
/// error is [`Error::OutcomeUnknown`]: a certificate may have been issued.
///
/// What comes back has been checked: its public key is the CSR's, and the fingerprint and serial
/// number of the record are the certificate's own. Otherwise the error is [`Error::WrongCertificate`].
///
/// ```no_run
/// # async fn example(zone: shieldcert::Zone, csr: shieldcert::Csr) -> shieldcert::Result<()> {
/// let issued = zone.issue(&csr).validity_days(90).await?;
/// println!("{}", issued.certificate.id());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Issue {
    zone: Zone,
    csr: Csr,
    validity_days: u32,
    retry: Option<RetryPolicy>,
}

/// An issued certificate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Issued {
    /// The certificate, as the service describes it.
    pub certificate: ClientCertificate,
}

/// A year.
const DEFAULT_VALIDITY_DAYS: u32 = 365;

/// A hundred years. The service's own bound is not documented; beyond this, somebody mistook the unit.
const LONGEST_VALIDITY_DAYS: u32 = 36_500;

impl Issue {
    pub(crate) fn new(zone: Zone, csr: Csr) -> Self {
        Self {
            zone,
            csr,
            validity_days: DEFAULT_VALIDITY_DAYS,
            retry: None,
        }
    }

    /// How many days the certificate is valid, from 1; 365 unless set.
    pub fn validity_days(mut self, days: u32) -> Self {
        self.validity_days = days;
        self
    }

    /// How often and how long this call is tried, in place of the client's policy.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    #[tracing::instrument(
        name = "shieldcert.issue",
        skip_all,
        fields(zone = %self.zone.id(), csr.sha256 = self.csr.sha256(), validity_days = self.validity_days),
        err(level = "debug")
    )]
    async fn run(self) -> Result<Issued> {
        if !(1..=LONGEST_VALIDITY_DAYS).contains(&self.validity_days) {
            return Err(Error::input(
                "validity",
                format!(
                    "{} days is not possible; it must be from 1 to {LONGEST_VALIDITY_DAYS} days",
                    self.validity_days
                ),
            ));
        }
        let policy = self.retry.as_ref().unwrap_or(self.zone.client().retry());
        let body = types::CreateClientCertificateBody {
            csr: types::Csr(self.csr.to_pem()),
            validity_days: types::ValidityDays(self.validity_days.into()),
        };
        let outcome = self
            .zone
            .call(policy, async |api| {
                api.create_client_certificate()
                    .zone_id(self.zone.wire_id())
                    .body(body)
                    .send()
                    .await
            })
            .await;
        match outcome {
            Ok((certificate, _)) => {
                check(&certificate, &self.csr)?;
                tracing::debug!(certificate = %certificate.id(), "issued");
                Ok(Issued { certificate })
            }
            Err(error) if error.is_ambiguous() => Err(Error::OutcomeUnknown {
                csr_sha256: self.csr.sha256(),
                source: Box::new(error),
            }),
            Err(error) => Err(error),
        }
    }
}

/// Whether the certificate is what was asked for, and the record is about that certificate.
fn check(record: &ClientCertificate, csr: &Csr) -> Result<()> {
    let wrong = |problem: String| Error::WrongCertificate {
        id: Some(record.id().clone()),
        problem,
    };
    let pem = record
        .pem()
        .ok_or_else(|| wrong("the record holds no certificate".into()))?;
    let certificate = Certificate::from_pem(pem)
        .map_err(|problem| wrong(format!("its certificate can't be read: {problem}")))?;
    if certificate.public_key() != csr.public_key() {
        return Err(wrong("its public key is not the CSR's".into()));
    }
    if let Some(stated) = record.fingerprint_sha256()
        && !stated
            .replace(':', "")
            .eq_ignore_ascii_case(&certificate.sha256())
    {
        return Err(wrong(format!(
            "the record's fingerprint {stated:?} is not the certificate's, which is {}",
            certificate.sha256()
        )));
    }
    if let Some(stated) = record.serial_number()
        && !certificate.has_serial_number(stated)
    {
        return Err(wrong(format!(
            "the record's serial number {stated:?} is not the certificate's"
        )));
    }
    Ok(())
}

impl IntoFuture for Issue {
    type Output = Result<Issued>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
