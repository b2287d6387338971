//! Reads a list that others change, through a service that may not do what it is asked to, and misses nothing.
//!
//! # What is promised
//!
//! A list yields every certificate that was there, and matched the filter, the whole time of the listing exactly once,
//! or it ends in an error. A certificate that was added, or changed its status, meanwhile may be in it, at most once.
//!
//! Three things are assumed of the service. It never removes a certificate from a zone. It keeps certificates in an
//! order that does not change, whichever that is. A response shows consecutive records of one state of the list, and
//! may break off early. Nothing else is believed: `page`, `per_page`, `offset`, `limit`, `status` and `total_count` may
//! all be ignored, capped or wrong.
//!
//! # Methods
//!
//! The list is read by the first of these methods that leads on. Each hands over what was read to the next.
//!
//! 1. [`Pages`]: page by page, several at once. For an unfiltered list that looks well-behaved.
//! 2. [`Overlap`]: by ranges that overlap with what was read. By `page` first if the list is not filtered, by `offset`
//!    first if it is; then by the other one. A filtered list that can't be read so is begun anew without the filter, which
//!    is applied here.
//! 3. [`Sequence`]: page by page without the filter, one at a time. For a service that chooses the size of its pages.
//!
//! A service that is seen to ignore both `page` and `offset` is an error at once.
//!
//! # The end
//!
//! The end shows in a response that was to begin before what is behind the last record, and holds nothing new. Such a
//! response may have been cut, so two things must speak for the end: two such responses, or one beside a short page
//! before it or a total that agrees. Where the service was seen to cut responses to different numbers of records, one
//! more is needed. A total by itself proves nothing, and neither does a short page. A total of an unfiltered list that
//! stays larger than what is there is an error: something leaves records out. See [`EndEvidence`].
//!
//! One assumption remains: a response that was cut by chance, while no other was, does not look like the end twice in a
//! row. As the smallest page has five records and an overlap has one, a service would have to cut to its own smallest
//! page, or below.
//!
//! # Cost
//!
//! A well-behaved list takes one request more than the fewest possible if it is not filtered and nobody issues, and
//! otherwise one record of each page, or a few, twice. What brings nothing new is bounded, see [`Budget`]. Memory holds
//! the prefetched pages, and 16 to 20 bytes for each certificate's id, see [`IdSet`](id_set::IdSet).

mod budget;
mod id_set;
mod overlap;
mod pages;
mod reading;
mod records;
mod response;
mod sequence;
mod sizes;
mod step;

use std::collections::HashSet;

use self::budget::Budget;
use self::overlap::{Overlap, Parameters};
use self::pages::Pages;
use self::reading::{EndEvidence, Reading};
use self::response::Response;
use self::sequence::Sequence;
use self::step::{Obstacle, Step};
use super::fetch::Query;
use super::page::Page;
use super::range::PageRange;
use crate::certificate::envelope::RecordPage;
use crate::certificate::filter::StatusFilter;
use crate::error::call::Call;
use crate::error::{Error, Result};

/// How the list is read at present.
enum Method {
    Pages(Pages),
    Overlap(Overlap),
    Sequence(Sequence),
}

/// What a response led to.
pub(super) struct Taken {
    pub(super) page: Option<Page>,
    /// What is in flight continues where it ended.
    pub(super) continues: bool,
}

impl Taken {
    const NOTHING: Self = Self {
        page: None,
        continues: false,
    };
}

/// The state of a listing: what has been read, and what to request next.
pub(super) struct Scan {
    pub(super) query: Query,
    /// What the service filters by. Nothing if the list is filtered here alone.
    pub(super) service_filter: StatusFilter,
    reading: Reading,
    method: Method,
    /// The parameters that the service seems to ignore.
    ignored: Vec<Parameters>,
    /// The beginning is read again to see whether it ignores them.
    is_rechecked: bool,
    is_size_ignored: bool,
    /// The place behind the ranges that have been requested.
    requested_to: u64,
    /// How often in a row the list was empty although it can't be.
    empty: u32,
    has_page: bool,
    /// The last refusal of a range, since something new was read.
    refusal: Option<Error>,
    budget: Budget,
    pub(super) ended: bool,
}

impl Scan {
    pub(super) fn new(query: Query) -> Self {
        let filter = query.filter;
        let reading = Reading::new(filter, query.page_size.into());
        Self {
            service_filter: filter,
            method: Method::Overlap(Overlap::new(preferred(filter), &reading)),
            reading,
            query,
            ignored: Vec::new(),
            is_size_ignored: false,
            is_rechecked: false,
            requested_to: 0,
            empty: 0,
            has_page: false,
            refusal: None,
            budget: Budget::default(),
            ended: false,
        }
    }

    /// Returns the range to request with nothing in flight.
    pub(super) fn next(&mut self) -> PageRange {
        let range = loop {
            let beginning = PageRange::page(1, self.reading.sizes.asked);
            let range = match &mut self.method {
                _ if self.is_rechecked => Some(beginning),
                Method::Pages(pages) => Some(pages.plan(&self.reading)),
                Method::Overlap(overlap) => overlap.plan(&self.reading),
                Method::Sequence(sequence) => Some(sequence.plan()),
            };
            match range {
                Some(range) => break range,
                None => self.change_method(Obstacle::NoOverlap),
            }
        };
        self.requested_to = range.end();
        range
    }

    /// Returns a range to request beside those in flight, if there is one.
    pub(super) fn prefetch(&mut self, in_flight: usize) -> Option<PageRange> {
        let in_flight = in_flight as u64;
        let is_behind = self
            .reading
            .total
            .is_none_or(|total| self.requested_to >= total);
        if in_flight >= self.query.prefetch.into() || is_behind {
            return None;
        }
        let end = self.requested_to;
        let range = match &self.method {
            Method::Pages(pages) => pages.prefetch(end, in_flight),
            Method::Overlap(overlap) => overlap.prefetch(end, in_flight, &self.reading),
            Method::Sequence(_) => None,
        }?;
        self.requested_to = range.end();
        Some(range)
    }

    /// Takes the response for the next range in order, which was requested with so many in flight.
    pub(super) fn take(
        &mut self,
        range: PageRange,
        ahead: usize,
        page: RecordPage,
        call: &Call,
    ) -> Result<Taken> {
        let response = Response::new(range, ahead, page);
        if response.is_beginning() && response.is_empty() {
            return self.take_empty_list(response, call);
        }
        if std::mem::take(&mut self.is_rechecked) {
            self.recheck(&response, call)?;
        }
        let is_oversized = range.is_by_page() && response.count() > range.size;
        let step = match &mut self.method {
            Method::Pages(pages) => pages.take(response, &mut self.reading),
            Method::Overlap(overlap) => overlap.take(response, &mut self.reading),
            Method::Sequence(sequence) => sequence.take(response, &mut self.reading),
        };
        let step = self.check_end(step);
        self.budget.note(&step, range.start == 0, &self.reading);
        let taken = match step {
            Step::Page {
                page,
                has_new,
                continues,
            } => {
                self.refusal = self.refusal.take().filter(|_| !has_new);
                let is_first = !std::mem::replace(&mut self.has_page, true);
                if is_first {
                    self.read_by_pages(range);
                }
                let is_empty = page.certificates.is_empty() && page.unreadable_keys.is_empty();
                Taken {
                    page: (is_first || !is_empty).then_some(page),
                    continues,
                }
            }
            Step::Nothing => Taken::NOTHING,
            Step::End => {
                self.ended = true;
                Taken::NOTHING
            }
            Step::Stuck(obstacle) if matches!(self.method, Method::Sequence(_)) => {
                return Err(self.fail(call, obstacle.problem()));
            }
            Step::Stuck(obstacle) => {
                self.change_method(obstacle);
                Taken::NOTHING
            }
        };
        self.leave_pages();
        if is_oversized {
            self.note_ignored_size();
        }
        if !self.ended && self.budget.is_spent() {
            let refusal = self.refusal.take();
            return Err(refusal.unwrap_or_else(|| self.fail(call, ENDLESS)));
        }
        Ok(taken)
    }

    /// Goes on page by page if the first page looks like one of a well-behaved list.
    fn read_by_pages(&mut self, first: PageRange) {
        let Reading {
            place, only_grows, ..
        } = self.reading;
        if let Some(total) = self.reading.total
            && only_grows
            && place == first.end()
            && total > place
        {
            self.method = Method::Pages(Pages::behind(first.size, total, &self.reading));
        }
    }

    fn leave_pages(&mut self) {
        if let Method::Pages(pages) = &self.method
            && pages.is_over
        {
            self.method = Method::Overlap(Overlap::new(Parameters::Page, &self.reading));
        }
    }

    /// Takes a first page without records.
    fn take_empty_list(&mut self, response: Response, call: &Call) -> Result<Taken> {
        let records = self.reading.records.count();
        let counted = response.page.total_count.unwrap_or(0).max(records);
        if !self.reading.only_grows || counted == 0 {
            self.ended = true;
            let page = self.reading.take(response);
            return Ok(Taken {
                page: (!self.has_page).then_some(page),
                continues: false,
            });
        }
        self.empty += 1;
        if self.empty < MAX_EMPTY {
            return Ok(Taken::NOTHING);
        }
        let problem = format!(
            "its first page is empty, although there are {counted} certificates; try again later"
        );
        Err(self.fail(call, &problem))
    }

    /// Takes the beginning, which was read again: the list may have moved just so that it looked as if `page` and
    /// `offset` were ignored.
    fn recheck(&mut self, response: &Response, call: &Call) -> Result<()> {
        let is_same = response.keys.first() == self.reading.front.as_ref();
        if is_same && !self.reading.records.has_new(response) {
            return Err(self.fail(call, Obstacle::Ignored.problem()));
        }
        self.ignored.clear();
        self.method = Method::Overlap(Overlap::new(preferred(self.query.filter), &self.reading));
        Ok(())
    }

    /// Takes note that pages have a size that the service chooses.
    fn note_ignored_size(&mut self) {
        self.is_size_ignored = true;
        if let Method::Overlap(overlap) = &self.method
            && overlap.parameters == Parameters::Page
        {
            self.change_method(Obstacle::SizeIgnored);
        }
    }

    /// Goes on with the next method.
    fn change_method(&mut self, obstacle: Obstacle) {
        let Method::Overlap(Overlap { parameters, .. }) = self.method else {
            return;
        };
        tracing::debug!(?parameters, ?obstacle, "the list can't be read so");
        match obstacle {
            Obstacle::Ignored => self.ignored.push(parameters),
            Obstacle::SizeIgnored => self.is_size_ignored = true,
            _ => {}
        }
        let other = parameters.other();
        let is_first = parameters == preferred(self.query.filter);
        let is_useless =
            self.ignored.contains(&other) || other == Parameters::Page && self.is_size_ignored;
        if is_first && !is_useless {
            self.reading.end.forget_shows();
            self.method = Method::Overlap(Overlap::new(other, &self.reading));
        } else if self.ignored.contains(&Parameters::Page) {
            self.is_rechecked = true;
        } else if self.reading.only_grows {
            self.read_in_sequence();
        } else {
            self.read_unfiltered();
        }
    }

    /// Begins anew without the filter: a list that only grows is easier to read.
    fn read_unfiltered(&mut self) {
        let reading = &mut self.reading;
        reading.end = EndEvidence::default();
        self.service_filter = StatusFilter::All;
        reading.only_grows = true;
        reading.place = 0;
        reading.records.doubt_all();
        if self.is_size_ignored {
            self.read_in_sequence();
        } else {
            self.method = Method::Overlap(Overlap::new(Parameters::Page, reading));
        }
    }

    /// Goes on page by page, one request at a time.
    fn read_in_sequence(&mut self) {
        let reading = &mut self.reading;
        reading.end.forget_shows();
        let size = if self.is_size_ignored {
            reading.sizes.chosen()
        } else {
            reading.sizes.asked
        };
        let place = reading.place.min(reading.records.verified());
        let sequence = Sequence::new(
            size,
            self.is_size_ignored,
            self.query.page_size.into(),
            place,
        );
        self.method = Method::Sequence(sequence);
    }

    /// Takes a 400 or 404 for a range behind the beginning: it may be beyond the end, or not supported.
    pub(super) fn refuse(&mut self, range: PageRange, error: Error) -> Result<Taken> {
        let last = self.refusal.as_ref();
        let repeats = last.is_some_and(|last| has_same_reason(last, &error));
        let step = match &mut self.method {
            Method::Pages(pages) => {
                pages.leave(&mut self.reading);
                Step::Nothing
            }
            Method::Overlap(overlap) => overlap.refuse(range, repeats, &self.reading),
            Method::Sequence(sequence) => sequence.refuse(range, repeats, &self.reading),
        };
        self.leave_pages();
        let step = self.check_end(step);
        self.budget.note(&step, false, &self.reading);
        match step {
            Step::End => self.ended = true,
            Step::Stuck(_) if matches!(self.method, Method::Sequence(_)) => return Err(error),
            Step::Stuck(obstacle) => self.change_method(obstacle),
            Step::Page { .. } | Step::Nothing => {}
        }
        if !self.ended && self.budget.is_spent() {
            return Err(error);
        }
        self.refusal = Some(error);
        Ok(Taken::NOTHING)
    }

    /// A sequence of pages may miss records where the service shows older states.
    fn check_end(&mut self, step: Step) -> Step {
        match (&mut self.method, step) {
            (Method::Sequence(sequence), Step::End) if self.reading.lacks_counted() => {
                sequence.restart()
            }
            (_, step) => step,
        }
    }

    /// Takes the keys of the records that can't be read, if all of the zone's were met.
    pub(super) fn take_unreadable(&mut self) -> Option<HashSet<u128>> {
        let reading = &mut self.reading;
        reading
            .only_grows
            .then(|| reading.records.take_unreadable())
    }

    fn fail(&self, call: &Call, problem: &str) -> Error {
        let problem = format!(
            "the list can't be read to its end, after {} records: {problem}",
            self.reading.records.count()
        );
        Error::invalid_response(call.clone(), problem, "")
    }
}

/// Whether two refusals have the same status and the same codes.
fn has_same_reason(one: &Error, other: &Error) -> bool {
    let codes = |error: &Error| {
        let codes = error.messages().iter().map(|message| message.code);
        codes.collect::<Vec<_>>()
    };
    one.status() == other.status() && codes(one) == codes(other)
}

const ENDLESS: &str =
    "it changes faster than it can be read, or the service repeats itself; try again later";

/// How often in a row the first page may be empty although there are certificates.
const MAX_EMPTY: u32 = 2;

/// Returns how ranges of a list are asked for at first: pages are what clients of the API use, but an offset overlaps
/// exactly, which saves requests where no total shows how long the list is.
fn preferred(filter: StatusFilter) -> Parameters {
    match filter {
        StatusFilter::All => Parameters::Page,
        _ => Parameters::Offset,
    }
}
