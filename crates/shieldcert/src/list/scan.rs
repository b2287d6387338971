//! Reads a list that others change, and misses nothing.
//!
//! # What is promised
//!
//! A list yields every certificate that was there, and matched the filter, the whole time of the listing exactly once,
//! whatever others issue, revoke and reactivate meanwhile, and whether the service orders by age or by id. A
//! certificate that was added, removed or changed its status meanwhile may be in it, at most once.
//!
//! This rests on two properties of the service: it never removes a certificate from a zone, and it keeps certificates
//! in an order that does not change (by time of issue, or by id).
//!
//! # Without a filter
//!
//! Certificates are only ever added to such a list, so an existing certificate can only move to a later place. The
//! pages are read forward, each in a state of the list that is no older than the page before it. That misses none: for
//! a certificate to move from an unread page to a read one, it would have to move to an earlier place. A certificate
//! that moved to a later page is met twice, and skipped by its id.
//!
//! Pages are prefetched, several at once, so a response may show an older state than the one before it. `total_count`
//! shows which is older: the list only grows, so equal totals mean the same list, and a smaller total an older one. A
//! page from an older state than the page before it is fetched again. If there is no `total_count`, pages are fetched
//! one after the other.
//!
//! # With a filter
//!
//! Certificates also leave such a list, and those behind them move to earlier places, across a page boundary and past
//! the reader. So each request overlaps the one before it by one certificate (`offset` and `limit`), and its response
//! is used only if it holds a certificate that has been read, an *anchor*. Assume that everything up to the anchor has
//! been read (of what stayed the whole time). A response has no gaps in the service's order, so with it everything up
//! to its last certificate has been read. The first request starts at the beginning and the last one reaches the end,
//! so by induction everything is read, whatever the order of the responses. A response without an anchor shows that the
//! list moved by more than the overlap. It is dropped, and the reader steps back, further each time, until it finds an
//! anchor. The beginning of the list always is one.
//!
//! Whether the service supports `offset` at all shows in the first overlap, which must be at the start of the response.
//! If it is not, three times, the list is read without the filter, as above, and filtered here.
//!
//! # Cost
//!
//! Without a filter, the fewest requests possible. With one, a certificate of each page is fetched twice, and where
//! `total_count` counts what the filter leaves out, up to as many requests as are prefetched may find nothing at the
//! end. Memory holds the prefetched pages, and 16 bytes for each certificate's id in a hash set.

use std::collections::HashSet;

use super::dedup::key;
use super::fetch::{Addressing, PageRange, Query};
use super::page::Page;
use crate::certificate::envelope::RecordPage;
use crate::certificate::filter::StatusFilter;
use crate::error::call::Call;
use crate::error::{Error, Result};

/// How the list is read; see the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Page by page of a list that only grows.
    Growing,
    /// Overlapping ranges of a list that certificates also leave.
    Moving,
}

/// The state of a listing: what has been read, and what to fetch next.
pub(super) struct Scan {
    pub(super) query: Query,
    pub(super) mode: Mode,
    /// The keys of the ids that have been read.
    seen: HashSet<u128>,
    /// The last certificate of the last response that was used.
    last: Option<u128>,
    /// The service has shown that it supports `offset`.
    offset_supported: bool,
    /// How often it could have shown that and did not.
    offset_misses: u32,
    /// The end of the ranges that have been requested.
    pub(super) requested_to: u64,
    /// The total of the last response that was used.
    pub(super) total: Option<u64>,
    /// How many responses were used since the reader last stepped back.
    pub(super) used: u64,
    /// How many responses in a row held nothing new.
    repeats: u32,
    /// How far to step back if an anchor is missing.
    step_back: u64,
    pub(super) ended: bool,
}

/// What a response leads to.
pub(super) enum Step {
    Page(Page),
    /// The response can't be used. Fetch this range, and nothing behind it yet.
    Retry(PageRange),
    /// The response can't be used. Start from the beginning; what was read stays read.
    Restart,
}

impl Scan {
    /// A list that keeps repeating itself can't be read to its end.
    const MAX_REPEATS: u32 = 1000;

    /// A list may move just when the first overlap is fetched, so one miss proves nothing.
    const MAX_OFFSET_MISSES: u32 = 3;

    pub(super) fn new(query: Query) -> Self {
        let mode = match query.filter {
            StatusFilter::All => Mode::Growing,
            _ => Mode::Moving,
        };
        Self {
            query,
            mode,
            seen: HashSet::new(),
            last: None,
            offset_supported: false,
            offset_misses: 0,
            requested_to: 0,
            total: None,
            used: 0,
            repeats: 0,
            step_back: 0,
            ended: false,
        }
    }

    /// Returns the range behind those that were requested. `None` if a range in flight may be the last.
    pub(super) fn prefetch(&self, in_flight: usize) -> Option<PageRange> {
        if in_flight > 0 {
            let total = self.total?;
            let max = match self.mode {
                Mode::Growing => u64::from(self.query.prefetch),
                // The total may count far beyond the end of the list: prefetch no further than the list has shown to
                // reach.
                Mode::Moving => self.used.min(u64::from(self.query.prefetch)),
            };
            if self.requested_to >= total || in_flight as u64 >= max {
                return None;
            }
        }
        Some(self.range_from(self.requested_to))
    }

    fn range_from(&self, start: u64) -> PageRange {
        let size = u64::from(self.query.page_size);
        match self.mode {
            Mode::Moving if start > 0 => PageRange {
                start: start - 1,
                size,
                by: Addressing::Offset,
            },
            _ => PageRange {
                start,
                size,
                by: Addressing::Page,
            },
        }
    }

    /// Takes the response for the next range in order. `is_fresh` says that it was requested after every earlier
    /// response was used.
    pub(super) fn advance(
        &mut self,
        range: PageRange,
        is_fresh: bool,
        response: RecordPage,
        call: &Call,
    ) -> Result<Step> {
        let count = response.records.len() as u64;
        match self.mode {
            Mode::Growing => {
                let is_older = matches!((response.total_count, self.total), (Some(now), Some(before)) if now < before);
                let is_unknown = response.total_count.is_none() || self.total.is_none();
                if !is_fresh && (is_older || is_unknown) {
                    return Ok(Step::Retry(range));
                }
            }
            Mode::Moving if range.start > 0 => {
                let certificates = || response.records.iter().flatten();
                let keys = || certificates().map(|certificate| key(certificate.id()));
                if !self.offset_supported {
                    // The overlap is at the start of a response that supports the offset, give or take what the list
                    // moved; and at the end of one that repeats the beginning.
                    let overlap = keys().position(|key| Some(key) == self.last);
                    if overlap.is_none_or(|place| place as u64 > range.size / 2) {
                        self.offset_misses += 1;
                        if self.offset_misses >= Self::MAX_OFFSET_MISSES {
                            self.mode = Mode::Growing;
                        }
                        return Ok(Step::Restart);
                    }
                    self.offset_supported = true;
                }
                if !keys().any(|key| self.seen.contains(&key)) {
                    self.step_back = (self.step_back * 2).max(range.size / 2);
                    let start = (range.start + 1).saturating_sub(self.step_back);
                    tracing::debug!(start, "the list moved; stepping back");
                    return Ok(Step::Retry(self.range_from(start)));
                }
            }
            Mode::Moving => {}
        }
        let page = self.read(response, call);
        self.step_back = 0;
        self.used += 1;
        self.total = page.total_count;
        let reached = range.start + count;
        self.ended = count < range.size || page.total_count.is_some_and(|total| reached >= total);
        self.repeats = if page.certificates.is_empty() {
            self.repeats + 1
        } else {
            0
        };
        if self.repeats >= Self::MAX_REPEATS && !self.ended {
            let problem = "the list does not end: its pages repeat what earlier ones held";
            return Err(Error::invalid_response(call.clone(), problem, ""));
        }
        Ok(Step::Page(page))
    }

    fn read(&mut self, response: RecordPage, call: &Call) -> Page {
        let mut page = Page {
            certificates: Vec::with_capacity(response.records.len()),
            unreadable: Vec::new(),
            total_count: response.total_count,
        };
        for record in response.records {
            let certificate = match record {
                Ok(certificate) => certificate,
                Err(unreadable) => {
                    page.unreadable.push(unreadable);
                    continue;
                }
            };
            let key = key(certificate.id());
            self.last = Some(key);
            let is_wanted = self.service_filter() != StatusFilter::All
                || self.query.filter.matches(certificate.status());
            if is_wanted && self.seen.insert(key) {
                page.certificates.push(certificate);
            }
        }
        page
    }

    /// What the service filters by. Nothing if the list is filtered here.
    pub(super) fn service_filter(&self) -> StatusFilter {
        match self.mode {
            Mode::Growing => StatusFilter::All,
            Mode::Moving => self.query.filter,
        }
    }
}
