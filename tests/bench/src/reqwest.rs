//! What a user writes who has reqwest and serde, and an afternoon.

use std::path::Path;
use std::sync::Arc;

use ::reqwest::Client;
use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::identity::Request;
use crate::{AT_ONCE, Answer, PAGE_SIZE, POLLING, Service, Task, VALIDITY_DAYS};

/// Does the task.
pub async fn run(service: Service, task: Task) -> anyhow::Result<Answer> {
    let zone = Zone::new(&service)?;
    match task {
        Task::List => {
            let mut all = Vec::new();
            zone.each_page(|page| all.extend(page)).await?;
            let mut answer = Answer::default();
            for certificate in &all {
                certificate.add_to(&mut answer);
            }
            Ok(answer)
        }
        Task::Stream => {
            let mut answer = Answer::default();
            zone.each_page(|page| {
                for certificate in page {
                    certificate.add_to(&mut answer);
                }
            })
            .await?;
            Ok(answer)
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
    fn add_to(&self, answer: &mut Answer) {
        let fingerprint = self.fingerprint_sha256.as_deref().unwrap_or_default();
        answer.add(&self.id, fingerprint);
    }
}

/// A zone's certificates.
#[derive(Clone, Debug)]
pub struct Zone {
    http: Client,
    url: Arc<str>,
}

impl Zone {
    /// The zone of the service.
    pub fn new(service: &Service) -> anyhow::Result<Self> {
        Ok(Self {
            http: service.http()?,
            url: service.certificates().into(),
        })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: ::reqwest::RequestBuilder,
    ) -> anyhow::Result<Envelope<T>> {
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// Reads the zone page by page.
    pub async fn each_page(&self, mut take: impl FnMut(Vec<Certificate>)) -> anyhow::Result<()> {
        for page in 1.. {
            let url = format!("{}?page={page}&per_page={PAGE_SIZE}", self.url);
            let answer: Envelope<Vec<Certificate>> = self.ask(self.http.get(url)).await?;
            let info = answer.result_info.context("no result_info")?;
            take(answer.result);
            if page * PAGE_SIZE >= info.total_count {
                break;
            }
        }
        Ok(())
    }

    async fn get(&self, id: &str) -> anyhow::Result<Certificate> {
        let url = format!("{}/{id}", self.url);
        Ok(self.ask(self.http.get(url)).await?.result)
    }

    /// Gets one certificate again and again.
    pub async fn get_often(&self, id: &str, times: u64) -> anyhow::Result<Answer> {
        let mut answer = Answer::default();
        for _ in 0..times {
            self.get(id).await?.add_to(&mut answer);
        }
        Ok(answer)
    }

    async fn issue_all(&self, count: u64, folder: &Path) -> anyhow::Result<Answer> {
        let mut answer = Answer::default();
        for number in 0..count {
            let request = Request::new(&format!("device-{number:05}"))?;
            let body = NewCertificate {
                csr: &request.csr,
                validity_days: VALIDITY_DAYS,
            };
            let sent = self.http.post(&*self.url).json(&body);
            let issued: Certificate = self.ask(sent).await?.result;
            let pem = issued.certificate.as_deref().context("no certificate")?;
            request.check(pem)?;
            request.write(pem, &folder.join(format!("{number:05}.pem")))?;
            issued.add_to(&mut answer);
        }
        Ok(answer)
    }

    async fn revoke_all(&self, ids: Vec<String>) -> anyhow::Result<Answer> {
        stream::iter(&ids)
            .map(async |id| {
                let url = format!("{}/{id}", self.url);
                self.ask::<Certificate>(self.http.delete(url)).await
            })
            .buffer_unordered(AT_ONCE)
            .try_for_each(async |_| Ok(()))
            .await?;
        let mut answer = Answer::default();
        let mut pending = ids;
        while !pending.is_empty() {
            tokio::time::sleep(POLLING).await;
            let seen: Vec<Certificate> = stream::iter(&pending)
                .map(async |id| self.get(id).await)
                .buffer_unordered(AT_ONCE)
                .try_collect()
                .await?;
            pending = Vec::new();
            for certificate in seen {
                match certificate.status.as_deref() {
                    Some("revoked") => certificate.add_to(&mut answer),
                    Some("pending_revocation") => pending.push(certificate.id),
                    other => ensure!(false, "a certificate is {other:?}"),
                }
            }
        }
        Ok(answer)
    }
}
