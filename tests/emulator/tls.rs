//! The API over TLS, and clients that trust its CA.

use std::process::Command;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use shieldcert::{Client, Error, RetryPolicy, Zone};
use shieldcert_emulator::{Emulator, RunningEmulator};
use shieldcert_tests::kit::{TOKEN, ZONE};
use tempfile::NamedTempFile;

async fn start() -> RunningEmulator {
    let builder = Emulator::builder().tls(true).tls_name("emulator.test");
    builder.start().await.expect("starts")
}

fn ca_file(emulator: &RunningEmulator) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), emulator.ca_pem()).expect("is written");
    file
}

fn builder(base_url: &str) -> shieldcert::ClientBuilder {
    let builder = Client::builder().token(TOKEN).base_url(base_url);
    builder.retry(RetryPolicy::never())
}

fn zone(builder: shieldcert::ClientBuilder) -> Zone {
    let client = builder.build().expect("a client");
    client.zone(ZONE.parse().expect("an id"))
}

/// A service in a container, under a name of its own.
#[tokio::test]
async fn the_api_over_tls_has_a_certificate_of_the_ca_for_every_name() {
    let emulator = start().await;
    let port = emulator.address().port();
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(emulator.ca_pem().as_bytes()).expect("a CA");
    roots.add(ca).expect("a root");
    let provider = rustls::crypto::ring::default_provider();
    let tls = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .resolve("emulator.test", emulator.address())
        .resolve("other.test", emulator.address())
        .no_proxy()
        .build()
        .expect("a client");
    assert_eq!(
        emulator.base_url(),
        format!("https://127.0.0.1:{port}/client/v4")
    );
    for host in ["127.0.0.1", "localhost", "emulator.test"] {
        let url = format!("https://{host}:{port}/client/v4/zones/{ZONE}/client_certificates");
        let response = client.get(url).bearer_auth(TOKEN).send().await;
        let response = response.unwrap_or_else(|error| panic!("{host}: {error:?}"));
        assert_eq!(response.status(), 200, "{host}");
    }
    let other = client
        .get(format!("https://other.test:{port}/"))
        .send()
        .await;
    assert!(other.expect_err("is another name").is_connect());
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_client_trusts_the_ca_that_it_is_given() {
    let emulator = start().await;
    let url = emulator.base_url();
    let error = zone(builder(&url)).list().await;
    let error = error.expect_err("the CA is unknown");
    assert!(matches!(error, Error::Transport { .. }), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    let file = ca_file(&emulator);
    let trusting = zone(builder(&url).ca_file(file.path()));
    assert!(trusting.list().await.expect("is read").is_empty());
}

/// The variable of OpenSSL and curl. A process reads it when it builds a client, so this needs one of its own.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_trusts_the_ca_of_the_environment() {
    const URL: &str = "SHIELDCERT_TEST_TLS_URL";
    if let Ok(url) = std::env::var(URL) {
        assert!(
            zone(builder(&url))
                .list()
                .await
                .expect("is read")
                .is_empty()
        );
        return;
    }
    let emulator = start().await;
    let file = ca_file(&emulator);
    let test = "emulator::tls::a_client_trusts_the_ca_of_the_environment";
    let run = |trusted: bool| {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command
            .args(["--exact", test])
            .env(URL, emulator.base_url());
        if trusted {
            command.env("SSL_CERT_FILE", file.path());
        }
        command.output().expect("it ran")
    };
    let output = run(true);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(!run(false).status.success(), "the CA is unknown");
}
