//! The CA: signs certificates, and reads from them what the API says about them.

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use ring::digest;
use rustls::pki_types::CertificateDer;
use shieldcert_api::types;
use time::OffsetDateTime;
use uuid::Uuid;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::{
    OID_SIG_ECDSA_WITH_SHA256, OID_X509_COMMON_NAME, OID_X509_COUNTRY_NAME, OID_X509_LOCALITY_NAME,
    OID_X509_ORGANIZATION_NAME, OID_X509_ORGANIZATIONAL_UNIT, OID_X509_STATE_OR_PROVINCE_NAME, Oid,
};
use x509_parser::prelude::FromDer;

use crate::csr::Csr;
use crate::error::{BoxError, Error};

const NAME: &str = "Shieldcert Emulator CA";
const DAY: i64 = 86_400;
/// Longer than the longest client certificate, by some years of running.
const CA_DAYS: i64 = 30 * 365;
/// Before the first certificate that a zone can be filled with.
const CA_DAYS_BEFORE: i64 = 3 * 365;

/// A CA with an ECDSA P-256 key, made at start.
pub(crate) struct Authority {
    id: Uuid,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    /// A new key and its own certificate, valid from before `now`, in seconds since 1970.
    pub(crate) fn new(id: Uuid, serial: [u8; 20], now: i64) -> Result<Self, Error> {
        let make = || -> Result<_, BoxError> {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, NAME);
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params.serial_number = Some(positive(serial));
            params.not_before = at(now - CA_DAYS_BEFORE * DAY)?;
            params.not_after = at(now + CA_DAYS * DAY)?;
            let key = KeyPair::generate()?;
            let certificate = params.self_signed(&key)?.der().clone();
            Ok((Issuer::new(params, key), certificate))
        };
        let (issuer, certificate) = make().map_err(Error::Authority)?;
        Ok(Self {
            id,
            issuer,
            certificate,
        })
    }

    /// What has to be kept to be this CA again: its certificate in DER, and its key in PKCS#8.
    #[cfg(feature = "sqlite")]
    pub(crate) fn parts(&self) -> (Uuid, Vec<u8>, Vec<u8>) {
        let key = self.issuer.key().serialize_der();
        (self.id, self.certificate.to_vec(), key)
    }

    /// A CA that was kept.
    #[cfg(feature = "sqlite")]
    pub(crate) fn from_parts(id: Uuid, certificate: Vec<u8>, key: &[u8]) -> Result<Self, Error> {
        let make = || -> Result<_, BoxError> {
            let certificate = CertificateDer::from(certificate);
            let issuer = Issuer::from_ca_cert_der(&certificate, KeyPair::try_from(key)?)?;
            Ok(Self {
                id,
                issuer,
                certificate,
            })
        };
        make().map_err(Error::Authority)
    }

    /// The CA's certificate in PEM, with LF line ends.
    pub(crate) fn pem(&self) -> String {
        to_pem(&self.certificate)
    }

    /// A certificate and key, in DER, for a server on this machine. The CA signs it too, apart from the clients'
    /// only by what it may be used for.
    pub(crate) fn edge_certificate(&self, now: i64) -> Result<(Vec<u8>, Vec<u8>), BoxError> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "Shieldcert Emulator Edge");
        params.not_before = at(now - DAY)?;
        params.not_after = at(now + 365 * DAY)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let signed = params.signed_by(&key, &self.issuer)?;
        Ok((signed.der().to_vec(), key.serialize_der()))
    }

    /// Whether this CA signed a certificate for a client.
    pub(crate) fn has_signed(&self, certificate: &X509Certificate<'_>) -> bool {
        let Ok((_, ca)) = X509Certificate::from_der(&self.certificate) else {
            return false;
        };
        let is_for_clients = certificate
            .extended_key_usage()
            .is_ok_and(|usage| usage.is_some_and(|usage| usage.value.client_auth));
        is_for_clients && certificate.verify_signature(Some(ca.public_key())).is_ok()
    }

    /// Signs a certificate for `csr`, valid from `now` for `validity_days`, and describes it.
    ///
    /// The description has no id and no status: these are not the certificate's.
    pub(crate) fn issue(
        &self,
        csr: &Csr,
        serial: [u8; 20],
        now: i64,
        validity_days: i64,
    ) -> Result<types::ClientCertificate, BoxError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = csr.subject.clone();
        params.serial_number = Some(positive(serial));
        params.not_before = at(now)?;
        params.not_after = at(now + validity_days * DAY)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let signed = params.signed_by(&csr.public_key, &self.issuer)?;
        let mut certificate = described(signed.der())?;
        let mut authority = types::ClientCertificateCertificateAuthority::default();
        authority.id = Some(self.id.to_string());
        authority.name = Some(NAME.to_owned());
        certificate.certificate_authority = Some(authority);
        certificate.csr = Some(types::Csr(csr.pem.clone()));
        Ok(certificate)
    }
}

/// What the certificate itself says: nothing here comes from the request.
fn described(der: &[u8]) -> Result<types::ClientCertificate, BoxError> {
    let (_, certificate) = X509Certificate::from_der(der)?;
    let subject = |oid: Oid<'static>| -> Result<Option<String>, BoxError> {
        let first = certificate.subject().iter_by_oid(&oid).next();
        let text = first.map(|attribute| attribute.as_str()).transpose()?;
        Ok(Some(text.unwrap_or_default().to_owned()))
    };
    let (from, to) = (
        certificate.validity().not_before.timestamp(),
        certificate.validity().not_after.timestamp(),
    );
    let algorithm = &certificate.signature_algorithm.algorithm;
    let mut described = types::ClientCertificate::default();
    described.certificate = Some(to_pem(der));
    described.common_name = subject(OID_X509_COMMON_NAME)?;
    described.country = subject(OID_X509_COUNTRY_NAME)?;
    described.state = subject(OID_X509_STATE_OR_PROVINCE_NAME)?;
    described.location = subject(OID_X509_LOCALITY_NAME)?;
    described.organization = subject(OID_X509_ORGANIZATION_NAME)?;
    described.organizational_unit = subject(OID_X509_ORGANIZATIONAL_UNIT)?;
    described.issued_on = Some(Timestamp::from_second(from)?.to_string());
    described.expires_on = Some(Timestamp::from_second(to)?.to_string());
    described.validity_days = Some(types::ValidityDays((to - from) / DAY));
    described.serial_number = Some(hex(certificate.raw_serial()));
    described.fingerprint_sha256 = Some(hex(digest::digest(&digest::SHA256, der).as_ref()));
    described.ski = subject_key_identifier(&certificate);
    described.signature = Some(if *algorithm == OID_SIG_ECDSA_WITH_SHA256 {
        "ECDSAWithSHA256".to_owned()
    } else {
        algorithm.to_id_string()
    });
    Ok(described)
}

/// In hex, where the certificate has one.
pub(crate) fn subject_key_identifier(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut extensions = certificate.iter_extensions();
    extensions.find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(hex(id.0)),
        _ => None,
    })
}

/// A serial number of exactly 20 octets: the top bit is clear, so it is positive, and the next one is set, so
/// that no zero octet can fall off its start.
fn positive(mut serial: [u8; 20]) -> SerialNumber {
    serial[0] = serial[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&serial)
}

fn at(unix_seconds: i64) -> Result<OffsetDateTime, BoxError> {
    Ok(OffsetDateTime::from_unix_timestamp(unix_seconds)?)
}

fn to_pem(der: &[u8]) -> String {
    let lf = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", der), lf)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
