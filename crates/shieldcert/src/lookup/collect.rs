//! Collects what the records of a look-up prove, for many needles at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::needle::{Findings, Needle, Origin, Verdict};
use super::unclear::UnclearRecord;
use crate::certificate::ClientCertificate;
use crate::certificate::id::CertificateId;

/// Takes records in any order, each as often as it was read.
pub(super) struct Collector {
    needles: Vec<Arc<Needle>>,
    by_csr: HashMap<Vec<u8>, Vec<usize>>,
    by_key: HashMap<Vec<u8>, Vec<usize>>,
    findings: Vec<Findings>,
    seen: HashSet<(usize, CertificateId)>,
    /// Records that can't be compared, by id.
    incomparable: HashMap<CertificateId, ClientCertificate>,
    /// Records without an id, by a key, and how often they were seen: as many as there are, or more, since lists
    /// overlap.
    unreadable: HashMap<u128, u32>,
}

impl Collector {
    pub(super) fn new(needles: Vec<Arc<Needle>>) -> Self {
        let mut by_csr = HashMap::<_, Vec<usize>>::new();
        let mut by_key = HashMap::<_, Vec<usize>>::new();
        for (index, needle) in needles.iter().enumerate() {
            by_csr
                .entry(needle.csr.der().to_vec())
                .or_default()
                .push(index);
            by_key
                .entry(needle.csr.public_key().to_vec())
                .or_default()
                .push(index);
        }
        Self {
            by_csr,
            by_key,
            findings: vec![Findings::default(); needles.len()],
            seen: HashSet::new(),
            incomparable: HashMap::new(),
            unreadable: HashMap::new(),
            needles,
        }
    }

    pub(super) fn add(&mut self, record: &ClientCertificate) {
        // The needles of a client share its clock.
        if let (Some(needle), Some(issued)) = (self.needles.first(), record.issued_on()) {
            needle.clock.check(issued);
        }
        let origin = Origin::of(record);
        let candidates = match &origin {
            Origin::Csr(der) => self.by_csr.get(der).cloned().unwrap_or_default(),
            Origin::Certificates(certificates) => {
                let keys = certificates
                    .iter()
                    .map(|certificate| certificate.public_key());
                keys.filter_map(|key| self.by_key.get(key))
                    .flatten()
                    .copied()
                    .collect()
            }
            Origin::Unreadable => {
                self.incomparable
                    .insert(record.id().clone(), record.clone());
                return;
            }
        };
        for index in candidates {
            if self.seen.insert((index, record.id().clone())) {
                self.judge(index, record, &origin);
            }
        }
    }

    /// Adds a record without an id, by a key of its JSON.
    pub(super) fn add_unreadable(&mut self, key: u128) {
        *self.unreadable.entry(key).or_default() += 1;
    }

    fn judge(&mut self, index: usize, record: &ClientCertificate, origin: &Origin) {
        let unclear = |problem| UnclearRecord {
            id: Some(record.id().clone()),
            problem,
        };
        let findings = &mut self.findings[index];
        match self.needles[index].judge(record, origin) {
            Verdict::Other => {}
            Verdict::Match => findings.matches.push(record.clone()),
            Verdict::Unclear(problem) => findings.unclear.push(unclear(problem)),
            Verdict::Incomparable => findings.incomparable.push(unclear(
                "neither its CSR nor its certificate can be read".to_owned(),
            )),
        }
    }

    pub(super) fn has_all_matches(&self) -> bool {
        self.findings
            .iter()
            .all(|findings| !findings.matches.is_empty())
    }

    /// Whether a record without an id was added.
    pub(super) fn has_unreadable(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// Returns the ids of records that a request of their own may show in full.
    pub(super) fn incomparable_ids(&self) -> Vec<CertificateId> {
        self.incomparable.keys().cloned().collect()
    }

    /// Takes a record that was fetched on its own in place of the one of the list.
    pub(super) fn replace(&mut self, record: &ClientCertificate) {
        self.incomparable.remove(record.id());
        self.add(record);
    }

    /// Returns what was found for each needle. `is_whole`: every record of the zone was added.
    pub(super) fn finish(mut self, is_whole: bool) -> Vec<Findings> {
        for record in std::mem::take(&mut self.incomparable).into_values() {
            for index in 0..self.needles.len() {
                self.judge(index, &record, &Origin::Unreadable);
            }
        }
        for (key, sightings) in self.unreadable {
            // A list that ended before the request held at least one record like this. If there is one, it is that.
            let is_one = is_whole && sightings == 1;
            for (needle, findings) in self.needles.iter().zip(&mut self.findings) {
                if !(is_one && needle.unreadable.contains(&key)) {
                    findings.incomparable.push(UnclearRecord {
                        id: None,
                        problem: "a record of the zone has no id that can be read".to_owned(),
                    });
                }
            }
        }
        for findings in &mut self.findings {
            let age = |record: &ClientCertificate| (record.not_before(), record.id().clone());
            findings.matches.sort_by_cached_key(age);
        }
        self.findings
    }
}
