//! Takes over certificates that existed before the fleet.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;
use shieldcert::{
    CertificateId, ClientCertificate, Csr, PrivateKey, Status, X509Certificate, ZoneId,
};

use crate::budgets::Budgets;
use crate::config::Config;
use crate::digest::sha256;
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::identify::identify;
use crate::journal::{Act, Change, FoundGeneration, Hold, Journal, Spec, State};
use crate::keystore::{Keyed, Stored};
use crate::manifest::DeviceKey;
use crate::name::DeviceName;
use crate::outputs;

/// A device whose certificate is to be taken over.
#[derive(Debug)]
#[non_exhaustive]
pub struct Adoptee {
    /// The device.
    pub device: DeviceName,
    /// What its certificate is known by.
    pub by: AdoptBy,
}

/// What a certificate is known by.
#[derive(Debug)]
#[non_exhaustive]
pub enum AdoptBy {
    /// The certificate itself, and its key where it is here.
    Certificate(Box<X509Certificate>, Option<Box<PrivateKey>>),
    /// The CSR that it was issued for.
    Csr(Csr),
    /// The common name. Common names are not unique: only one active certificate may have it.
    CommonName(String),
}

/// What came of taking a certificate over.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Adopted {
    /// The device.
    pub device: DeviceName,
    /// What came of it.
    pub outcome: AdoptOutcome,
    /// The certificates that were found.
    pub certificates: Vec<CertificateId>,
}

/// What came of taking a certificate over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AdoptOutcome {
    /// The fleet manages it from now on.
    Managed,
    /// Its key is not here: it is watched, and revoked where the manifest says so, and not renewed before an operator asks
    /// for it.
    Watched,
    /// The journal had it already.
    Known,
    /// No zone has a certificate like that. Of common names: no active one.
    NotFound,
    /// It is revoked.
    Revoked,
    /// Several active certificates are like that. Name one by its file.
    Ambiguous,
}

impl Adoptee {
    /// Creates one.
    pub fn new(device: DeviceName, by: AdoptBy) -> Self {
        Self { device, by }
    }
}

/// The places of adoptees, by what their certificates are known by. A zone may hold a million others.
#[derive(Default)]
struct Index {
    fingerprints: HashMap<String, Vec<usize>>,
    csrs: HashMap<String, Vec<usize>>,
    names: HashMap<String, Vec<usize>>,
}

impl Index {
    fn new(adoptees: &[Adoptee]) -> Self {
        let mut index = Self::default();
        for (place, adoptee) in adoptees.iter().enumerate() {
            let (map, key) = match &adoptee.by {
                AdoptBy::Certificate(x509, _) => {
                    (&mut index.fingerprints, x509.fingerprint_sha256())
                }
                AdoptBy::Csr(csr) => (&mut index.csrs, csr.sha256()),
                AdoptBy::CommonName(name) => (&mut index.names, name.clone()),
            };
            map.entry(key).or_default().push(place);
        }
        index
    }

    /// Returns whose certificate this may be.
    fn find(&self, certificate: &ClientCertificate) -> Vec<usize> {
        let mut found: Vec<usize> = Vec::new();
        let mut add = |places: Option<&Vec<usize>>| found.extend(places.into_iter().flatten());
        if !self.fingerprints.is_empty() {
            match certificate.x509() {
                Ok(x509) => add(self.fingerprints.get(&x509.fingerprint_sha256())),
                Err(_) => {
                    for (fingerprint, places) in &self.fingerprints {
                        if certificate.has_fingerprint_sha256(fingerprint) == Some(true) {
                            add(Some(places));
                        }
                    }
                }
            }
        }
        if !self.csrs.is_empty()
            && let Some(csr) = identify(certificate).csr
        {
            add(self.csrs.get(&csr));
        }
        if let Some(name) = certificate.common_name() {
            add(self.names.get(name));
        }
        found
    }
}

/// Takes certificates over. Every zone is listed once.
pub(crate) async fn adopt(
    journal: &Journal,
    folder: &Folder,
    config: &Config,
    budgets: &Budgets,
    adoptees: Vec<Adoptee>,
    now: Timestamp,
) -> Result<Vec<Adopted>> {
    let index = Index::new(&adoptees);
    let mut found: Vec<Vec<(ZoneId, ClientCertificate)>> =
        adoptees.iter().map(|_| Vec::new()).collect();
    let mut revoked: Vec<Vec<CertificateId>> = adoptees.iter().map(|_| Vec::new()).collect();
    for zone in config.zones.values() {
        let mut pages = budgets.zone(&zone.id).await?.list().pages();
        while let Some(page) = pages.try_next().await? {
            for certificate in &page.certificates {
                let is_active = !matches!(
                    certificate.status(),
                    Status::Revoked | Status::PendingRevocation
                );
                for place in index.find(certificate) {
                    match is_active {
                        true => found[place].push((zone.id.clone(), certificate.clone())),
                        false => revoked[place].push(certificate.id().clone()),
                    }
                }
            }
        }
    }
    let mut adopted = Vec::new();
    for ((adoptee, found), revoked) in adoptees.into_iter().zip(found).zip(revoked) {
        let mut certificates: Vec<_> = found
            .iter()
            .map(|(_, certificate)| certificate.id().clone())
            .collect();
        let device = adoptee.device.clone();
        let is_unique = !matches!(adoptee.by, AdoptBy::CommonName(_));
        let outcome = match found.as_slice() {
            [] if is_unique && !revoked.is_empty() => {
                certificates = revoked;
                AdoptOutcome::Revoked
            }
            [] => AdoptOutcome::NotFound,
            [(zone, certificate)] => {
                take_over(journal, folder, config, adoptee, zone, certificate, now)?
            }
            _ => AdoptOutcome::Ambiguous,
        };
        adopted.push(Adopted {
            device,
            outcome,
            certificates,
        });
    }
    Ok(adopted)
}

fn take_over(
    journal: &Journal,
    folder: &Folder,
    config: &Config,
    adoptee: Adoptee,
    zone: &ZoneId,
    certificate: &ClientCertificate,
    now: Timestamp,
) -> Result<AdoptOutcome> {
    if journal.has_certificate(certificate.id())?.is_some() {
        return Ok(AdoptOutcome::Known);
    }
    let x509 = certificate.x509()?;
    if let AdoptBy::Certificate(_, Some(key)) = &adoptee.by
        && key.public_key() != x509.public_key()
    {
        return Err(Error::Invalid {
            path: folder.device(&adoptee.device),
            problem:
                "the key is not that of the certificate; give the one that belongs to it, or none"
                    .to_owned(),
        });
    }
    let row = journal.manifest_row(&adoptee.device)?;
    let (id, newest) = journal.device_place(&adoptee.device)?;
    let mut number = newest + 1;
    let key = match adoptee.by {
        AdoptBy::Certificate(_, key) => key.map(|key| *key),
        AdoptBy::Csr(_) | AdoptBy::CommonName(_) => None,
    };
    let csr = certificate
        .csr_pem()
        .and_then(|pem| Csr::from_pem(pem).ok());
    let mut csr = match (csr, &key) {
        (Some(csr), _) => Some(csr),
        // Another one than that of the certificate, for the same key.
        (None, Some(key)) => {
            let subject = row.as_ref().map(|row| row.subject.to_subject());
            let subject = subject
                .unwrap_or_else(|| shieldcert::Subject::common_name(adoptee.device.as_str()));
            Some(key.csr(&subject)?)
        }
        (None, None) => None,
    };
    let has_own_key = matches!(row.as_ref().map(|row| &row.key), Some(DeviceKey::Csr(_)));
    let is_managed = key.is_some() || has_own_key;
    let mut stored_csr = None;
    if let Some(csr) = csr.clone().filter(|_| is_managed) {
        let given = Keyed { csr, key };
        let keyed = loop {
            match folder.stored(&folder.generation(&adoptee.device, number))? {
                Stored::Missing => break folder.store(&adoptee.device, number, given)?,
                // A run has ended right after it was made.
                Stored::Complete(stored)
                    if stored.csr.public_key() == given.csr.public_key()
                        && stored.key.is_some() == given.key.is_some() =>
                {
                    break stored;
                }
                // Never overwritten: the next number is taken.
                Stored::Complete(_) | Stored::Unusable(_) => number += 1,
            }
        };
        stored_csr = Some(keyed.csr.clone());
        let path = folder.generation(&adoptee.device, number);
        outputs::write(folder, &path, keyed, &x509, &config.outputs)?;
        // The file that its row names is what was taken over: it is left as it is.
        outputs::link(folder, &adoptee.device, number)?;
    }
    csr = stored_csr.or(csr);
    let spec = match &row {
        // The next one is as the manifest says.
        Some(row) => Spec::of(row),
        None => Spec {
            subject: certificate.common_name().unwrap_or_default().to_owned(),
            key: crate::policy::CSR.to_owned(),
            days: 0,
        },
    };
    let change = Change::to(State::Verified)
        .set("certificate", certificate.id().to_string())
        .set("fingerprint", x509.fingerprint_sha256())
        .set("csr_sha256", csr.as_ref().map(Csr::sha256))
        .set("public_key_sha256", sha256(x509.public_key()))
        .set(
            "issuer",
            certificate.certificate_authority_id().map(str::to_owned),
        )
        .set("not_before", x509.not_before().map(|time| time.as_second()))
        .set("not_after", x509.not_after().map(|time| time.as_second()))
        .set("hook_started", true)
        .set("verified_at", now.as_second());
    let change = match is_managed {
        true => change,
        false => change.set("hold", Hold::Watched.as_str().to_owned()),
    };
    let found = FoundGeneration {
        number,
        zone,
        spec: &spec,
        change,
    };
    let detail = certificate.id().as_str();
    journal.add_generation(id, found, now, Act::Adopted, detail)?;
    Ok(match is_managed {
        true => AdoptOutcome::Managed,
        false => AdoptOutcome::Watched,
    })
}
