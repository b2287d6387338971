//! What must hold in the end, checked against the service itself.

use std::collections::{BTreeMap, BTreeSet};

use shieldcert::StatusFilter;

use super::history::History;
use super::record::{Fixed, IssuingEnd, Listing, Record};
use super::service::{Held, plain};
use super::settings::Settings;

/// Checks what was recorded against what the service holds. `fixed` are the certificates that nobody was to touch,
/// with their statuses.
pub(super) fn check(
    record: &Record,
    fixed: &BTreeMap<String, Fixed>,
    held: &[Held],
    settings: &Settings,
    history: &History,
) {
    exactly_once(record, held, settings, history);
    untouched(fixed, held, history);
    for listing in &record.listings {
        complete(listing, settings, history);
    }
}

/// At most one certificate is returned for a request, and none is left beside it, unless the outcome is unknown.
fn exactly_once(record: &Record, held: &[Held], settings: &Settings, history: &History) {
    #[derive(Default)]
    struct Issued<'a> {
        returned: Vec<&'a str>,
        /// How many issues may have left a certificate that they did not return.
        open: usize,
        failures: Vec<&'a str>,
        is_shared: bool,
    }
    let mut by_name = BTreeMap::<&str, Issued<'_>>::new();
    for issuing in &record.issuings {
        let issued = by_name.entry(&issuing.common_name).or_default();
        issued.is_shared |= issuing.is_shared;
        match &issuing.end {
            IssuingEnd::Issued { id, surplus } => {
                issued.returned.push(id);
                issued.open += surplus;
            }
            IssuingEnd::CleanFailure(error) => issued.failures.push(error),
            IssuingEnd::Unknown | IssuingEnd::Dropped => issued.open += 1,
            IssuingEnd::Wrong(error) => {
                issued.open += 1;
                if !settings.issues_wrong_certificates {
                    history.broken(format_args!(
                        "promise 7: the certificate for {} is what was asked for, but {error}",
                        issuing.common_name
                    ));
                }
            }
        }
    }
    let mut all_returned = BTreeSet::new();
    for (name, issued) in by_name {
        for id in &issued.returned {
            if !all_returned.insert(*id) {
                history.broken(format_args!(
                    "promise 1: {id} was returned twice, for {name}"
                ));
            }
            if !issued.is_shared && record.elsewhere.contains(*id) {
                history.broken(format_args!(
                    "promise 1: {id} was returned for {name}, and another tool has issued it"
                ));
            }
        }
        let of_name = || held.iter().filter(|held| held.common_name == name);
        for id in &issued.returned {
            match of_name().find(|held| plain(&held.id) == *id) {
                Some(held) if held.status == "active" => {}
                Some(held) => history.broken(format_args!(
                    "promise 1: {id} was returned for {name}, and is {}",
                    held.status
                )),
                None => history.broken(format_args!(
                    "promise 1: {id} was returned for {name}, which is another's"
                )),
            }
        }
        let is_accounted_for =
            |id: &str| all_returned.contains(id) || record.elsewhere.contains(id);
        let surplus = of_name()
            .filter(|held| held.status == "active" && !is_accounted_for(&plain(&held.id)))
            .count();
        // What the service does after the settle window is left to the next clean-up. That nothing was issued is only
        // said where no request was unclear.
        let is_certain =
            !settings.acts_after_settle_window || issued.returned.is_empty() && issued.open == 0;
        if surplus > issued.open && is_certain && !issued.is_shared {
            history.broken(format_args!(
                "promise 1: {surplus} active certificates for {name} were not returned; {} may be, {} were, and \
                 clean failures are {:?}",
                issued.open,
                issued.returned.len(),
                issued.failures
            ));
        }
    }
}

/// What nobody was to revoke is as it was.
fn untouched(fixed: &BTreeMap<String, Fixed>, held: &[Held], history: &History) {
    for held in held {
        if let Some(expected) = fixed.get(&*plain(&held.id))
            && expected.status != held.status
        {
            history.broken(format_args!(
                "promise 1: {} was {}, and is {} without anybody's wish",
                held.id, expected.status, held.status
            ));
        }
    }
}

/// A list that ends well has everything that was there the whole time, once, and nothing that it was not asked for.
fn complete(listing: &Listing, settings: &Settings, history: &History) {
    let filter = listing.filter;
    let distinct: BTreeSet<_> = listing.listed.iter().collect();
    if distinct.len() != listing.listed.len() {
        let twice = listing.listed.len() - distinct.len();
        history.broken(format_args!(
            "promise 2: a list of {filter} has {twice} twice"
        ));
    }
    if listing.foreign > 0 {
        let foreign = listing.foreign;
        history.broken(format_args!(
            "promise 2: a list of {filter} has {foreign} of another status"
        ));
    }
    let missed = listing.lasting.iter().filter(|id| !distinct.contains(id));
    let missed = missed.count();
    let is_reported = settings.allows_missing(missed, listing.unreadable);
    // A record whose status is a lie can't be told from one that does not match.
    let is_known = filter == StatusFilter::All || !settings.lies_about_statuses;
    if !is_reported && is_known {
        history.broken(format_args!(
            "promise 2: a list of {filter} misses {missed} of {}, and {} can't be read",
            listing.lasting.len(),
            listing.unreadable
        ));
    }
}
