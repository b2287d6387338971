//! The life of client certificates, from the key to the revocation and back.
//!
//! `cargo run --example lifecycle` needs no account: it starts an emulator of the service in this process, with a CA of
//! its own. With `CLOUDFLARE_API_TOKEN` and `CLOUDFLARE_ZONE_ID` set it works in that zone, after a confirmation.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use shieldcert::{
    Client, Identity, Issued, KeyAlgorithm, PrivateKey, StatusFilter, Subject, Zone, ZoneId,
};
use shieldcert_emulator::{Emulator, RunningEmulator};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (zone, _emulator) = connect().await?;

    println!(
        "\n1. Issue three certificates: generate a key, sign a CSR with it, send it to the CA"
    );
    let mut devices = Vec::new();
    for name in ["sensor-001", "sensor-002", "sensor-003"] {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
        let subject = Subject::common_name(name).organization("Temperature Testers, Inc.");
        let issued = zone.issue(&key.csr(&subject)?).validity_days(1).await?;
        show(&issued);
        devices.push((issued.certificate, key));
    }
    let (certificate, key) = devices.swap_remove(0);

    println!("\n2. Find them in the list of active certificates, in pages of five");
    let mut pages = zone
        .list()
        .status(StatusFilter::Active)
        .page_size(5)
        .pages();
    let mut number = 0;
    let mut found = false;
    while let Some(page) = pages.try_next().await? {
        number += 1;
        found |= page
            .certificates
            .iter()
            .any(|other| other.id() == certificate.id());
        let names = page
            .certificates
            .iter()
            .map(|c| c.common_name().unwrap_or("(no name)"));
        println!("   page {number}: {}", names.collect::<Vec<_>>().join(", "));
    }
    assert!(found, "a certificate that was issued is in the list");

    println!("\n3. Revoke sensor-001 and wait until it is");
    let started = Instant::now();
    let pending = zone.revoke(certificate.id()).await?;
    println!("   {}", pending.status());
    let revoked = zone.revoke(certificate.id()).until_settled().await?;
    println!("   {} after {:.1?}", revoked.status(), started.elapsed());

    println!("\n4. Reactivate it and wait until it is active");
    let started = Instant::now();
    let pending = zone.reactivate(certificate.id()).await?;
    println!("   {}", pending.status());
    let active = zone.reactivate(certificate.id()).until_settled().await?;
    println!("   {} after {:.1?}", active.status(), started.elapsed());

    println!("\n5. Write certificate and key to one file, and read it back");
    let path = std::env::temp_dir().join("shieldcert-lifecycle-sensor-001.pem");
    Identity::new(&active, key)?.write_pem(&path)?;
    let identity = Identity::from_pem(std::fs::read(&path)?)?;
    println!("   {}, mode 0600", path.display());
    println!(
        "   serial number {}, SHA-256 {}",
        identity.certificate().serial_number(),
        identity.certificate().fingerprint_sha256()
    );
    Ok(())
}

fn show(issued: &Issued) {
    let certificate = &issued.certificate;
    println!(
        "   {}  {}  {}  expires {}",
        certificate.common_name().unwrap_or("(no name)"),
        certificate.id(),
        certificate.status(),
        certificate
            .not_after()
            .map_or("(unknown)".into(), |time| time.to_string()),
    );
}

/// Connects to the service that the environment names, or to an emulator in this process.
async fn connect() -> Result<(Zone, Option<RunningEmulator>), Box<dyn Error>> {
    if std::env::var_os("CLOUDFLARE_API_TOKEN").is_none() {
        let server = Emulator::builder()
            .token("lifecycle")
            .transition_delay(Duration::from_secs(1))
            .start()
            .await?;
        println!(
            "CLOUDFLARE_API_TOKEN is not set: using an emulator in this process, {}",
            server.base_url()
        );
        let client = Client::builder()
            .token("lifecycle")
            .base_url(server.base_url())
            .build()?;
        let zone = client.zone("023e105f4ecef8ad9ca31a8372d0c353".parse()?);
        return Ok((zone, Some(server)));
    }
    let client = Client::from_env()?;
    let zone = client.zone(ZoneId::from_env()?);
    println!("Using {}, zone {}", client.base_url(), zone.id());
    print!("This issues three certificates, valid for a day, in that zone. Continue? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    if std::io::stdin().is_terminal() {
        std::io::stdin().read_line(&mut answer)?;
    }
    if !answer.trim().eq_ignore_ascii_case("y") {
        return Err("nothing was issued; type y at a terminal to continue".into());
    }
    Ok((zone, None))
}
