//! What a response shows of the list.

use super::super::dedup::{hash, key};
use super::super::range::PageRange;
use crate::certificate::ClientCertificate;
use crate::certificate::envelope::RecordPage;
use crate::certificate::unreadable::UnreadableRecord;

/// Tells records apart in 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Of a certificate's id.
    Id(u128),
    /// Of the JSON of a record that can't be read. Two records may share it, so it is never an anchor.
    Unreadable(u128),
}

impl Key {
    fn of(record: &Result<ClientCertificate, UnreadableRecord>) -> Self {
        match record {
            Ok(certificate) => Self::Id(key(certificate.id())),
            Err(record) => Self::Unreadable(hash(record.json())),
        }
    }

    pub(super) fn value(self) -> u128 {
        match self {
            Self::Id(value) | Self::Unreadable(value) => value,
        }
    }
}

/// A response, and the range that it is the response to.
pub(super) struct Response {
    pub(super) range: PageRange,
    /// How many of the responses before it had not been taken when the range was requested.
    pub(super) ahead: usize,
    /// The keys of its records, in order.
    pub(super) keys: Vec<Key>,
    pub(super) page: RecordPage,
}

impl Response {
    pub(super) fn new(range: PageRange, ahead: usize, page: RecordPage) -> Self {
        Self {
            range,
            ahead,
            keys: page.records.iter().map(Key::of).collect(),
            page,
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.keys.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether it was to start at the beginning of the list.
    pub(super) fn is_beginning(&self) -> bool {
        self.range.start == 0
    }

    /// Whether it has fewer records than were asked for.
    pub(super) fn is_short(&self) -> bool {
        self.count() < self.range.size
    }

    /// Returns the place behind its last record, if it starts where it was to.
    pub(super) fn end(&self) -> u64 {
        self.range.start.saturating_add(self.count())
    }

    /// Whether it counts as many records in the list as there are up to its end.
    pub(super) fn counts_to_its_end(&self) -> bool {
        self.page.total_count == Some(self.end())
    }

    /// Returns the keys of the ids of the records that can be read.
    pub(super) fn ids(&self) -> impl DoubleEndedIterator<Item = u128> {
        self.keys.iter().filter_map(|key| match key {
            Key::Id(id) => Some(*id),
            Key::Unreadable(_) => None,
        })
    }

    /// Returns the key of the last record that can be read.
    pub(super) fn last_id(&self) -> Option<Key> {
        self.ids().next_back().map(Key::Id)
    }
}
