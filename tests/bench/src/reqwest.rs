//! The contender `reqwest`: what a user writes in an afternoon with reqwest and serde.

use std::path::Path;
use std::sync::Arc;

use ::reqwest::Client;
use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::identity::Request;
use crate::{CONCURRENCY, PAGE_SIZE, POLL_INTERVAL, Service, Tally, Task, VALIDITY_DAYS};

/// Runs a task.
pub async fn run(service: Service, task: Task) -> anyhow::Result<Tally> {
    let zone = Zone::new(&service)?;
    match task {
        Task::List => {
            let mut all = Vec::new();
            zone.each_page(|page| all.extend(page)).await?;
            let mut tally = Tally::default();
            for certificate in &all {
                certificate.add_to(&mut tally);
            }
            Ok(tally)
        }
        Task::Stream => {
            let mut tally = Tally::default();
            zone.each_page(|page| {
                for certificate in page {
                    certificate.add_to(&mut tally);
                }
            })
            .await?;
            Ok(tally)
        }
        Task::Ids { file } => {
            let mut tally = Tally::default();
            let mut lines = String::new();
            zone.each_page(|page| {
                for certificate in page {
                    lines.push_str(&certificate.id);
                    lines.push('\n');
                    certificate.add_to(&mut tally);
                }
            })
            .await?;
            std::fs::write(file, lines)?;
            Ok(tally)
        }
        Task::Issue { count, folder } => zone.issue_all(count, &folder).await,
        Task::Revoke { ids } => zone.revoke_all(ids).await,
        Task::Get { id, times } => zone.get_often(&id, times).await,
    }
}

/// Every field that the API documents.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Certificate {
    pub id: String,
    pub certificate: Option<String>,
    pub certificate_authority: Option<CertificateAuthority>,
    pub common_name: Option<String>,
    pub country: Option<String>,
    pub csr: Option<String>,
    pub expires_on: Option<String>,
    pub fingerprint_sha256: Option<String>,
    pub issued_on: Option<String>,
    pub location: Option<String>,
    pub organization: Option<String>,
    pub organizational_unit: Option<String>,
    pub serial_number: Option<String>,
    pub signature: Option<String>,
    pub ski: Option<String>,
    pub state: Option<String>,
    pub status: Option<String>,
    pub validity_days: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct CertificateAuthority {
    pub id: Option<String>,
    pub name: Option<String>,
}

#[derive(Deserialize)]
struct Envelope<T> {
    result: T,
    result_info: Option<ResultInfo>,
}

#[derive(Deserialize)]
struct ResultInfo {
    total_count: u64,
}

#[derive(Serialize)]
struct NewCertificate<'a> {
    csr: &'a str,
    validity_days: u32,
}

impl Certificate {
    fn add_to(&self, tally: &mut Tally) {
        let fingerprint = self.fingerprint_sha256.as_deref().unwrap_or_default();
        tally.add(&self.id, fingerprint);
    }
}

/// A zone's certificates.
#[derive(Clone, Debug)]
pub struct Zone {
    http: Client,
    url: Arc<str>,
}

impl Zone {
    /// Opens the service's zone.
    pub fn new(service: &Service) -> anyhow::Result<Self> {
        Ok(Self {
            http: service.http()?,
            url: service.certificates().into(),
        })
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: ::reqwest::RequestBuilder,
    ) -> anyhow::Result<Envelope<T>> {
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// Reads the zone page by page.
    pub async fn each_page(&self, mut take: impl FnMut(Vec<Certificate>)) -> anyhow::Result<()> {
        for page in 1.. {
            let url = format!("{}?page={page}&per_page={PAGE_SIZE}", self.url);
            let envelope: Envelope<Vec<Certificate>> = self.send(self.http.get(url)).await?;
            let info = envelope.result_info.context("no result_info")?;
            take(envelope.result);
            if page * PAGE_SIZE >= info.total_count {
                break;
            }
        }
        Ok(())
    }

    async fn get(&self, id: &str) -> anyhow::Result<Certificate> {
        let url = format!("{}/{id}", self.url);
        Ok(self.send(self.http.get(url)).await?.result)
    }

    /// Gets one certificate `times` times.
    pub async fn get_often(&self, id: &str, times: u64) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        for _ in 0..times {
            self.get(id).await?.add_to(&mut tally);
        }
        Ok(tally)
    }

    async fn issue_all(&self, count: u64, folder: &Path) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        for number in 0..count {
            let request = Request::new(&format!("device-{number:05}"))?;
            let body = NewCertificate {
                csr: &request.csr,
                validity_days: VALIDITY_DAYS,
            };
            let sent = self.http.post(&*self.url).json(&body);
            let issued: Certificate = self.send(sent).await?.result;
            let pem = issued.certificate.as_deref().context("no certificate")?;
            request.check(pem)?;
            request.write(pem, &folder.join(format!("{number:05}.pem")))?;
            issued.add_to(&mut tally);
        }
        Ok(tally)
    }

    async fn revoke_all(&self, ids: Vec<String>) -> anyhow::Result<Tally> {
        stream::iter(&ids)
            .map(async |id| {
                let url = format!("{}/{id}", self.url);
                self.send::<Certificate>(self.http.delete(url)).await
            })
            .buffer_unordered(CONCURRENCY)
            .try_for_each(async |_| Ok(()))
            .await?;
        let mut tally = Tally::default();
        let mut pending = ids;
        while !pending.is_empty() {
            tokio::time::sleep(POLL_INTERVAL).await;
            let seen: Vec<Certificate> = stream::iter(&pending)
                .map(async |id| self.get(id).await)
                .buffer_unordered(CONCURRENCY)
                .try_collect()
                .await?;
            pending = Vec::new();
            for certificate in seen {
                match certificate.status.as_deref() {
                    Some("revoked") => certificate.add_to(&mut tally),
                    Some("pending_revocation") => pending.push(certificate.id),
                    other => ensure!(false, "a certificate is {other:?}"),
                }
            }
        }
        Ok(tally)
    }
}
