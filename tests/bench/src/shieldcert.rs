//! The contender `shieldcert`, with default settings.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use ::shieldcert::{
    CertificateId, Client, ClientCertificate, Identity, KeyAlgorithm, PrivateKey, Status, Subject,
    Zone, ZoneId,
};
use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{CONCURRENCY, Service, Tally, Task, VALIDITY_DAYS};

/// Runs a task.
pub async fn run(_: Service, task: Task) -> anyhow::Result<Tally> {
    let zone = Client::from_env()?.zone(ZoneId::from_env()?);
    match task {
        Task::List => {
            let all = zone.list().await?;
            let mut tally = Tally::default();
            for certificate in &all {
                add(&mut tally, certificate);
            }
            Ok(tally)
        }
        Task::Stream => {
            let mut certificates = zone.list().stream();
            let mut tally = Tally::default();
            while let Some(certificate) = certificates.try_next().await? {
                add(&mut tally, &certificate);
            }
            Ok(tally)
        }
        Task::Ids { file } => {
            let mut file = BufWriter::new(File::create(file)?);
            let mut certificates = zone.list().stream();
            let mut tally = Tally::default();
            while let Some(certificate) = certificates.try_next().await? {
                writeln!(file, "{}", certificate.id())?;
                add(&mut tally, &certificate);
            }
            file.flush()?;
            Ok(tally)
        }
        Task::Issue { count, folder } => issue(&zone, count, &folder).await,
        Task::Revoke { ids } => revoke(&zone, ids).await,
        Task::Get { id, times } => get(&zone, &id, times).await,
    }
}

fn add(tally: &mut Tally, certificate: &ClientCertificate) {
    tally.add(
        certificate.id().as_str(),
        certificate.fingerprint_sha256().unwrap_or_default(),
    );
}

async fn issue(zone: &Zone, count: u64, folder: &Path) -> anyhow::Result<Tally> {
    stream::iter(0..count)
        .map(async |number| {
            let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
            let subject = Subject::common_name(format!("device-{number:05}"));
            let csr = key.csr(&subject)?;
            let issued = zone.issue(&csr).validity_days(VALIDITY_DAYS).await?;
            let certificate = issued.certificate;
            let identity = Identity::new(&certificate, key)?;
            let path = folder.join(format!("{number:05}.pem"));
            // Writing waits for the disk.
            tokio::task::spawn_blocking(move || identity.write_pem(path)).await??;
            anyhow::Ok(certificate)
        })
        .buffer_unordered(CONCURRENCY)
        .try_fold(Tally::default(), async |mut tally, certificate| {
            add(&mut tally, &certificate);
            Ok(tally)
        })
        .await
}

async fn revoke(zone: &Zone, ids: Vec<String>) -> anyhow::Result<Tally> {
    let ids: Vec<CertificateId> = ids.iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
    stream::iter(&ids)
        .map(async |id| zone.revoke(id).await)
        .buffer_unordered(CONCURRENCY)
        .try_for_each(async |_| Ok(()))
        .await?;
    let waits = ids.iter().map(|id| zone.wait(id).until(Status::Revoked));
    let revoked = futures_util::future::try_join_all(waits.map(IntoFuture::into_future)).await?;
    let mut tally = Tally::default();
    for certificate in &revoked {
        add(&mut tally, certificate);
    }
    Ok(tally)
}

/// Gets one certificate `times` times.
pub async fn get(zone: &Zone, id: &str, times: u64) -> anyhow::Result<Tally> {
    let id: CertificateId = id.parse().context("no id")?;
    let mut tally = Tally::default();
    for _ in 0..times {
        add(&mut tally, &zone.get(&id).await?);
    }
    Ok(tally)
}
