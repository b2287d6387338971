//! The records that have been read.

use std::collections::HashSet;

use super::super::page::Page;
use super::id_set::IdSet;
use super::response::{Key, Response};
use crate::certificate::filter::StatusFilter;

/// The records that have been read.
#[derive(Default)]
pub(super) struct Records {
    /// The ids that have been returned, or left out because of the filter.
    seen: IdSet,
    /// Those of them that are no anchors: whether everything before them has been read is not known.
    unverified: HashSet<u128>,
    /// The records that can't be read.
    unreadable: HashSet<u128>,
    /// One of them is `null` or the like, which may stand for several.
    has_blanks: bool,
}

impl Records {
    /// Whether everything up to this record has been read.
    pub(super) fn is_anchor(&self, key: Key) -> bool {
        match key {
            Key::Id(id) => self.seen.contains(id) && !self.unverified.contains(&id),
            Key::Unreadable(_) => false,
        }
    }

    fn is_new(&self, key: Key) -> bool {
        match key {
            Key::Id(_) => !self.is_anchor(key),
            Key::Unreadable(json) => !self.unreadable.contains(&json),
        }
    }

    pub(super) fn has_anchor(&self, response: &Response) -> bool {
        response.keys.iter().any(|key| self.is_anchor(*key))
    }

    /// Whether a response holds a record that has not been read, or is unverified.
    pub(super) fn has_new(&self, response: &Response) -> bool {
        response.keys.iter().any(|key| self.is_new(*key))
    }

    /// Returns how many certificates have been read, and are anchors.
    pub(super) fn verified(&self) -> u64 {
        self.count() - self.unverified.len() as u64
    }

    /// Returns how many records have been read. Unreadable ones that look alike count once.
    pub(super) fn count(&self) -> u64 {
        (self.seen.len() + self.unreadable.len()) as u64
    }

    /// Returns how many records have been read, unless some that can't be read may look alike.
    pub(super) fn exact_count(&self) -> Option<u64> {
        (!self.has_blanks).then(|| self.count())
    }

    /// Reads a response, whose records are anchors from now on. The page holds what no earlier one held.
    pub(super) fn take(&mut self, response: Response, filter: StatusFilter) -> Page {
        if !self.unverified.is_empty() {
            for id in response.ids() {
                self.unverified.remove(&id);
            }
        }
        let Response { keys, page, .. } = response;
        let mut taken = Page {
            certificates: Vec::with_capacity(page.records.len()),
            unreadable: Vec::new(),
            total_count: page.total_count,
            unreadable_keys: Vec::new(),
        };
        for (key, record) in keys.into_iter().zip(page.records) {
            match record {
                Ok(certificate) => {
                    if self.seen.insert(key.value()) && filter.matches(certificate.status()) {
                        taken.certificates.push(certificate);
                    }
                }
                Err(record) => {
                    self.has_blanks |= is_blank(record.json());
                    taken.unreadable_keys.push(key.value());
                    if self.unreadable.insert(key.value()) {
                        taken.unreadable.push(record);
                    }
                }
            }
        }
        taken
    }

    /// These are no anchors any more.
    pub(super) fn doubt(&mut self, ids: impl IntoIterator<Item = u128>) {
        self.unverified.extend(ids);
    }

    /// No record is an anchor any more.
    pub(super) fn doubt_all(&mut self) {
        self.unverified.extend(self.seen.iter());
    }

    /// Takes the keys of the records that can't be read.
    pub(super) fn take_unreadable(&mut self) -> HashSet<u128> {
        std::mem::take(&mut self.unreadable)
    }
}

/// Whether nothing tells the record from another one that looks alike: it is no object, or an empty one.
fn is_blank(json: &[u8]) -> bool {
    let members = json.trim_ascii().strip_prefix(b"{");
    members.is_none_or(|members| members.trim_ascii_start().starts_with(b"}"))
}
