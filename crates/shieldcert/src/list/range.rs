//! The ranges of a list that a request can ask for.

use std::cmp::Reverse;

/// The smallest page that the service accepts.
pub(super) const MIN_PAGE_SIZE: u32 = 5;
/// The largest page that the service accepts.
pub(super) const MAX_PAGE_SIZE: u32 = 50;

/// [`MIN_PAGE_SIZE`], as places are counted.
pub(super) const MIN_SIZE: u64 = MIN_PAGE_SIZE as u64;

/// A range of the list, as one request asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageRange {
    /// The place of its first record, from 0, if the service does what it is asked to.
    pub(super) start: u64,
    /// How many records it asks for.
    pub(super) size: u64,
    pub(super) by: Addressing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addressing {
    /// `page`, this one, and `per_page`.
    Page(u64),
    /// `offset` and `limit`.
    Offset,
}

impl PageRange {
    /// A page by its number, from 1.
    pub(super) fn page(number: u64, size: u64) -> Self {
        Self {
            start: (number - 1) * size,
            size,
            by: Addressing::Page(number),
        }
    }

    pub(super) fn offset(start: u64, size: u64) -> Self {
        Self {
            start,
            size,
            by: Addressing::Offset,
        }
    }

    /// Returns the place behind its last record.
    pub(super) fn end(self) -> u64 {
        self.start.saturating_add(self.size)
    }

    /// Returns the pages of at most `max` records, but for the first, with the place before this one and this place in
    /// them, those with the most places from it on first.
    pub(super) fn overlapping_pages(place: u64, max: u64) -> Vec<Self> {
        let mut pages = Vec::new();
        for size in MIN_SIZE..=max {
            let page = Self::page(place.saturating_sub(1) / size + 1, size);
            if page.start > 0 && page.end() > place {
                pages.push(page);
            }
        }
        pages.sort_by_key(|page| Reverse((page.end(), page.start)));
        pages
    }

    /// Returns the page of at most `max` records with this place in it and the most places behind it.
    pub(super) fn page_with(place: u64, max: u64) -> Self {
        let pages = (MIN_SIZE..=max).map(|size| Self::page(place / size + 1, size));
        let page = pages.max_by_key(|page| page.end());
        page.unwrap_or(Self::page(place / MIN_SIZE + 1, MIN_SIZE))
    }

    /// Returns the page that starts exactly at this place, of at most `max` records.
    pub(super) fn page_at(place: u64, max: u64) -> Option<Self> {
        let size = (MIN_SIZE..=max)
            .rev()
            .find(|size| place.is_multiple_of(*size))?;
        Some(Self::page(place / size + 1, size))
    }

    pub(super) fn is_by_page(self) -> bool {
        matches!(self.by, Addressing::Page(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlapping_page_holds_the_last_place_and_the_next() {
        for place in 6..5000 {
            for max in [5, 6, 13, 49, 50] {
                let pages = PageRange::overlapping_pages(place, max);
                // A single size may start where the last one ended.
                assert!(!pages.is_empty() || max <= 13, "{place} {max}");
                for page in pages {
                    assert!(page.start < place && page.end() > place, "{place} {max}");
                    assert!(page.size <= max && page.start > 0);
                }
                let page = PageRange::page_with(place, max);
                assert!(page.start <= place && page.end() > place && page.size <= max);
            }
        }
        assert_eq!(PageRange::overlapping_pages(5, 50), []);
        let after_fifty = PageRange::overlapping_pages(50, 50)[0];
        assert_eq!((after_fifty.start, after_fifty.size), (49, 49));
    }
}
