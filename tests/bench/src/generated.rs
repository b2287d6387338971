//! The contender `generated`: the generated client with the loops that its users write.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use shieldcert_api::transport::HttpTransport;
use shieldcert_api::{Client, types};

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
                add(&mut tally, certificate);
            }
            Ok(tally)
        }
        Task::Stream => {
            let mut tally = Tally::default();
            zone.each_page(|page| {
                for certificate in &page {
                    add(&mut tally, certificate);
                }
            })
            .await?;
            Ok(tally)
        }
        Task::Ids { .. } => bail!("this task is for the others"),
        Task::Issue { count, folder } => zone.issue_all(count, &folder).await,
        Task::Revoke { ids } => zone.revoke_all(ids).await,
        Task::Get { id, times } => zone.get_often(&id, times).await,
    }
}

fn add(tally: &mut Tally, certificate: &types::ClientCertificate) {
    tally.add(
        certificate.id.as_ref().map_or("", |id| id.as_str()),
        certificate
            .fingerprint_sha256
            .as_deref()
            .unwrap_or_default(),
    );
}

/// A zone's certificates.
#[derive(Debug)]
pub struct Zone {
    api: Client,
    id: String,
}

impl Zone {
    /// Opens the service's zone.
    pub fn new(service: &Service) -> anyhow::Result<Self> {
        let transport = HttpTransport::new(service.http()?);
        Ok(Self {
            api: Client::with_transport(&service.base_url, Arc::new(transport)),
            id: service.zone.clone(),
        })
    }

    /// Gets one certificate `times` times.
    pub async fn get_often(&self, id: &str, times: u64) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        for _ in 0..times {
            add(&mut tally, &self.get(id).await?);
        }
        Ok(tally)
    }

    async fn each_page(
        &self,
        mut take: impl FnMut(Vec<types::ClientCertificate>),
    ) -> anyhow::Result<()> {
        for page in 1.. {
            let response = self
                .api
                .list_client_certificates()
                .zone_id(self.id.clone())
                .page(page)
                .per_page(PAGE_SIZE)
                .send()
                .await?
                .into_inner();
            let total = response.result_info.and_then(|info| info.total_count);
            take(response.result.context("no result")?);
            if page * PAGE_SIZE >= u64::try_from(total.context("no total")?)? {
                break;
            }
        }
        Ok(())
    }

    async fn get(&self, id: &str) -> anyhow::Result<types::ClientCertificate> {
        let response = self
            .api
            .get_client_certificate()
            .zone_id(self.id.clone())
            .client_certificate_id(id.to_owned())
            .send()
            .await?;
        response.into_inner().result.context("no result")
    }

    async fn issue_all(&self, count: u64, folder: &Path) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        for number in 0..count {
            let request = Request::new(&format!("device-{number:05}"))?;
            let body = types::CreateClientCertificateBody::builder()
                .csr(request.csr.clone())
                .validity_days(i64::from(VALIDITY_DAYS));
            let sent = self
                .api
                .create_client_certificate()
                .zone_id(self.id.clone());
            let issued = sent.body(body).send().await?.into_inner();
            let issued = issued.result.context("no result")?;
            let pem = issued.certificate.as_deref().context("no certificate")?;
            request.check(pem)?;
            request.write(pem, &folder.join(format!("{number:05}.pem")))?;
            add(&mut tally, &issued);
        }
        Ok(tally)
    }

    async fn revoke_all(&self, ids: Vec<String>) -> anyhow::Result<Tally> {
        stream::iter(&ids)
            .map(async |id| {
                self.api
                    .delete_client_certificate()
                    .zone_id(self.id.clone())
                    .client_certificate_id(id.clone())
                    .send()
                    .await
            })
            .buffer_unordered(CONCURRENCY)
            .try_for_each(async |_| Ok(()))
            .await?;
        let mut tally = Tally::default();
        let mut pending = ids;
        while !pending.is_empty() {
            tokio::time::sleep(POLL_INTERVAL).await;
            let seen: Vec<_> = stream::iter(&pending)
                .map(async |id| anyhow::Ok((id.clone(), self.get(id).await?)))
                .buffer_unordered(CONCURRENCY)
                .try_collect()
                .await?;
            pending = Vec::new();
            for (id, certificate) in seen {
                match certificate.status.as_deref() {
                    Some("revoked") => add(&mut tally, &certificate),
                    Some("pending_revocation") => pending.push(id),
                    other => bail!("a certificate is {other:?}"),
                }
            }
        }
        Ok(tally)
    }
}
