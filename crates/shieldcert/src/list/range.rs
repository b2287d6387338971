//! The ranges of a list that a request can ask for.

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

    /// Returns the page with the place before `from` in it and the most places from `place` on, of at most `max` records.
    /// `None` if no page but the first has both.
    pub(super) fn overlapping_page(from: u64, place: u64, max: u64) -> Option<Self> {
        let last = from.checked_sub(1)?;
        let pages = (MIN_SIZE..=max).map(|size| Self::page(last / size + 1, size));
        pages
            .filter(|page| page.start > 0 && page.end() > place)
            .max_by_key(|page| (page.end(), page.start))
    }

    /// Returns such a page with the least overlap.
    pub(super) fn least_overlapping_page(place: u64, max: u64) -> Option<Self> {
        let last = place.checked_sub(1)?;
        let pages = (MIN_SIZE..=max).map(|size| Self::page(last / size + 1, size));
        pages
            .filter(|page| page.start > 0 && page.end() > place)
            .max_by_key(|page| (page.start, page.end()))
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
                match PageRange::overlapping_page(place, place, max) {
                    Some(page) => {
                        assert!(page.start < place && page.end() > place, "{place} {max}");
                        assert!(page.size <= max && page.start > 0);
                    }
                    // A single size may start where the last one ended.
                    None => assert!(max <= 13, "{place} {max}"),
                }
            }
        }
        assert_eq!(PageRange::overlapping_page(5, 5, 50), None);
        let after_fifty = PageRange::overlapping_page(50, 50, 50).expect("there is one");
        assert_eq!((after_fifty.start, after_fifty.size), (49, 49));
    }
}
