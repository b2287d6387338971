//! Certificates that a test finds in a zone.

use std::sync::Arc;

use jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde::Deserialize;
use serde_json::Value;
use shieldcert_api::types::{ClientCertificate, ClientCertificateTag};

use crate::assumptions::MAX_VALIDITY_DAYS;
use crate::core::csr::Csr;
use crate::core::service::Service;
use crate::core::status::Status;
use crate::core::store::{NewCertificate, ZoneId};
use crate::error::{BoxError, Error};

const DEFAULT_VALIDITY_DAYS: i64 = 365;

/// A certificate that a test needs to find in a zone, perhaps old, expired or revoked.
/// [`Emulator::add`](crate::Emulator::add) adds it.
///
/// In JSON, for the control endpoint, it has the names of the API's fields, and each may be left out:
///
/// ```json
/// { "common_name": "sensor-001", "status": "revoked", "issued_on": "2026-01-31T00:00:00Z", "validity_days": 90 }
/// ```
///
/// or a `csr` in place of the common name.
///
/// # Examples
///
/// ```
/// use shieldcert_emulator::{Emulator, Fixture};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), shieldcert_emulator::Error> {
/// let emulator = Emulator::builder().build()?;
/// let expired = Fixture::new("sensor-001").issued_on("2026-01-31T00:00:00Z").validity_days(30);
/// let record = emulator.add("023e105f4ecef8ad9ca31a8372d0c353", expired).await?;
/// assert_eq!(record.expires_on.as_deref(), Some("2026-03-02T00:00:00Z"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[must_use = "it is in no zone until it is added"]
pub struct Fixture {
    common_name: Option<String>,
    csr: Option<String>,
    status: Option<String>,
    issued_on: Option<String>,
    validity_days: Option<i64>,
}

impl Fixture {
    /// An active certificate with this common name and a new key, issued now for 365 days.
    pub fn new(common_name: impl Into<String>) -> Self {
        Self {
            common_name: Some(common_name.into()),
            ..Self::default()
        }
    }

    /// An active certificate for this CSR in PEM, issued now for 365 days.
    pub fn for_csr(csr: impl Into<String>) -> Self {
        Self {
            csr: Some(csr.into()),
            ..Self::default()
        }
    }

    /// Sets the status, as the API spells it. A pending one settles after the transition delay.
    pub fn status(mut self, status: impl Into<String>) -> Self {
        self.status = Some(status.into());
        self
    }

    /// Sets when it was issued, in RFC 3339.
    pub fn issued_on(mut self, time: impl Into<String>) -> Self {
        self.issued_on = Some(time.into());
        self
    }

    /// Sets how many days it is valid, from 1 to 5,475.
    pub fn validity_days(mut self, days: i64) -> Self {
        self.validity_days = Some(days);
        self
    }

    /// Reads one, or a list of them, in JSON.
    pub(crate) fn parse_all(json: &[u8]) -> Result<Vec<Self>, Error> {
        let invalid = |problem: String| {
            Error::Fixture(format!(
                "{problem}; write {{\"common_name\": \"sensor-001\"}}, or a list"
            ))
        };
        let body = serde_json::from_slice(json)
            .map_err(|error| invalid(format!("it is not JSON ({error})")))?;
        let fixtures = match body {
            Value::Array(fixtures) => fixtures,
            fixture => vec![fixture],
        };
        fixtures
            .into_iter()
            .map(|fixture| match fixture {
                Value::Object(_) => {
                    serde_json::from_value(fixture).map_err(|error| invalid(error.to_string()))
                }
                _ => Err(invalid("it is no object".to_owned())),
            })
            .collect()
    }

    /// Issues the certificate and stores it.
    pub(crate) async fn add(
        self,
        service: &Arc<Service>,
        zone: ZoneId,
    ) -> Result<ClientCertificate, Error> {
        let new = self
            .issue(service)
            .map_err(|problem| Error::Fixture(problem.to_string()))?;
        let mut record = (*new.certificate).clone();
        record.status = Some(new.status.as_str().to_owned());
        let new = [new];
        loop {
            let stored = async {
                let held = service.store.len(zone).await?;
                let delay = service.settings.transition_delay;
                service.store.insert_all(zone, held, &new, delay).await
            };
            // Otherwise something else was stored in between.
            if stored.await.map_err(Error::Populate)? {
                return Ok(record);
            }
        }
    }

    fn issue(self, service: &Service) -> Result<NewCertificate, BoxError> {
        let status = self.status.as_deref().unwrap_or("active");
        let status: Status = status.parse().map_err(|_| {
            format!(
                "its status is {status:?}; write active, revoked, pending_revocation or pending_reactivation (expired is \
                 what its dates make it)"
            )
        })?;
        let days = self.validity_days.unwrap_or(DEFAULT_VALIDITY_DAYS);
        if !(1..=MAX_VALIDITY_DAYS).contains(&days) {
            return Err(
                format!("its validity_days is {days}; write 1 to {MAX_VALIDITY_DAYS}").into(),
            );
        }
        let from = match &self.issued_on {
            None => service.clock.unix_seconds(),
            Some(text) => text
                .parse::<Timestamp>()
                .map_err(|_| {
                    format!("its issued_on is {text:?}; write a time such as 2026-01-31T00:00:00Z")
                })?
                .as_second(),
        };
        let csr = match (self.csr, self.common_name) {
            (Some(csr), None) => csr,
            (None, Some(name)) => make_csr(&name)?,
            _ => return Err("it needs either a common_name or a csr".into()),
        };
        let csr = Csr::parse(&csr)?;
        let id = service.random.uuid();
        let mut certificate = service.ca.issue(&csr, service.random.bytes(), from, days)?;
        certificate.id = Some(ClientCertificateTag(service.settings.ids.format(id)));
        Ok(NewCertificate {
            id,
            certificate: Arc::new(certificate),
            status,
        })
    }
}

fn make_csr(common_name: &str) -> Result<String, BoxError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params.serialize_request(&KeyPair::generate()?)?.pem()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Emulator;

    const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";

    #[tokio::test(start_paused = true)]
    async fn a_fixture_is_in_the_list_as_it_was_described() {
        let emulator = Emulator::builder().build().expect("builds");
        let fixture = Fixture::new("sensor-001")
            .status("pending_revocation")
            .issued_on("2026-01-31T00:00:00Z")
            .validity_days(30);
        let record = emulator.add(ZONE, fixture).await.expect("is added");
        let field = |text: &Option<String>| text.clone().unwrap_or_default();
        assert_eq!(field(&record.common_name), "sensor-001");
        assert_eq!(field(&record.status), "pending_revocation");
        assert_eq!(field(&record.issued_on), "2026-01-31T00:00:00Z");
        assert_eq!(field(&record.expires_on), "2026-03-02T00:00:00Z");
        tokio::time::advance(std::time::Duration::from_secs(3)).await;
        let zone = ZoneId::parse(ZONE).expect("an id");
        let id = record.id.expect("an id").parse().expect("a UUID");
        let held = emulator.app.service.get(zone, id, None).await;
        assert_eq!(field(&held.expect("is held").status), "revoked");
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_fixture_is_said() {
        let emulator = Emulator::builder().build().expect("builds");
        let mut errors = Vec::new();
        for body in [
            "",
            "7",
            "{}",
            r#"{"name": "sensor-001"}"#,
            r#"{"common_name": "sensor-001", "csr": "x"}"#,
            r#"{"csr": "x"}"#,
            r#"{"common_name": "sensor-001", "status": "lost"}"#,
            r#"{"common_name": "sensor-001", "issued_on": "yesterday"}"#,
            r#"{"common_name": "sensor-001", "validity_days": 0}"#,
        ] {
            let added = async {
                for fixture in Fixture::parse_all(body.as_bytes())? {
                    emulator.add(ZONE, fixture).await?;
                }
                Ok::<_, Error>(())
            };
            errors.push(added.await.expect_err(body).to_string());
        }
        insta::assert_snapshot!(errors.join("\n"), @r#"
        the fixture can't be used: it is not JSON (EOF while parsing a value at line 1 column 0); write {"common_name": "sensor-001"}, or a list
        the fixture can't be used: it is no object; write {"common_name": "sensor-001"}, or a list
        the fixture can't be used: it needs either a common_name or a csr
        the fixture can't be used: unknown field `name`, expected one of `common_name`, `csr`, `status`, `issued_on`, `validity_days`; write {"common_name": "sensor-001"}, or a list
        the fixture can't be used: it needs either a common_name or a csr
        the fixture can't be used: the CSR is not one PEM block; send it from `-----BEGIN CERTIFICATE REQUEST-----` to `-----END CERTIFICATE REQUEST-----`
        the fixture can't be used: its status is "lost"; write active, revoked, pending_revocation or pending_reactivation (expired is what its dates make it)
        the fixture can't be used: its issued_on is "yesterday"; write a time such as 2026-01-31T00:00:00Z
        the fixture can't be used: its validity_days is 0; write 1 to 5475
        "#);
        let error = emulator
            .add("example.com", Fixture::new("sensor-001"))
            .await;
        assert!(matches!(error, Err(Error::Zone(_))));
    }
}
