//! A task that renews a certificate before it expires.
//!
//! The new certificate is issued with a new key and replaces the file as a whole; only then is the old one revoked. For
//! many devices, with retries, deployment and a journal, there is `shieldcert-fleet`. How to resume after a crash shows
//! `issuing_service.rs`.
//!
//! `cargo run --example renewal` needs no account: it moves the clock of an emulator in this process.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shieldcert::{CertificateId, Identity, KeyAlgorithm, PrivateKey, Subject, Zone};

type BoxError = Box<dyn Error + Send + Sync>;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A file with a certificate and its key, and the certificate's id beside it.
struct Device {
    zone: Zone,
    name: String,
    path: PathBuf,
}

impl Device {
    /// Issues a certificate with a new key, and puts both in place of what is there.
    async fn issue(&self) -> Result<(), BoxError> {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
        let csr = key.csr(&Subject::common_name(&self.name))?;
        let issued = self.zone.issue(&csr).validity_days(90).await?;
        Identity::new(&issued.certificate, key)?.write_pem(&self.path)?;
        fs::write(self.id_path(), issued.certificate.id().as_str())?;
        Ok(())
    }

    /// Renews the certificate if it expires within 30 days. Returns whether it did.
    async fn renew(&self) -> Result<bool, BoxError> {
        let old: CertificateId = fs::read_to_string(self.id_path())?.parse()?;
        // The service knows the certificate's status and the time; this machine's clock may be wrong.
        let certificate = self.zone.get(&old).await?;
        let now = self
            .zone
            .client()
            .service_time()
            .ok_or("the service does not say its time")?;
        if certificate.expires_within(30 * DAY, now) != Some(true) {
            return Ok(false);
        }
        self.issue().await?;
        self.zone.revoke(&old).await?;
        Ok(true)
    }

    fn id_path(&self) -> PathBuf {
        self.path.with_extension("id")
    }
}

/// Renews when it is due, until it is dropped. A failure is tried again at the next tick.
async fn keep(device: &Device, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        match device.renew().await {
            Ok(true) => println!("{}: renewed", device.name),
            Ok(false) => println!("{}: not due", device.name),
            Err(error) => eprintln!("{}: not renewed: {error}", device.name),
        }
    }
}

fn fingerprint(path: &Path) -> Result<String, BoxError> {
    Ok(Identity::from_pem(fs::read(path)?)?
        .certificate()
        .fingerprint_sha256())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    use std::sync::Arc;

    use shieldcert::{Client, StatusFilter};
    use shieldcert_emulator::Emulator;

    // In production: Client::from_env()?.zone(ZoneId::from_env()?)
    let emulator = Emulator::builder().build()?;
    let client = Client::builder()
        .token("test")
        .transport(Arc::new(emulator.transport()))
        .build()?;
    let zone = client.zone("023e105f4ecef8ad9ca31a8372d0c353".parse()?);

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sensor-001.pem");
    let device = Device {
        zone: zone.clone(),
        name: "sensor-001".to_owned(),
        path: path.clone(),
    };
    device.issue().await?;
    let old = fingerprint(&path)?;

    // In production, the interval is an hour.
    let task = tokio::spawn(async move { keep(&device, Duration::from_millis(50)).await });
    emulator.advance(61 * DAY);
    while fingerprint(&path)? == old || zone.list().status(StatusFilter::Active).await?.len() != 1 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    task.abort();
    println!("sensor-001.pem holds a new certificate, and the old one is revoked");
    Ok(())
}

#[test]
fn a_certificate_is_renewed_and_the_old_one_revoked() {
    main().expect("runs");
}
