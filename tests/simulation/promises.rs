//! What must hold in the end, checked against the service itself.

use std::collections::{HashMap, HashSet};

use shieldcert::{ClientCertificate, Csr, Zone};

use super::network::History;
use super::record::{IssuingEnd, Record};

pub(super) async fn check(truth: &Zone, record: &Record, history: &History) {
    let inventory = truth
        .list()
        .await
        .expect("the service itself has no faults");
    let mut active: HashMap<Vec<u8>, Vec<&ClientCertificate>> = HashMap::new();
    for certificate in &inventory {
        if certificate.status().as_str() == "active" {
            let pem = certificate.csr_pem().expect("the emulator keeps it");
            let csr = Csr::from_pem(pem).expect("is a CSR");
            active
                .entry(csr.der().to_vec())
                .or_default()
                .push(certificate);
        }
    }
    exactly_once(record, &active, history);
    nothing_missed_nothing_twice(record, history);
}

fn exactly_once(
    record: &Record,
    active: &HashMap<Vec<u8>, Vec<&ClientCertificate>>,
    history: &History,
) {
    for issuing in &record.issuings {
        let name = issuing.csr.common_name().unwrap_or_default();
        let found = active.get(issuing.csr.der()).map_or(&[][..], Vec::as_slice);
        let count = found.len();
        match &issuing.end {
            IssuingEnd::Issued(id) => {
                if count != 1 {
                    history.broken(format_args!(
                        "promise 1: {count} active certificates for {name}, which was issued"
                    ));
                } else if found[0].id() != id {
                    history.broken(format_args!(
                        "promise 1: {name} is not the certificate that was returned"
                    ));
                }
            }
            IssuingEnd::CleanFailure(error) => {
                if count != 0 {
                    history.broken(format_args!(
                        "promise 1: {count} active certificates for {name}, which failed cleanly: {error}"
                    ));
                }
            }
            IssuingEnd::Unknown | IssuingEnd::Dropped => {
                if count > 1 {
                    history.broken(format_args!(
                        "promise 1: {count} active certificates for {name}"
                    ));
                }
            }
        }
    }
}

fn nothing_missed_nothing_twice(record: &Record, history: &History) {
    for listing in &record.listings {
        let distinct: HashSet<_> = listing.listed.iter().collect();
        if distinct.len() != listing.listed.len() {
            let twice = listing.listed.len() - distinct.len();
            history.broken(format_args!(
                "promise 2: a list of {} has {twice} twice",
                listing.filter
            ));
        }
        let missed = listing
            .lasting
            .iter()
            .filter(|id| !distinct.contains(id))
            .count();
        if missed > 0 {
            history.broken(format_args!(
                "promise 2: a list of {} misses {missed} of {}",
                listing.filter,
                listing.lasting.len()
            ));
        }
    }
}
