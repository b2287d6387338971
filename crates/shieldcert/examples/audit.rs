//! An audit of a zone: every certificate once, in a few megabytes of memory, however large the zone is.
//!
//! `cargo run --example audit` needs no account: it reads 5,000 certificates from an emulator in this process. With
//! `CLOUDFLARE_API_TOKEN` and `CLOUDFLARE_ZONE_ID` set it reads that zone, and changes nothing.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use shieldcert::{Client, Zone, ZoneId};
use shieldcert_emulator::Emulator;

type BoxError = Box<dyn Error + Send + Sync>;

const SAMPLE: usize = 5_000;

/// Prints what expires, and how many certificates have which status. Returns their number.
async fn audit(zone: &Zone) -> Result<usize, BoxError> {
    let mut count = 0;
    let mut statuses = BTreeMap::<String, usize>::new();
    let mut stream = zone.list().prefetch(4).stream();
    // Ends in an error if something can't be shown to be complete.
    while let Some(certificate) = stream.try_next().await? {
        count += 1;
        *statuses
            .entry(certificate.status().to_string())
            .or_default() += 1;
        let now = zone
            .client()
            .service_time()
            .ok_or("the service does not say its time")?;
        let expires = certificate.expires_within(Duration::from_secs(7 * 24 * 60 * 60), now);
        if expires == Some(true) && certificate.is_expired_at(now) == Some(false) {
            let name = certificate.common_name().unwrap_or("(no name)");
            println!(
                "expires within a week: {} {}",
                certificate.id(),
                name.escape_debug()
            );
        }
    }
    for unreadable in stream.take_unreadable() {
        eprintln!("can't be read: {unreadable:?}");
    }
    for (status, number) in statuses {
        println!("{status}: {number}");
    }
    println!("in all: {count}");
    Ok(count)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    if std::env::var_os("CLOUDFLARE_API_TOKEN").is_some() {
        audit(&Client::from_env()?.zone(ZoneId::from_env()?)).await?;
        return Ok(());
    }
    audit_sample().await
}

/// Audits a zone of an emulator.
async fn audit_sample() -> Result<(), BoxError> {
    let zone: ZoneId = "023e105f4ecef8ad9ca31a8372d0c353".parse()?;
    let emulator = Emulator::builder()
        .token("secret")
        .populate(zone.as_str(), SAMPLE)
        .start()
        .await?;
    let client = Client::builder()
        .token("secret")
        .base_url(emulator.base_url())
        .build()?;
    match audit(&client.zone(zone)).await? {
        SAMPLE => Ok(()),
        count => Err(format!("{count} certificates instead of {SAMPLE}").into()),
    }
}

#[tokio::test]
async fn every_certificate_is_counted() {
    audit_sample().await.expect("runs");
}
