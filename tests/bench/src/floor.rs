//! The floor: the least that a task can take. It sends the same requests over the same number of connections, and
//! discards the responses.
//!
//! Also here is what the runner needs to know: what is in the zone, how many requests the service has counted, and how
//! fast the machine signs.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ::reqwest::{Client, RequestBuilder};
use ::shieldcert::List;
use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::identity::Request;
use crate::{CONCURRENCY, PAGE_SIZE, Service, Tally, Task, VALIDITY_DAYS, reqwest};

/// Sends the requests of a task and discards the responses, so that the tally has a count alone.
pub async fn run(service: Service, task: Task) -> anyhow::Result<Tally> {
    let http = service.http()?;
    let url = service.certificates();
    let count = match task {
        Task::List | Task::Stream | Task::Ids { .. } => list(&http, &url).await?,
        // One CSR for all: making CSRs is not part of the floor, and the service issues for the same one again.
        Task::Issue { count, .. } => {
            let body = body()?.to_string();
            let requests = (0..count).map(|_| http.post(&url).body(body.clone()));
            send_all(requests, CONCURRENCY).await?
        }
        Task::Revoke { ids } => {
            let requests = ids.iter().map(|id| http.delete(format!("{url}/{id}")));
            let count = send_all(requests, CONCURRENCY).await?;
            // Then one poll when the delay is over, or a few if it takes longer.
            let pending = format!("{url}?status=pending_revocation&per_page={PAGE_SIZE}");
            tokio::time::sleep(TRANSITION_DELAY).await;
            while count_on_page(&http, &pending).await? > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            count
        }
        Task::Get { id, times } => {
            let url = format!("{url}/{id}");
            send_all((0..times).map(|_| http.get(&url)), 1).await?
        }
    };
    Ok(Tally { count, checksum: 0 })
}

/// Returns the body of a request that creates a certificate.
pub fn body() -> anyhow::Result<serde_json::Value> {
    let csr = Request::new("device")?.csr;
    Ok(serde_json::json!({ "csr": csr, "validity_days": VALIDITY_DAYS }))
}

/// The delay that the runner sets in the emulator.
const TRANSITION_DELAY: Duration = Duration::from_secs(2);

async fn send(request: RequestBuilder) -> anyhow::Result<()> {
    let mut response = request.send().await?.error_for_status()?;
    while response.chunk().await?.is_some() {}
    Ok(())
}

async fn send_all(
    requests: impl Iterator<Item = RequestBuilder>,
    at_once: usize,
) -> anyhow::Result<u64> {
    stream::iter(requests)
        .map(send)
        .buffer_unordered(at_once)
        .try_fold(0, async |count, ()| Ok(count + 1))
        .await
}

#[derive(Deserialize)]
struct Envelope {
    result: Vec<serde::de::IgnoredAny>,
    result_info: ResultInfo,
}

#[derive(Deserialize)]
struct ResultInfo {
    total_count: u64,
}

async fn count_on_page(http: &Client, url: &str) -> anyhow::Result<usize> {
    let response = http.get(url).send().await?.error_for_status()?;
    Ok(response.json::<Envelope>().await?.result.len())
}

/// Fetches all pages. Only the first, which states the total, is parsed.
async fn list(http: &Client, url: &str) -> anyhow::Result<u64> {
    let page = |number: u64| format!("{url}?page={number}&per_page={PAGE_SIZE}");
    let first = http.get(page(1)).send().await?.error_for_status()?;
    let total = first.json::<Envelope>().await?.result_info.total_count;
    let others = (2..=total.div_ceil(PAGE_SIZE)).map(|number| http.get(page(number)));
    send_all(others, List::DEFAULT_PREFETCH as usize).await?;
    Ok(total)
}

/// What is in the zone, read one page after another.
#[derive(Debug, Serialize)]
pub struct Contents {
    /// The count and the checksum of the certificates.
    #[serde(flatten)]
    tally: Tally,
    /// The checksum of the fingerprints alone.
    fingerprints: u64,
    /// The number of active certificates.
    active: u64,
    /// The number of revoked certificates.
    revoked: u64,
    /// The number of requests that the service had counted before these.
    requests: u64,
    /// One of the ids.
    sample_id: Option<String>,
}

/// Reads the zone, and writes the ids to a file if one is given.
pub async fn contents(service: &Service, ids: Option<&Path>) -> anyhow::Result<Contents> {
    let requests = count_requests(service).await?;
    let (mut tally, mut fingerprints) = (Tally::default(), Tally::default());
    let (mut active, mut revoked) = (0, 0);
    let mut lines = String::new();
    let mut sample_id = None;
    let zone = reqwest::Zone::new(service)?;
    zone.each_page(|page| {
        for certificate in page {
            let fingerprint = certificate
                .fingerprint_sha256
                .as_deref()
                .unwrap_or_default();
            tally.add(&certificate.id, fingerprint);
            fingerprints.add("", fingerprint);
            active += u64::from(certificate.status.as_deref() == Some("active"));
            revoked += u64::from(certificate.status.as_deref() == Some("revoked"));
            if ids.is_some() {
                lines.push_str(&certificate.id);
                lines.push('\n');
            }
            sample_id = Some(certificate.id);
        }
    })
    .await?;
    if let Some(file) = ids {
        std::fs::write(file, lines)?;
    }
    Ok(Contents {
        tally,
        fingerprints: fingerprints.checksum,
        active,
        revoked,
        requests,
        sample_id,
    })
}

/// Polls the zone until it holds so many certificates.
pub async fn wait_for(service: &Service, certificates: u64) -> anyhow::Result<()> {
    let http = service.http()?;
    let url = format!("{}?per_page=5", service.certificates());
    loop {
        let response = http.get(&url).send().await?.error_for_status()?;
        let page = response.json::<Envelope>().await?;
        if page.result_info.total_count >= certificates {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Issues one certificate after another while the file is there. Returns how many.
pub async fn grow(service: &Service, file: &Path) -> anyhow::Result<u64> {
    let http = service.http()?;
    let url = service.certificates();
    let body = body()?.to_string();
    let mut count = 0;
    while file.exists() {
        send(http.post(&url).body(body.clone())).await?;
        count += 1;
    }
    Ok(count)
}

/// Sets how the emulator differs from a well-behaved service.
pub async fn set_quirks(service: &Service, quirks: &str) -> anyhow::Result<()> {
    let root = service.base_url.strip_suffix("/client/v4");
    let root = root.context("the base URL is not the emulator's")?;
    let url = format!("{root}/__shieldcert/quirks");
    send(service.http()?.put(url).body(quirks.to_owned())).await
}

/// Returns the number of requests that the service has counted before this one: its quota minus what is left of it.
pub async fn count_requests(service: &Service) -> anyhow::Result<u64> {
    let url = format!("{}?per_page=5", service.certificates());
    let response = service.http()?.get(url).send().await?.error_for_status()?;
    let number = |header: &str, parameter: &str| {
        let value = response.headers().get(header)?.to_str().ok()?;
        let mut parameters = value.split(';').filter_map(|each| each.split_once('='));
        parameters
            .find(|(name, _)| *name == parameter)?
            .1
            .parse::<u64>()
            .ok()
    };
    let quota = number("ratelimit-policy", "q").context("no Ratelimit-Policy")?;
    let left = number("ratelimit", "r").context("no Ratelimit")?;
    ensure!(left < quota, "the service does not count");
    Ok(quota - left - 1)
}

/// ECDSA P-256 signatures a second.
#[derive(Debug, Serialize)]
pub struct Signing {
    one_thread: f64,
    two_threads: f64,
    /// With the CSR's signature verified before each, as a CA does.
    verify_and_sign_two_threads: f64,
}

/// Measures each for a second.
pub fn measure_signing() -> anyhow::Result<Signing> {
    Ok(Signing {
        one_thread: count_signatures(1, false)?,
        two_threads: count_signatures(2, false)?,
        verify_and_sign_two_threads: count_signatures(2, true)?,
    })
}

fn count_signatures(threads: usize, verify: bool) -> anyhow::Result<f64> {
    use ring::rand::SystemRandom;
    use ring::signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair,
        UnparsedPublicKey,
    };

    let failed = |_| anyhow::anyhow!("ring failed");
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(failed)?;
    let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    // About the size of the signed part of a certificate.
    let message = [7; 500];
    let signature = key.sign(&random, &message).map_err(failed)?;
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_key().as_ref());
    let made = AtomicUsize::new(0);
    let started = Instant::now();
    let until = started + Duration::from_secs(1);
    let work = || {
        while Instant::now() < until {
            if verify {
                public.verify(&message, signature.as_ref())?;
            }
            key.sign(&random, &message)?;
            made.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| match worker.join() {
                Ok(outcome) => outcome.map_err(failed),
                Err(_) => Err(anyhow::anyhow!("a thread ended")),
            })
    })?;
    Ok(made.into_inner() as f64 / started.elapsed().as_secs_f64())
}
