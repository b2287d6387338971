//! Adds to a journal that was restored from a backup what happened after it: the folders of generations that it does not
//! know, and their certificates.

use std::fs;

use jiff::Timestamp;
use shieldcert::{ClientCertificate, X509Certificate, ZoneId};

use crate::config::Config;
use crate::digest::sha256;
use crate::error::{AtPath, Result};
use crate::folder::Folder;
use crate::journal::{Act, Change, FoundGeneration, Journal, Owner, Spec, State};
use crate::keystore::Stored;
use crate::name::DeviceName;
use crate::policy::{choose_zone, zone_id};

/// Adds the generations whose folders are there and that a restored journal does not know. What they are, the inventory
/// shows.
pub(crate) fn import_folders(
    journal: &Journal,
    folder: &Folder,
    config: &Config,
    now: Timestamp,
) -> Result<u64> {
    let devices = folder.devices();
    let entries = match fs::read_dir(&devices) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error).at(devices),
    };
    let mut imported = 0;
    for entry in entries {
        let entry = entry.at(&devices)?;
        let Some(name) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<DeviceName>().ok())
        else {
            continue;
        };
        for generation in fs::read_dir(entry.path()).at(entry.path())? {
            let generation = generation.at(entry.path())?;
            let number = generation
                .file_name()
                .to_str()
                .and_then(|number| number.parse::<u32>().ok());
            if let Some(number) = number {
                imported += u64::from(import(journal, folder, config, &name, number, now)?);
            }
        }
    }
    Ok(imported)
}

fn import(
    journal: &Journal,
    folder: &Folder,
    config: &Config,
    name: &DeviceName,
    number: u32,
    now: Timestamp,
) -> Result<bool> {
    let path = folder.generation(name, number);
    let Stored::Complete(keyed) = folder.stored(&path)? else {
        return Ok(false);
    };
    let Some(row) = journal.manifest_row(name)? else {
        return Ok(false);
    };
    let zone = choose_zone(&row, config).and_then(|zone| zone_id(zone, config));
    let Some(zone) = zone else {
        return Ok(false);
    };
    let (id, _) = journal.device_place(name)?;
    let change = Change::to(State::Keyed)
        .set("csr_sha256", keyed.csr.sha256())
        .set("public_key_sha256", sha256(keyed.csr.public_key()))
        // A device may use it.
        .set("hook_started", true);
    let found = FoundGeneration {
        number,
        zone,
        spec: &Spec::of(&row),
        change,
    };
    // It is adopted once its certificate is known.
    journal.add_generation(id, found, now, Act::Keyed, "its folder was there")
}

/// What the inventory shows of a generation that was imported: its certificate.
pub(crate) fn identified(
    journal: &Journal,
    folder: &Folder,
    owner: &Owner,
    zone: &ZoneId,
    certificate: &ClientCertificate,
    now: Timestamp,
) -> Result<()> {
    let number = owner.generation.number;
    let x509 = certificate.x509().ok();
    let link = fs::read_link(folder.current(&owner.name)).ok();
    let is_current = link.is_some_and(|link| link.to_str() == Some(&number.to_string()));
    // `current` is switched before a deployment, which may have failed since: it is deployed again, which is safe.
    let state = match is_current {
        true => State::Written,
        false => State::Issued,
    };
    let change = Change::to(state)
        .set("zone", zone.to_string())
        .set("certificate", certificate.id().to_string())
        .set(
            "fingerprint",
            x509.as_ref().map(X509Certificate::fingerprint_sha256),
        )
        .set(
            "pem",
            x509.as_ref()
                .filter(|_| !is_current)
                .map(X509Certificate::to_pem),
        )
        .set(
            "not_before",
            x509.as_ref()
                .and_then(X509Certificate::not_before)
                .map(|time| time.as_second()),
        )
        .set(
            "not_after",
            x509.as_ref()
                .and_then(X509Certificate::not_after)
                .map(|time| time.as_second()),
        );
    let adopted = Act::Adopted;
    journal.change(
        owner.device,
        &owner.generation,
        change,
        now,
        adopted,
        Some(certificate.id().as_str()),
    )
}
