//! Bounds the requests of a list.

use super::reading::Reading;
use super::step::Step;

/// How many more responses may bring nothing new than something new.
const MAX_USELESS: u64 = 50;
/// How often the list may be read from its beginning again.
const MAX_REWINDS: u64 = 50;
/// How many responses in a row may leave as much to be read as there was.
const MAX_WITHOUT_APPROACH: u64 = 100;
/// How many responses may bring something new where no total says how much there is.
const MAX_WITHOUT_TOTAL: u64 = 25_000;

/// What the responses so far have brought.
#[derive(Default)]
pub(super) struct Budget {
    productive: u64,
    useless: u64,
    rewinds: u64,
    /// The least that was left to be read, as far as totals show it.
    least_left: Option<u64>,
    /// How many productive responses left more since then.
    without_approach: u64,
    /// How many were productive without a total that says that there is more.
    without_total: u64,
}

impl Budget {
    /// Takes note of what a response led to.
    pub(super) fn note(&mut self, step: &Step, is_beginning: bool, reading: &Reading) {
        self.rewinds += u64::from(is_beginning);
        if !matches!(step, Step::Page { has_new: true, .. }) {
            self.useless += 1;
            return;
        }
        self.productive += 1;
        let left = reading
            .total
            .map_or(0, |total| total.saturating_sub(reading.place));
        self.without_approach += 1;
        if left == 0 {
            self.without_total += 1;
        }
        if left == 0 || !reading.only_grows || self.least_left.is_none_or(|least| left < least) {
            self.least_left = Some(left);
            self.without_approach = 0;
        }
    }

    /// Whether the list would be read for ever: it changes faster than it is read, or the service repeats itself.
    pub(super) fn is_spent(&self) -> bool {
        self.useless > MAX_USELESS + self.productive
            || self.rewinds > MAX_REWINDS
            || self.without_approach > MAX_WITHOUT_APPROACH
            || self.without_total > MAX_WITHOUT_TOTAL
    }
}
