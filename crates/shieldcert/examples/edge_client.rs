//! A client of reqwest that presents a certificate to a host with an mTLS rule.
//!
//! `cargo run --example edge_client --features rustls` needs no account: the host is the emulator's edge, which responds
//! with what a Worker sees, and blocks what an API Shield rule blocks.

use std::error::Error;
use std::time::Duration;

use shieldcert::{Client, Identity, KeyAlgorithm, PrivateKey, Subject, X509Certificate};
use shieldcert_emulator::Emulator;

type BoxError = Box<dyn Error + Send + Sync>;

/// Makes a client that presents the identity, and trusts this CA beside the system's. Hosts on the internet need none.
fn http_client(identity: &Identity, ca: &X509Certificate) -> Result<reqwest::Client, BoxError> {
    let roots = [ca.der().to_vec().into()];
    let tls = identity.rustls_client_config_with_extra_roots(roots)?;
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .build()?)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let emulator = Emulator::builder()
        .token("secret")
        .edge(([127, 0, 0, 1], 0).into())
        .transition_delay(Duration::from_millis(100))
        .start()
        .await?;
    let client = Client::builder()
        .token("secret")
        .base_url(emulator.base_url())
        .build()?;
    let zone = client.zone("023e105f4ecef8ad9ca31a8372d0c353".parse()?);

    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
    let issued = zone
        .issue(&key.csr(&Subject::common_name("sensor-001"))?)
        .await?;
    let identity = Identity::new(&issued.certificate, key)?; // or Identity::from_pem(std::fs::read("sensor-001.pem")?)?

    let http = http_client(&identity, &X509Certificate::from_pem(emulator.ca_pem())?)?;
    let url = format!(
        "https://{}/",
        emulator.edge_address().ok_or("there is no edge")?
    );

    let admitted = http.get(&url).send().await?.status();
    println!("with the certificate: {admitted}");
    zone.revoke(issued.certificate.id()).until_settled().await?;
    let blocked = http.get(&url).send().await?.status();
    println!("once it is revoked: {blocked}");
    emulator.shutdown().await;
    match (admitted.as_u16(), blocked.as_u16()) {
        (200, 403) => Ok(()),
        _ => Err("the edge does not follow the certificate's status".into()),
    }
}

#[test]
fn a_revoked_certificate_is_blocked() {
    main().expect("runs");
}
