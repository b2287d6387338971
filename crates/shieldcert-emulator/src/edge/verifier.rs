//! Accepts whatever certificate a client presents, so that the response can say what is wrong with it.

use rustls::DistinguishedName;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};

/// Asks for a certificate, and accepts any whose key the client has. A failed handshake could not say what is
/// wrong with it; a response can.
#[derive(Debug)]
pub(super) struct AcceptAnyClient(pub(super) WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AcceptAnyClient {
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
        check_possession(
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
        check_possession(
            certificate,
            rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0),
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Checks that the client has the certificate's key. A certificate that rustls can't read, such as one of version 1,
/// is not from this CA and gets a 403 in any case, so its key does not matter.
fn check_possession(
    certificate: &CertificateDer<'_>,
    verified: Result<HandshakeSignatureValid, rustls::Error>,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    match rustls::server::ParsedCertificate::try_from(certificate) {
        Ok(_) => verified,
        Err(_) => Ok(HandshakeSignatureValid::assertion()),
    }
}
