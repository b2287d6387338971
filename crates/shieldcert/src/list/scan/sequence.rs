//! Reads the list page by page, in pages that the service chooses the size of.
//!
//! Such pages can't overlap. The list is read without the filter and one request at a time. If no response is older
//! than the one before it, which is assumed, records only move to later places, so none is missed.
//!
//! Here a request does begin beyond the end. An empty page shows it; a 400 or 404 does if it repeats and the last page
//! was short or the total agrees; and the last page again does if a page far behind it is the same, and the first page
//! is not.
//!
//! If fewer records were read than the first page counted, one was missed after all, and all pages are read again.

use super::super::range::{Addressing, MIN_SIZE, PageRange};
use super::reading::Reading;
use super::response::{Key, Response};
use super::step::{Obstacle, Step};

/// How often in a row a page may be requested again.
const MAX_REREADS: u32 = 5;
/// How often in a row a page may be refused.
const MAX_REFUSALS: u32 = 3;
/// How often all pages may be read again.
const MAX_RESTARTS: u32 = 2;

/// What is requested to see why a page was that before it again.
enum Check {
    /// What is behind the last record, on no page of this size.
    Gap(PageRange),
    /// The first page, which no other page is.
    Beginning,
    /// A page far behind the end.
    Far,
}

pub(super) struct Sequence {
    /// How many records a page has.
    size: u64,
    is_size_chosen: bool,
    /// How many to ask for.
    asked: u64,
    /// The number of the next page.
    page: u64,
    /// The records of the last page.
    last: Vec<Key>,
    /// The total of the last page.
    total: Option<u64>,
    check: Option<Check>,
    /// The page behind one that was the page before it again and then no longer the last, when that was met last.
    repeated: u64,
    /// How many records the last page had that was cut.
    gap: Option<u64>,
    rereads: u32,
    refusals: u32,
    restarts: u32,
}

impl Sequence {
    /// Reads pages of this size, which the service may have chosen, from the one with this place on. At most `max`
    /// records are asked for.
    pub(super) fn new(size: u64, is_size_chosen: bool, max: u64, place: u64) -> Self {
        Self {
            size,
            is_size_chosen,
            asked: size.clamp(MIN_SIZE, max),
            page: place / size + 1,
            last: Vec::new(),
            total: None,
            check: None,
            repeated: 0,
            gap: None,
            rereads: 0,
            refusals: 0,
            restarts: 0,
        }
    }

    pub(super) fn plan(&self) -> PageRange {
        let page = match self.check {
            Some(Check::Gap(range)) => return range,
            Some(Check::Far) => 2 * self.page,
            Some(Check::Beginning) => 1,
            None => self.page,
        };
        self.range(page)
    }

    fn range(&self, page: u64) -> PageRange {
        PageRange {
            start: (page - 1) * self.size,
            size: self.asked,
            by: Addressing::Page(page),
        }
    }

    pub(super) fn take(&mut self, response: Response, reading: &mut Reading) -> Step {
        self.refusals = 0;
        if response.count() > self.size {
            self.size = response.count();
            self.page = 1;
            self.last.clear();
            self.check = None;
            return self.read_again_or(Obstacle::SizesVary);
        }
        if let Some(check) = self.check.take() {
            return self.take_check(check, &response, reading);
        }
        if reading.is_outdated(&response) {
            return self.read_again_or(Obstacle::MoreCounted);
        }
        let total = response.page.total_count;
        if total.is_some() && total < self.total && self.read_again() {
            // It is older than the one before.
            return Step::Nothing;
        }
        self.total = total;
        if response.is_empty() && !response.is_beginning() {
            self.check = self.find_gap(reading);
            if self.check.is_some() {
                return Step::Nothing;
            }
            self.page += 1;
            return reading.show_end(&response);
        }
        let has_new = reading.records.has_new(&response);
        if !has_new && self.page > 2 && response.keys == self.last {
            // Whatever is behind the last page may be the last page again, or the list grew by a page.
            if total >= Some(response.end()) {
                reading.place = response.end();
            }
            self.check = Some(Check::Beginning);
            self.page += 1;
            return Step::Nothing;
        }
        if !has_new && self.page > 1 && response.keys.first() == reading.front.as_ref() {
            return self.read_again_or(Obstacle::Ignored);
        }
        let before = self.last.len() as u64;
        if has_new && (1..self.size).contains(&before) {
            self.close_gap(before);
            return self.read_again_or(Obstacle::SizesVary);
        }
        if has_new {
            self.rereads = 0;
        }
        self.page += 1;
        self.last.clone_from(&response.keys);
        if has_new || response.count() == self.size || response.counts_to_its_end() {
            // Another one was cut, or is of pages of another size.
            reading.place = response.end();
        }
        reading.tail = response.last_id();
        let is_short = response.count() < self.size;
        let count = response.count();
        let page = reading.take(response);
        reading.end.short = is_short.then_some(count);
        Step::Page {
            page,
            has_new,
            continues: false,
        }
    }

    /// Takes the response to a check.
    fn take_check(&mut self, check: Check, response: &Response, reading: &mut Reading) -> Step {
        let total = response.page.total_count;
        match check {
            Check::Gap(_) if reading.records.has_new(response) => {
                let count = self.last.len() as u64;
                self.gap = Some(count);
                self.close_gap(count);
                self.read_again_or(Obstacle::SizesVary)
            }
            Check::Gap(_) => reading.end_at(response.end().max(reading.place), total),
            Check::Beginning => {
                // Records that can't be read may look alike, but not all of two pages.
                let is_last = response.ids().any(|id| self.last.contains(&Key::Id(id)))
                    || response.keys.iter().all(|key| self.last.contains(key));
                if is_last || reading.place <= self.size {
                    return Step::Stuck(Obstacle::Ignored);
                }
                self.check = Some(Check::Far);
                Step::Nothing
            }
            Check::Far if response.keys == self.last => reading.end_at(reading.place, total),
            Check::Far => {
                // It was repeated by mistake, unless it is so again: then the list grew by a page.
                if std::mem::replace(&mut self.repeated, self.page) != self.page {
                    self.page -= 1;
                }
                Step::Nothing
            }
        }
    }

    /// Returns a request for what is between the last record and the page behind it, if the last page may have been cut.
    /// Where the service chooses the size of pages, only the last page shows that.
    fn find_gap(&self, reading: &Reading) -> Option<Check> {
        let place = reading.place;
        let is_short = (1..self.size).contains(&(self.last.len() as u64));
        if !is_short || self.is_size_chosen && reading.end.agrees {
            return None;
        }
        let range = match PageRange::page_at(place, self.asked) {
            _ if self.is_size_chosen => self.range(place / self.size + 1),
            _ if place <= MIN_SIZE => PageRange::page(2, MIN_SIZE),
            Some(exact) => exact,
            None => PageRange::overlapping_pages(place, self.asked).pop()?,
        };
        Some(Check::Gap(range))
    }

    /// The page before had only so many records: read it again, or, if it is always cut, begin anew with that size.
    fn close_gap(&mut self, count: u64) {
        self.last.clear();
        if self.gap.replace(count) == Some(count) && count >= MIN_SIZE {
            self.size = count;
            self.asked = count;
            self.page = 1;
        } else {
            self.page -= 1;
        }
    }

    /// Reads all pages again.
    pub(super) fn restart(&mut self) -> Step {
        self.restarts += 1;
        if self.restarts > MAX_RESTARTS {
            return Step::Stuck(Obstacle::MoreCounted);
        }
        self.page = 1;
        self.last.clear();
        self.total = None;
        self.check = None;
        Step::Nothing
    }

    /// Whether the page may be requested again.
    fn read_again(&mut self) -> bool {
        self.rereads += 1;
        self.rereads <= MAX_REREADS
    }

    fn read_again_or(&mut self, obstacle: Obstacle) -> Step {
        if self.read_again() {
            Step::Nothing
        } else {
            Step::Stuck(obstacle)
        }
    }

    /// Takes a 400 or 404: the page may be beyond the end. `repeats`: the one before it was the same.
    pub(super) fn refuse(&mut self, range: PageRange, repeats: bool, reading: &Reading) -> Step {
        self.refusals = if repeats { self.refusals + 1 } else { 1 };
        let is_more_counted = reading.only_grows && reading.total > Some(reading.place);
        let is_short = reading.end.short.is_some() && !is_more_counted;
        let is_shown = is_short || reading.end.agrees;
        match self.check.take() {
            Some(Check::Gap(_)) if range.start >= reading.place && !is_more_counted => {
                return Step::End;
            }
            Some(_) => {}
            None if self.refusals >= 2 && is_shown => {
                self.check = self.find_gap(reading);
                if self.check.is_none() {
                    return Step::End;
                }
            }
            None => {}
        }
        if self.refusals >= MAX_REFUSALS {
            return Step::Stuck(Obstacle::Refused);
        }
        Step::Nothing
    }
}
