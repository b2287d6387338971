//! The mTLS edge: what stands in front of a zone's origin, and lets certificates in or not.
//!
//! It asks each client for a certificate, answers with what a Worker would see of it in
//! `request.cf.tlsClientAuth`, and blocks (403) what an API Shield rule would block: no certificate,
//! another CA's, an expired or a revoked one.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use axum::serve::{IncomingStream, Listener};
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use ring::digest;
use rustls::DistinguishedName;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::authority::{hex, subject_key_identifier};
use crate::error::{BoxError, Error};
use crate::service::Service;
use crate::transition::Status;

/// How many connections may wait between their handshake and the server.
const BACKLOG: usize = 64;

/// How long a client may take for its handshake.
const HANDSHAKE: std::time::Duration = std::time::Duration::from_secs(10);

/// Serves the edge on a listener until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, service: Arc<Service>) -> Result<(), Error> {
    let tls = tls(&service).map_err(Error::Edge)?;
    let address = listener
        .local_addr()
        .map_err(|error| Error::Edge(error.into()))?;
    let router = Router::new().fallback(answer).with_state(service);
    let edge = EdgeListener::start(listener, address, TlsAcceptor::from(Arc::new(tls)));
    let router = router.into_make_service_with_connect_info::<Presented>();
    axum::serve(edge, router)
        .await
        .map_err(|error| Error::Edge(error.into()))
}

fn tls(service: &Service) -> Result<rustls::ServerConfig, BoxError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(AskOnly(provider.signature_verification_algorithms));
    let (certificate, key) = service
        .authority
        .edge_certificate(service.clock.unix_seconds())?;
    let key = PrivateKeyDer::try_from(key)?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![CertificateDer::from(certificate)], key)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

/// Asks for a certificate, and takes whatever comes with a key: what is wrong with it is for the answer to
/// say, which a failed handshake could not.
#[derive(Debug)]
struct AskOnly(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AskOnly {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        possession(
            certificate,
            rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0),
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        possession(
            certificate,
            rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0),
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Whether the client has the certificate's key. One that rustls can't even read, such as one of version 1, is none of
/// this CA's and gets its 403 whether or not: a handshake that breaks off would say less.
fn possession(
    certificate: &CertificateDer<'_>,
    verified: Result<HandshakeSignatureValid, rustls::Error>,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    match rustls::server::ParsedCertificate::try_from(certificate) {
        Ok(_) => verified,
        Err(_) => Ok(HandshakeSignatureValid::assertion()),
    }
}

/// Shakes hands with each client on a task of its own, so that a slow one holds nobody up.
struct EdgeListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
    accepting: tokio::task::JoinHandle<()>,
}

impl EdgeListener {
    fn start(mut listener: TcpListener, address: SocketAddr, acceptor: TlsAcceptor) -> Self {
        let (shaken, ready) = mpsc::channel(BACKLOG);
        let accepting = tokio::spawn(async move {
            loop {
                // Axum's own listener logs and tries again where accepting fails.
                let (stream, address) = Listener::accept(&mut listener).await;
                let (acceptor, shaken) = (acceptor.clone(), shaken.clone());
                tokio::spawn(async move {
                    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => drop(shaken.send((stream, address)).await),
                        Ok(Err(error)) => tracing::debug!(%error, "a handshake failed at the edge"),
                        Err(_) => tracing::debug!("a handshake took too long at the edge"),
                    }
                });
            }
        });
        Self {
            ready,
            address,
            accepting,
        }
    }
}

impl Drop for EdgeListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener for EdgeListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            // The accepting task is gone, as it is at a shutdown: nothing comes any more.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// The certificate that the client of a connection presented, in DER.
#[derive(Clone)]
struct Presented(Option<Arc<[u8]>>);

impl Connected<IncomingStream<'_, EdgeListener>> for Presented {
    fn connect_info(stream: IncomingStream<'_, EdgeListener>) -> Self {
        let (_, connection) = stream.io().get_ref();
        let first = connection
            .peer_certificates()
            .and_then(|chain| chain.first());
        Self(first.map(|certificate| certificate.as_ref().into()))
    }
}

/// What a Worker sees of a client's certificate. All values are strings, as there.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct TlsClientAuth {
    cert_presented: &'static str,
    cert_verified: String,
    cert_revoked: &'static str,
    #[serde(rename = "certFingerprintSHA256")]
    cert_fingerprint_sha256: String,
    cert_serial: String,
    #[serde(rename = "certSKI")]
    cert_ski: String,
    #[serde(rename = "certSubjectDN")]
    cert_subject_dn: String,
    #[serde(rename = "certIssuerDN")]
    cert_issuer_dn: String,
    cert_not_before: String,
    cert_not_after: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    allowed: bool,
    tls_client_auth: TlsClientAuth,
}

async fn answer(
    State(service): State<Arc<Service>>,
    ConnectInfo(Presented(certificate)): ConnectInfo<Presented>,
) -> Response {
    let (auth, allowed) = match certificate {
        None => {
            let none = TlsClientAuth {
                cert_presented: "0",
                cert_verified: "NONE".into(),
                cert_revoked: "0",
                ..TlsClientAuth::default()
            };
            (none, false)
        }
        Some(der) => judged(&service, &der).await,
    };
    tracing::info!(
        verified = auth.cert_verified,
        revoked = auth.cert_revoked,
        allowed,
        "at the edge"
    );
    let body = serde_json::to_vec(&Seen {
        allowed,
        tls_client_auth: auth,
    });
    let body = body.expect("strings always serialize");
    let status = if allowed {
        StatusCode::OK
    } else {
        StatusCode::FORBIDDEN
    };
    let json = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, json)], body).into_response()
}

/// What is to be said of a certificate, and whether it is let in.
async fn judged(service: &Service, der: &[u8]) -> (TlsClientAuth, bool) {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        let unreadable = TlsClientAuth {
            cert_presented: "1",
            cert_verified: "FAILED:malformed certificate".into(),
            cert_revoked: "0",
            ..TlsClientAuth::default()
        };
        return (unreadable, false);
    };
    let fingerprint = digest::digest(&digest::SHA256, der);
    // A store that can't be asked lets nobody in.
    let status = service
        .store
        .status_by_fingerprint(fingerprint.as_ref())
        .await;
    let status = status.unwrap_or(Some(Status::Revoked));
    let now = service.clock.unix_seconds();
    let validity = certificate.validity();
    let failure = if !service.authority.has_signed(&certificate) {
        Some("unable to verify the first certificate")
    } else if now < validity.not_before.timestamp() {
        Some("certificate is not yet valid")
    } else if now > validity.not_after.timestamp() {
        Some("certificate has expired")
    } else {
        None
    };
    // The edge learns of a change once it has settled.
    let is_revoked = matches!(status, Some(Status::Revoked | Status::PendingReactivation));
    let ski = subject_key_identifier(&certificate);
    let auth = TlsClientAuth {
        cert_presented: "1",
        cert_verified: failure.map_or("SUCCESS".into(), |why| format!("FAILED:{why}")),
        cert_revoked: if is_revoked { "1" } else { "0" },
        cert_fingerprint_sha256: hex(fingerprint.as_ref()),
        cert_serial: hex(certificate.raw_serial()).to_uppercase(),
        cert_ski: ski.unwrap_or_default(),
        cert_subject_dn: certificate.subject().to_string(),
        cert_issuer_dn: certificate.issuer().to_string(),
        cert_not_before: openssl_time(validity.not_before.timestamp()),
        cert_not_after: openssl_time(validity.not_after.timestamp()),
    };
    let is_let_in = failure.is_none() && !is_revoked;
    (auth, is_let_in)
}

/// A time as openssl writes it: `Dec 22 19:39:00 2018 GMT`.
fn openssl_time(unix_seconds: i64) -> String {
    let time = Timestamp::from_second(unix_seconds);
    let written = time.map(|time| time.strftime("%b %e %H:%M:%S %Y GMT").to_string());
    written.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::Emulator;
    use crate::store::ZoneId;

    const DAY: Duration = Duration::from_secs(86_400);

    async fn issued(emulator: &Emulator, days: i64) -> Vec<u8> {
        let key = KeyPair::generate().expect("a key");
        let request = CertificateParams::default()
            .serialize_request(&key)
            .expect("a CSR");
        let body = serde_json::json!({ "csr": request.pem().expect("PEM"), "validity_days": days });
        let zone = ZoneId::parse("023e105f4ecef8ad9ca31a8372d0c353").expect("an id");
        let service = emulator.service.clone();
        let certificate = service
            .create(zone, body.to_string().as_bytes())
            .await
            .expect("is issued");
        let pem = certificate.certificate.expect("has a PEM");
        pem::parse(pem).expect("PEM").into_contents()
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_is_let_in_for_as_long_as_it_is_valid() {
        let start = SystemTime::now();
        let emulator = Emulator::builder()
            .clock_start(start)
            .build()
            .expect("builds");
        let der = issued(&emulator, 10).await;
        let (auth, allowed) = judged(&emulator.service, &der).await;
        assert_eq!((auth.cert_verified.as_str(), allowed), ("SUCCESS", true));
        tokio::time::advance(10 * DAY - Duration::from_secs(2)).await;
        assert!(judged(&emulator.service, &der).await.1);
        tokio::time::advance(Duration::from_secs(4)).await;
        let (auth, allowed) = judged(&emulator.service, &der).await;
        assert_eq!(
            (auth.cert_verified.as_str(), allowed),
            ("FAILED:certificate has expired", false)
        );
    }

    #[tokio::test]
    async fn another_cas_certificate_a_servers_and_nonsense_are_not_let_in() {
        let [ours, theirs] = [(), ()].map(|()| Emulator::builder().build().expect("builds"));
        let foreign = issued(&theirs, 10).await;
        let (auth, allowed) = judged(&ours.service, &foreign).await;
        assert!(auth.cert_verified.starts_with("FAILED:unable to verify") && !allowed);
        let now = ours.service.clock.unix_seconds();
        let (server, _) = ours
            .service
            .authority
            .edge_certificate(now)
            .expect("is made");
        assert!(
            !judged(&ours.service, &server).await.1,
            "what is for servers lets no client in"
        );
        assert!(!judged(&ours.service, b"nonsense").await.1);
    }

    #[test]
    fn times_are_written_as_openssl_writes_them() {
        assert_eq!(openssl_time(1_545_507_540), "Dec 22 19:39:00 2018 GMT");
        assert_eq!(openssl_time(1_541_000_000), "Oct 31 15:33:20 2018 GMT");
        assert_eq!(openssl_time(1_541_100_000), "Nov  1 19:20:00 2018 GMT");
        assert_eq!(openssl_time(i64::MAX), "");
    }
}
