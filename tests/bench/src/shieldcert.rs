//! Shieldcert with its default settings.

use std::path::Path;

use ::shieldcert::{
    CertificateId, Client, ClientCertificate, Identity, KeyAlgorithm, PrivateKey, Status, Subject,
    Zone, ZoneId,
};
use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{AT_ONCE, Answer, Service, Task, VALIDITY_DAYS};

/// Does the task.
pub async fn run(_: Service, task: Task) -> anyhow::Result<Answer> {
    let zone = Client::from_env()?.zone(ZoneId::from_env()?);
    match task {
        Task::List => {
            let all = zone.list().await?;
            let mut answer = Answer::default();
            for certificate in &all {
                add(&mut answer, certificate);
            }
            Ok(answer)
        }
        Task::Stream => {
            let mut certificates = zone.list().stream();
            let mut answer = Answer::default();
            while let Some(certificate) = certificates.try_next().await? {
                add(&mut answer, &certificate);
            }
            Ok(answer)
        }
        Task::Issue { count, folder } => issue(&zone, count, &folder).await,
        Task::Revoke { ids } => revoke(&zone, ids).await,
        Task::Get { id, times } => get(&zone, &id, times).await,
    }
}

fn add(answer: &mut Answer, certificate: &ClientCertificate) {
    answer.add(
        certificate.id().as_str(),
        certificate.fingerprint_sha256().unwrap_or_default(),
    );
}

async fn issue(zone: &Zone, count: u64, folder: &Path) -> anyhow::Result<Answer> {
    stream::iter(0..count)
        .map(async |number| {
            let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
            let subject = Subject::common_name(format!("device-{number:05}"));
            let csr = key.csr(&subject)?;
            let issued = zone.issue(&csr).validity_days(VALIDITY_DAYS).await?;
            let identity = Identity::new(issued.certificate, key)?;
            let path = folder.join(format!("{number:05}.pem"));
            // It waits for the disk, as its documentation says.
            tokio::task::spawn_blocking(move || {
                identity.write_pem(path)?;
                anyhow::Ok(identity.certificate().clone())
            })
            .await?
        })
        .buffer_unordered(AT_ONCE)
        .try_fold(Answer::default(), async |mut answer, certificate| {
            add(&mut answer, &certificate);
            Ok(answer)
        })
        .await
}

async fn revoke(zone: &Zone, ids: Vec<String>) -> anyhow::Result<Answer> {
    let ids: Vec<CertificateId> = ids.iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
    stream::iter(&ids)
        .map(async |id| zone.revoke(id).await)
        .buffer_unordered(AT_ONCE)
        .try_for_each(async |_| Ok(()))
        .await?;
    let waits = ids.iter().map(|id| zone.wait(id).until(Status::Revoked));
    let revoked = futures_util::future::try_join_all(waits.map(IntoFuture::into_future)).await?;
    let mut answer = Answer::default();
    for certificate in &revoked {
        add(&mut answer, certificate);
    }
    Ok(answer)
}

/// Gets one certificate again and again.
pub async fn get(zone: &Zone, id: &str, times: u64) -> anyhow::Result<Answer> {
    let id: CertificateId = id.parse().context("no id")?;
    let mut answer = Answer::default();
    for _ in 0..times {
        add(&mut answer, &zone.get(&id).await?);
    }
    Ok(answer)
}
