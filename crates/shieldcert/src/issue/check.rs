//! Checks that a certificate is what was asked for.

use std::cmp::Ordering;

use crate::certificate::ClientCertificate;
use crate::certificate::status::Status;
use crate::error::{Error, Result};
use crate::lookup::needle::{certificate_with_key, validity};
use crate::pki::csr::Csr;
use crate::pki::x509::X509Certificate;

/// Checks that the certificate matches the request, and the record matches the certificate. Returns the validity in
/// days if it is shorter than what was asked for.
pub(super) fn check(record: &ClientCertificate, csr: &Csr, days: u32) -> Result<Option<u32>> {
    let wrong = |problem: String| Error::WrongCertificate {
        id: Some(record.id().clone()),
        problem,
    };
    let pem = record
        .pem()
        .ok_or_else(|| wrong("the record holds no certificate".into()))?;
    X509Certificate::all_from_pem(pem).map_err(|error| wrong(error.to_string()))?;
    let certificate = certificate_with_key(record, csr.public_key())
        .ok_or_else(|| wrong("its public key is not the CSR's".into()))?;
    if let Some(stated) = record.fingerprint_sha256()
        && !certificate.has_fingerprint_sha256(stated)
    {
        return Err(wrong(format!(
            "the record's fingerprint is {stated:?}, the certificate's is {}",
            certificate.fingerprint_sha256()
        )));
    }
    if let Some(stated) = record.serial_number()
        && !certificate.has_serial_number(stated)
    {
        return Err(wrong(format!(
            "the record's serial number is {stated:?}, the certificate's is {}",
            certificate.serial_number()
        )));
    }
    if matches!(record.status(), Status::Revoked | Status::PendingRevocation) {
        return Err(wrong(format!(
            "it is {}: somebody has revoked it; issue another one, with a new CSR",
            record.status()
        )));
    }
    let validity = validity(record, Some(&certificate))
        .ok_or_else(|| wrong("it does not say how long it is valid".into()))?;
    match validity.cmp_days(days) {
        Ordering::Equal => Ok(None),
        Ordering::Less => Ok(Some(u32::try_from(validity.days()).unwrap_or(0))),
        Ordering::Greater => Err(wrong(format!(
            "it is valid for {} days, and {days} were asked for",
            validity.days()
        ))),
    }
}
