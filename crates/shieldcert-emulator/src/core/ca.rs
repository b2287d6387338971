//! The CA: signs certificates, and reads from them what the API returns.

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
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::{
    OID_SIG_ECDSA_WITH_SHA256, OID_X509_COMMON_NAME, OID_X509_COUNTRY_NAME, OID_X509_LOCALITY_NAME,
    OID_X509_ORGANIZATION_NAME, OID_X509_ORGANIZATIONAL_UNIT, OID_X509_STATE_OR_PROVINCE_NAME, Oid,
};
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

use super::csr::Csr;
use super::signer::Signer;
use crate::error::{BoxError, Error};

const NAME: &str = "Shieldcert Emulator CA";
const DAY: i64 = 86_400;
/// The longest client certificate, and some years of running.
const CA_DAYS: i64 = 30 * 365;
/// A zone can be populated with certificates of the past two years.
const CA_DAYS_BEFORE: i64 = 3 * 365;

/// A CA with an ECDSA P-256 key.
pub(crate) struct Ca {
    id: Uuid,
    issuer: Issuer<'static, Signer>,
    certificate: CertificateDer<'static>,
}

impl Ca {
    /// Makes a key and its certificate, valid from years before `now`, in seconds since 1970.
    pub(crate) fn new(id: Uuid, serial: [u8; 20], now: i64) -> Result<Self, Error> {
        let make = || -> Result<_, BoxError> {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, NAME);
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params.serial_number = Some(positive_serial(serial));
            params.not_before = unix_time(now - CA_DAYS_BEFORE * DAY)?;
            params.not_after = unix_time(now + CA_DAYS * DAY)?;
            let key = KeyPair::generate()?;
            let certificate = params.self_signed(&key)?.der().clone();
            Ok((Issuer::new(params, Signer(key)), certificate))
        };
        let (issuer, certificate) = make().map_err(Error::Ca)?;
        Ok(Self {
            id,
            issuer,
            certificate,
        })
    }

    /// What a store must keep of the CA: its id, its certificate in DER, and its key in PKCS#8.
    #[cfg(feature = "sqlite")]
    pub(crate) fn to_parts(&self) -> (Uuid, Vec<u8>, Vec<u8>) {
        let key = self.issuer.key().0.serialize_der();
        (self.id, self.certificate.to_vec(), key)
    }

    /// Restores a CA from its [parts](Self::to_parts).
    #[cfg(feature = "sqlite")]
    pub(crate) fn from_parts(id: Uuid, certificate: Vec<u8>, key: &[u8]) -> Result<Self, Error> {
        let make = || -> Result<_, BoxError> {
            let certificate = CertificateDer::from(certificate);
            let key = Signer(KeyPair::try_from(key)?);
            let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
            Ok(Self {
                id,
                issuer,
                certificate,
            })
        };
        make().map_err(Error::Ca)
    }

    /// The CA's certificate in PEM, with LF line ends.
    pub(crate) fn pem(&self) -> String {
        encode_pem(&self.certificate)
    }

    /// Makes a certificate and key, in DER, for a server on this machine, and under these names too. The CA that signs
    /// clients' certificates signs it; the extended key usage tells them apart.
    pub(crate) fn server_certificate(
        &self,
        names: &[String],
        now: i64,
    ) -> Result<(Vec<u8>, Vec<u8>), BoxError> {
        let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new([&own, names].concat())?;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "Shieldcert Emulator");
        params.not_before = unix_time(now - DAY)?;
        params.not_after = unix_time(now + 365 * DAY)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let unsigned = params.signed_by(&key, &self.issuer)?;
        let signed = self.issuer.key().sign_with_subject(unsigned.der(), None)?;
        Ok((signed, key.serialize_der()))
    }

    /// Whether this CA signed the certificate, and for a client.
    pub(crate) fn has_signed(&self, certificate: &X509Certificate<'_>) -> bool {
        let Ok((_, ca)) = X509Certificate::from_der(&self.certificate) else {
            return false;
        };
        let is_for_clients = certificate
            .extended_key_usage()
            .is_ok_and(|usage| usage.is_some_and(|usage| usage.value.client_auth));
        is_for_clients && certificate.verify_signature(Some(ca.public_key())).is_ok()
    }

    /// Signs a certificate for `csr`, valid from `now` for `validity_days`.
    ///
    /// The record has no id and no status: those are not the certificate's.
    pub(crate) fn issue(
        &self,
        csr: &Csr,
        serial: [u8; 20],
        now: i64,
        validity_days: i64,
    ) -> Result<types::ClientCertificate, BoxError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(positive_serial(serial));
        params.not_before = unix_time(now)?;
        params.not_after = unix_time(now + validity_days * DAY)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let unsigned = params.signed_by(&csr.public_key, &self.issuer)?;
        let key = self.issuer.key();
        let signed = key.sign_with_subject(unsigned.der(), Some(&csr.subject))?;
        let mut authority = types::ClientCertificateCertificateAuthority::default();
        let mut certificate = read_certificate(&signed)?;
        authority.id = Some(self.id.to_string());
        authority.name = Some(NAME.to_owned());
        certificate.certificate_authority = Some(authority);
        certificate.csr = Some(types::Csr(csr.pem.clone()));
        Ok(certificate)
    }
}

/// Reads the record from the certificate itself: nothing in it comes from the request.
fn read_certificate(der: &[u8]) -> Result<types::ClientCertificate, BoxError> {
    let mut record = types::ClientCertificate::default();
    let (_, certificate) = X509Certificate::from_der(der)?;
    let subject = |oid: Oid<'static>| {
        let first = certificate.subject().iter_by_oid(&oid).next();
        Some(first.map(text_of).unwrap_or_default())
    };
    let (from, to) = (
        certificate.validity().not_before.timestamp(),
        certificate.validity().not_after.timestamp(),
    );
    let algorithm = &certificate.signature_algorithm.algorithm;
    record.certificate = Some(encode_pem(der));
    record.common_name = subject(OID_X509_COMMON_NAME);
    record.country = subject(OID_X509_COUNTRY_NAME);
    record.state = subject(OID_X509_STATE_OR_PROVINCE_NAME);
    record.location = subject(OID_X509_LOCALITY_NAME);
    record.organization = subject(OID_X509_ORGANIZATION_NAME);
    record.organizational_unit = subject(OID_X509_ORGANIZATIONAL_UNIT);
    record.issued_on = Some(Timestamp::from_second(from)?.to_string());
    record.expires_on = Some(Timestamp::from_second(to)?.to_string());
    record.validity_days = Some(types::ValidityDays((to - from) / DAY));
    record.serial_number = Some(hex::encode(certificate.raw_serial()));
    record.fingerprint_sha256 = Some(hex::encode(digest::digest(&digest::SHA256, der)));
    record.ski = subject_key_identifier(&certificate);
    record.signature = Some(if *algorithm == OID_SIG_ECDSA_WITH_SHA256 {
        "ECDSAWithSHA256".to_owned()
    } else {
        algorithm.to_id_string()
    });
    Ok(record)
}

/// The text of an attribute, of any string type. What is no text becomes replacement characters.
fn text_of(attribute: &AttributeTypeAndValue<'_>) -> String {
    let value = attribute.attr_value();
    match value.tag() {
        Tag::BmpString => {
            let units = value.data.chunks_exact(2);
            let units = units.map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
            char::decode_utf16(units)
                .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        // In practice it is Latin-1.
        Tag::TeletexString => value.data.iter().map(|byte| char::from(*byte)).collect(),
        _ => String::from_utf8_lossy(value.data).into_owned(),
    }
}

/// The subject key identifier in hex, if the certificate has one.
pub(crate) fn subject_key_identifier(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut extensions = certificate.iter_extensions();
    extensions.find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(hex::encode(id.0)),
        _ => None,
    })
}

/// Makes a serial number of exactly 20 octets: the top bit is clear, so it is positive, and the next one is set, so
/// that it does not begin with a zero octet.
fn positive_serial(mut serial: [u8; 20]) -> SerialNumber {
    serial[0] = serial[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&serial)
}

fn unix_time(unix_seconds: i64) -> Result<OffsetDateTime, BoxError> {
    Ok(OffsetDateTime::from_unix_timestamp(unix_seconds)?)
}

fn encode_pem(der: &[u8]) -> String {
    let lf = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", der), lf)
}
