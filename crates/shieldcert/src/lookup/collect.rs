//! Collects what the records of a look-up prove, for many needles at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::needle::{Findings, Incomparables, Needle, Origin, Verdict};
use super::unclear::UnclearRecord;
use crate::certificate::ClientCertificate;
use crate::certificate::id::CertificateId;
use crate::certificate::unreadable::UnreadableRecord;
use crate::list::dedup::hash;

/// Takes records in any order, each as often as it was read.
pub(super) struct Collector {
    needles: Vec<Arc<Needle>>,
    by_csr: HashMap<Vec<u8>, Vec<usize>>,
    by_key: HashMap<Vec<u8>, Vec<usize>>,
    findings: Vec<Findings>,
    seen: HashSet<(usize, CertificateId)>,
    /// By a key of their JSON.
    incomparable: HashMap<u128, Incomparable>,
}

/// Records with the same JSON that can't be compared.
struct Incomparable {
    /// `None` if they have no id either.
    record: Option<ClientCertificate>,
    count: u32,
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
            needles,
        }
    }

    pub(super) fn add(&mut self, record: &ClientCertificate) {
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
                let json = record.to_json().to_string();
                self.add_incomparable(json.as_bytes(), Some(record));
                return;
            }
        };
        for index in candidates {
            if self.seen.insert((index, record.id().clone())) {
                self.judge(index, record, &origin);
            }
        }
    }

    pub(super) fn add_unreadable(&mut self, record: &UnreadableRecord) {
        self.add_incomparable(record.json(), None);
    }

    fn add_incomparable(&mut self, json: &[u8], record: Option<&ClientCertificate>) {
        let entry = self.incomparable.entry(hash(json));
        entry
            .or_insert_with(|| Incomparable {
                record: record.cloned(),
                count: 0,
            })
            .count += 1;
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

    pub(super) fn has_incomparable(&self) -> bool {
        !self.incomparable.is_empty()
    }

    /// Returns the ids of records that a request of their own may show in full.
    pub(super) fn incomparable_ids(&self) -> Vec<CertificateId> {
        let records = self
            .incomparable
            .values()
            .filter_map(|known| known.record.as_ref());
        records.map(|record| record.id().clone()).collect()
    }

    /// Takes a record that was fetched on its own in place of the one of the list.
    pub(super) fn replace(&mut self, record: &ClientCertificate) {
        if matches!(Origin::of(record), Origin::Unreadable) {
            return;
        }
        self.incomparable.retain(|_, known| {
            known
                .record
                .as_ref()
                .is_none_or(|old| old.id() != record.id())
        });
        self.add(record);
    }

    /// Returns how many records of each kind can't be compared.
    pub(super) fn incomparables(&self) -> Incomparables {
        let counts = self.incomparable.iter();
        counts.map(|(key, known)| (*key, known.count)).collect()
    }

    /// Returns what was found for each needle. `is_whole`: every record of the zone was added once.
    pub(super) fn finish(mut self, is_whole: bool) -> Vec<Findings> {
        for (key, known) in std::mem::take(&mut self.incomparable) {
            for index in 0..self.needles.len() {
                let earlier = self.needles[index].earlier.get(&key).copied().unwrap_or(0);
                if is_whole && known.count <= earlier {
                    continue;
                }
                match &known.record {
                    Some(record) => self.judge(index, record, &Origin::Unreadable),
                    None => self.findings[index].incomparable.push(UnclearRecord {
                        id: None,
                        problem: "a record of the list has no id that can be read".to_owned(),
                    }),
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
