//! The least that a task takes: the same bytes over the same number of connections, thrown away.
//!
//! Beside it what the runner needs to know of the service: the right answers, the number of requests that
//! it has counted, and how fast the machine signs.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ::reqwest::{Client, RequestBuilder};
use ::shieldcert::list::List;
use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::identity::Request;
use crate::{AT_ONCE, Answer, PAGE_SIZE, Service, Task, VALIDITY_DAYS, reqwest};

/// Sends what the task needs and reads nothing of the answers. Only their number is in the answer.
pub async fn run(service: Service, task: Task) -> anyhow::Result<Answer> {
    let http = service.http()?;
    let url = service.certificates();
    let count = match task {
        Task::List | Task::Stream => list(&http, &url).await?,
        // One CSR for all: making them is no part of the floor, and the service issues again for it.
        Task::Issue { count, .. } => {
            let body = body()?.to_string();
            let requests = (0..count).map(|_| http.post(&url).body(body.clone()));
            send_all(requests, AT_ONCE).await?
        }
        Task::Revoke { ids } => {
            let requests = ids.iter().map(|id| http.delete(format!("{url}/{id}")));
            let count = send_all(requests, AT_ONCE).await?;
            // Then one look, when it is time; or a few where the delay is longer than it says.
            let pending = format!("{url}?status=pending_revocation&per_page={PAGE_SIZE}");
            tokio::time::sleep(TRANSITION_DELAY).await;
            while matching(&http, &pending).await? > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            count
        }
        Task::Get { id, times } => {
            let url = format!("{url}/{id}");
            send_all((0..times).map(|_| http.get(&url)), 1).await?
        }
    };
    Ok(Answer { count, checksum: 0 })
}

/// A body that creates a certificate.
pub fn body() -> anyhow::Result<serde_json::Value> {
    let csr = Request::new("device")?.csr;
    Ok(serde_json::json!({ "csr": csr, "validity_days": VALIDITY_DAYS }))
}

/// What the runner tells the emulator.
const TRANSITION_DELAY: Duration = Duration::from_secs(2);

async fn send(request: RequestBuilder) -> anyhow::Result<()> {
    let mut answer = request.send().await?.error_for_status()?;
    while answer.chunk().await?.is_some() {}
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

async fn matching(http: &Client, url: &str) -> anyhow::Result<usize> {
    let answer = http.get(url).send().await?.error_for_status()?;
    Ok(answer.json::<Envelope>().await?.result.len())
}

/// The first page says how many there are, and is the only one that is read.
async fn list(http: &Client, url: &str) -> anyhow::Result<u64> {
    let page = |number: u64| format!("{url}?page={number}&per_page={PAGE_SIZE}");
    let first = http.get(page(1)).send().await?.error_for_status()?;
    let total = first.json::<Envelope>().await?.result_info.total_count;
    let others = (2..=total.div_ceil(PAGE_SIZE)).map(|number| http.get(page(number)));
    send_all(others, List::PREFETCH as usize).await?;
    Ok(total)
}

/// What is in the zone, by a plain reading of one page after the other.
#[derive(Debug, Serialize)]
pub struct Contents {
    /// How many certificates, with their checksum.
    #[serde(flatten)]
    answer: Answer,
    /// The checksum of the fingerprints alone.
    fingerprints: u64,
    /// How many of them are revoked.
    revoked: u64,
    /// How many requests the service has counted so far, these not included.
    requests: u64,
    /// One of the ids.
    an_id: Option<String>,
}

/// Reads the zone, and writes the ids to a file where one is given.
pub async fn contents(service: &Service, ids: Option<&Path>) -> anyhow::Result<Contents> {
    let requests = counted(service).await?;
    let (mut answer, mut fingerprints) = (Answer::default(), Answer::default());
    let mut revoked = 0;
    let mut lines = String::new();
    let mut an_id = None;
    let zone = reqwest::Zone::new(service)?;
    zone.each_page(|page| {
        for certificate in page {
            let fingerprint = certificate
                .fingerprint_sha256
                .as_deref()
                .unwrap_or_default();
            answer.add(&certificate.id, fingerprint);
            fingerprints.add("", fingerprint);
            revoked += u64::from(certificate.status.as_deref() == Some("revoked"));
            if ids.is_some() {
                lines.push_str(&certificate.id);
                lines.push('\n');
            }
            an_id = Some(certificate.id);
        }
    })
    .await?;
    if let Some(file) = ids {
        std::fs::write(file, lines)?;
    }
    Ok(Contents {
        answer,
        fingerprints: fingerprints.checksum,
        revoked,
        requests,
        an_id,
    })
}

/// How many requests the service has counted before this one: what its rate limit is less what it says is left.
pub async fn counted(service: &Service) -> anyhow::Result<u64> {
    let url = format!("{}?per_page=5", service.certificates());
    let answer = service.http()?.get(url).send().await?.error_for_status()?;
    let number = |header: &str, parameter: &str| {
        let value = answer.headers().get(header)?.to_str().ok()?;
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

/// Signatures a second, with ECDSA P-256.
#[derive(Debug, Serialize)]
pub struct Signing {
    one_thread: f64,
    two_threads: f64,
    /// With the CSR's signature verified before each, which a CA does too.
    verify_and_sign_two_threads: f64,
}

/// Measures for a second each.
pub fn signing() -> anyhow::Result<Signing> {
    Ok(Signing {
        one_thread: signatures_a_second(1, false)?,
        two_threads: signatures_a_second(2, false)?,
        verify_and_sign_two_threads: signatures_a_second(2, true)?,
    })
}

fn signatures_a_second(threads: usize, verify: bool) -> anyhow::Result<f64> {
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
    // As large as what is signed in a certificate.
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
