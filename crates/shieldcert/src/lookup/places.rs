//! Reads the places where certificates are, under every order that the list may have.
//!
//! A list is ordered by something that is not documented. Where an order by age, expiry or name agrees with every page
//! that was read, the certificate sought has a place under it. A few pages around that place show whether it is there.
//! If that holds under each order that the pages allow, the certificate is absent, whatever the order is. Under an
//! order by id it may be anywhere: where the pages allow that one, the whole list must be read.
//!
//! The pages of a place are read one after the other, each requested after the one before it has arrived. The list only
//! grows, so a record can only move to a later place, and none is missed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::collect::Collector;
use super::needle::Needle;
use super::order::{Field, Order, Place, Value};
use crate::certificate::ClientCertificate;
use crate::certificate::envelope::RecordPage;
use crate::context::Context;
use crate::error::Result;
use crate::list::List;
use crate::list::dedup::hash;

/// A lookup by name takes several requests for each name. More names are looked for in one range from the first to the
/// last.
const MAX_NAMES: usize = 4;

/// How many pages of a place are read before it is found out how long it is.
const FEW_PAGES: u64 = 4;

const PAGE_SIZE: u64 = List::MAX_PAGE_SIZE as u64;

/// The pages of a zone that were read, and what they hold.
pub(super) struct Places<'a> {
    context: &'a Context,
    collector: &'a mut Collector,
    pages: BTreeMap<u64, PageRead>,
    requests: u64,
}

struct PageRead {
    records: Vec<ClientCertificate>,
    /// How many records the response had, unreadable ones included.
    count: u64,
    total: Option<u64>,
    /// How many requests had been made before this one.
    number: u64,
}

/// Whether the places that were read prove that what was not found is absent.
pub(super) enum Completeness {
    Proven,
    /// The whole list must be read. It has about this many pages, if the service says so.
    Unproven {
        pages: Option<u64>,
    },
}

/// Where a value is, seen from the place of the certificate, in the direction of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Before,
    In,
    After,
}

impl<'a> Places<'a> {
    pub(super) fn new(context: &'a Context, collector: &'a mut Collector) -> Self {
        Self {
            context,
            collector,
            pages: BTreeMap::new(),
            requests: 0,
        }
    }

    /// Reads the end of the list where new certificates are, or both. For an early look, which can only find.
    pub(super) async fn read_ends(&mut self) -> Result<()> {
        let total = self.read(1).await?.total;
        let [oldest_first, newest_first] = [false, true].map(|descending| {
            let field = Field::Age;
            self.allows(Order { field, descending })
        });
        let is_enough = newest_first && !oldest_first || self.collector.has_all_matches();
        if !is_enough
            && let Some(last) = total.map(|total| total.div_ceil(PAGE_SIZE))
            && last > 1
        {
            self.read(last).await?;
        }
        Ok(())
    }

    /// Reads the places of all needles under every order that the list may have, in about so many requests at most.
    pub(super) async fn read_all(
        &mut self,
        needles: &[Arc<Needle>],
        max_requests: u64,
    ) -> Result<Completeness> {
        let first = self.read(1).await?;
        let Some(total) = first.total.filter(|_| first.count == PAGE_SIZE) else {
            return Ok(Completeness::Unproven { pages: None });
        };
        let last = total.div_ceil(PAGE_SIZE);
        let unproven = Ok(Completeness::Unproven { pages: Some(last) });
        for order in Order::ALL {
            if !self.allows(order) {
                continue;
            }
            let places: Option<Vec<Place>> = needles
                .iter()
                .map(|needle| order.field.place(needle))
                .collect();
            let Some(places) = places else {
                return unproven;
            };
            for place in merge(order.field, places) {
                // Half of the list for one place is as good as the whole.
                let max_requests = max_requests.min(self.requests + last / 2 + 4);
                if !self.read_place(order, &place, last, max_requests).await? {
                    return unproven;
                }
            }
        }
        // The records of one page may be in any order by accident.
        if self.pages.len() == 1 {
            let other = last.max(2);
            if self.read_once(other).await?.count == 0 && !self.is_end(other) {
                return unproven;
            }
        }
        // At least one order has to agree with all that was read.
        match Order::ALL.into_iter().any(|order| self.allows(order)) {
            true => Ok(Completeness::Proven),
            false => unproven,
        }
    }

    /// Whether every page that was read may be of a list in this order.
    fn allows(&self, order: Order) -> bool {
        order.allows(self.pages.values().flat_map(|page| &page.records))
    }

    async fn read(&mut self, number: u64) -> Result<&PageRead> {
        let list = List::new(self.context.clone());
        let RecordPage {
            records,
            total_count,
        } = Box::pin(list.single_page(number)).await?;
        let count = records.len() as u64;
        let mut readable = Vec::with_capacity(records.len());
        for record in records {
            match record {
                Ok(record) => {
                    self.collector.add(&record);
                    readable.push(record);
                }
                Err(unreadable) => self.collector.add_unreadable(hash(unreadable.json())),
            }
        }
        self.requests += 1;
        self.pages.insert(
            number,
            PageRead {
                records: readable,
                count,
                total: total_count,
                number: self.requests,
            },
        );
        Ok(&self.pages[&number])
    }

    async fn read_once(&mut self, number: u64) -> Result<&PageRead> {
        if self.pages.contains_key(&number) {
            return Ok(&self.pages[&number]);
        }
        self.read(number).await
    }

    /// Reads the pages that hold the place. `false` if the list turns out not to be what the order predicts, or if
    /// that takes more requests.
    async fn read_place(
        &mut self,
        order: Order,
        place: &Place,
        last: u64,
        max_requests: u64,
    ) -> Result<bool> {
        let Some(start) = self.find_start(order, place, last).await? else {
            return Ok(false);
        };
        let mut number = start;
        loop {
            let previous = self.pages.get(&(number - 1));
            let before = previous.map_or(0, |page| page.number);
            let is_gap = previous.is_some_and(|page| page.count < PAGE_SIZE);
            let page = match self.pages.get(&number) {
                Some(page) if page.number > before => page,
                _ => self.read(number).await?,
            };
            if page.count == 0 {
                return Ok(self.is_end(number));
            }
            // The page before it is not the last one, so it was cut, perhaps where the certificate is.
            if is_gap {
                return Ok(false);
            }
            if page.last_side(order, place) == Some(Side::After) {
                return Ok(true);
            }
            number += 1;
            if self.requests > max_requests {
                return Ok(false);
            }
            if number - start == FEW_PAGES && last / 2 > 2 * FEW_PAGES {
                // Where the place is longer than half of the list, the whole is read, and nothing before that.
                let middle = number + last / 2;
                if middle < last
                    && self.read_once(middle).await?.first_side(order, place) != Some(Side::After)
                {
                    return Ok(false);
                }
            }
        }
    }

    /// Whether the list ends before this page: it is empty, and the total agrees with the page before it.
    fn is_end(&self, number: u64) -> bool {
        let (Some(last), Some(page)) = (self.pages.get(&(number - 1)), self.pages.get(&number))
        else {
            return false;
        };
        let count = (number - 2) * PAGE_SIZE + last.count;
        page.count == 0 && last.total == Some(count)
    }

    /// Finds the first page that does not end before the place. `None` if the pages do not say.
    async fn find_start(&mut self, order: Order, place: &Place, last: u64) -> Result<Option<u64>> {
        // The page is one of these, both included. The last one may be followed by an empty page.
        let (mut low, mut high) = (1, last + 1);
        // A place without an end is at the end of the list, or close to it.
        let mut is_near_end = !order.descending && place.to.is_none();
        let mut distance = 1;
        let mut probe = if is_near_end { last } else { 1 };
        while low < high {
            let page = self.read_once(probe).await?;
            match (page.first_side(order, place), page.last_side(order, place)) {
                _ if page.count == 0 => high = probe,
                (_, Some(Side::Before)) => {
                    low = probe + 1;
                    is_near_end = false;
                }
                (Some(Side::Before), Some(_)) => return Ok(Some(probe)),
                (Some(_), Some(_)) => high = probe,
                // No record has the field.
                _ => return Ok(None),
            }
            probe = if is_near_end {
                high.saturating_sub(distance).max(low)
            } else {
                low + (high - low) / 2
            };
            distance *= 2;
        }
        Ok(Some(low))
    }
}

impl PageRead {
    fn first_side(&self, order: Order, place: &Place) -> Option<Side> {
        let first = self
            .records
            .iter()
            .find_map(|record| order.field.of(record));
        first.map(|value| Side::of(&value, order, place))
    }

    fn last_side(&self, order: Order, place: &Place) -> Option<Side> {
        let last = self
            .records
            .iter()
            .rev()
            .find_map(|record| order.field.of(record));
        last.map(|value| Side::of(&value, order, place))
    }
}

impl Side {
    fn of(value: &Value, order: Order, place: &Place) -> Self {
        let is_smaller = place.from.as_ref().is_some_and(|from| value < from);
        let is_larger = place.to.as_ref().is_some_and(|to| value > to);
        match (is_smaller, is_larger) {
            (false, false) => Self::In,
            (true, _) if order.descending => Self::After,
            (true, _) => Self::Before,
            (_, true) if order.descending => Self::Before,
            (_, true) => Self::After,
        }
    }
}

/// Merges the places of several needles.
fn merge(field: Field, places: Vec<Place>) -> Vec<Place> {
    let is_from_now_on = matches!(field, Field::Age | Field::Expiry);
    if !is_from_now_on && places.len() <= MAX_NAMES {
        return places;
    }
    // Devices that are issued one after the other are often close together by name, too.
    let ends = places.into_iter().map(|place| (place.from, place.to));
    let (from, to): (Vec<_>, Vec<_>) = ends.unzip();
    // An end that is missing is open, and so is that of all then.
    let from: Option<Vec<_>> = from.into_iter().collect();
    let to: Option<Vec<_>> = to.into_iter().collect();
    vec![Place {
        from: from.and_then(|from| from.into_iter().min()),
        to: to.and_then(|to| to.into_iter().max()),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_includes_both_of_its_ends() {
        let text = |text: &str| Value::Text(text.to_owned());
        let field = Field::Name;
        let [ascending, descending] = [false, true].map(|descending| Order { field, descending });
        let bounded = Place {
            from: Some(text("b")),
            to: Some(text("c")),
        };
        let open = Place {
            from: Some(text("b")),
            to: None,
        };
        for (value, place, expected) in [
            ("a", &bounded, Side::Before),
            ("b", &bounded, Side::In),
            ("c", &bounded, Side::In),
            ("d", &bounded, Side::After),
            ("a", &open, Side::Before),
            ("b", &open, Side::In),
            ("d", &open, Side::In),
        ] {
            assert_eq!(
                Side::of(&text(value), ascending, place),
                expected,
                "{value}"
            );
            let expected = match expected {
                Side::Before => Side::After,
                Side::In => Side::In,
                Side::After => Side::Before,
            };
            assert_eq!(
                Side::of(&text(value), descending, place),
                expected,
                "{value}"
            );
        }
    }
}
