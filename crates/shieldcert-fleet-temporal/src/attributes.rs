//! The search attributes of devices. They are for display and for reconciliation: visibility lags, so nothing is decided by
//! them.

use std::collections::HashMap;

use jiff::Timestamp;
use temporalio_client::Connection;
use temporalio_common::protos::temporal::api::enums::v1::IndexedValueType;
use temporalio_common::protos::temporal::api::operatorservice::v1::{
    AddSearchAttributesRequest, ListSearchAttributesRequest,
};
use temporalio_common::search_attributes::{
    SearchAttributeKey, SearchAttributeUpdate, SearchAttributes, Timestamp as ShownTime,
};
use tonic::{Code, Request};

use crate::names::FleetName;
use crate::state::{Done, Shown};

/// The fleet.
pub(crate) const FLEET: SearchAttributeKey<String> = SearchAttributeKey::keyword("ShieldcertFleet");
/// `working`, `looking`, `waiting`, `verified`, `none`, `paused` or `unmanaged`.
pub(crate) const STATE: SearchAttributeKey<String> = SearchAttributeKey::keyword("ShieldcertState");
/// What it waits for.
pub(crate) const HOLD: SearchAttributeKey<String> = SearchAttributeKey::keyword("ShieldcertHold");
/// The worker that has its key.
pub(crate) const WORKER: SearchAttributeKey<String> =
    SearchAttributeKey::keyword("ShieldcertWorker");
/// The digest of its row and its policy.
pub(crate) const ROW: SearchAttributeKey<String> = SearchAttributeKey::keyword("ShieldcertRow");
/// The beginnings of the digests of its CSRs.
pub(crate) const CSRS: SearchAttributeKey<Vec<String>> =
    SearchAttributeKey::keyword_list("ShieldcertCsrs");
/// The certificates that are in a generation's place.
pub(crate) const CERTIFICATES: SearchAttributeKey<Vec<String>> =
    SearchAttributeKey::keyword_list("ShieldcertCertificates");
/// When the certificate in use expires.
pub(crate) const EXPIRES: SearchAttributeKey<ShownTime> =
    SearchAttributeKey::datetime("ShieldcertExpires");
/// When it is to be renewed.
pub(crate) const DUE: SearchAttributeKey<ShownTime> = SearchAttributeKey::datetime("ShieldcertDue");

/// What was done for it, in JSON: the counts that `apply` adds up.
pub(crate) const DONE: SearchAttributeKey<String> = SearchAttributeKey::keyword("ShieldcertDone");

/// Their names, and their types as the server calls them.
pub const ATTRIBUTES: [(&str, &str); 10] = [
    ("ShieldcertFleet", "Keyword"),
    ("ShieldcertState", "Keyword"),
    ("ShieldcertHold", "Keyword"),
    ("ShieldcertWorker", "Keyword"),
    ("ShieldcertRow", "Keyword"),
    ("ShieldcertCsrs", "KeywordList"),
    ("ShieldcertCertificates", "KeywordList"),
    ("ShieldcertExpires", "Datetime"),
    ("ShieldcertDue", "Datetime"),
    ("ShieldcertDone", "Keyword"),
];

/// The attributes of a device that is begun.
pub(crate) fn initial(fleet: &FleetName, shown: &Shown) -> SearchAttributes {
    let mut updates = vec![FLEET.value_set(fleet.to_string())];
    updates.extend(changes(None, shown));
    SearchAttributes::new(updates)
}

/// What the attributes show where there is nothing. The SDK can't take an attribute away: what it sends is refused.
const NONE: &str = "none";
/// The first second of 2200.
const NEVER: i64 = 7_258_118_400;

/// What changes of the attributes.
pub(crate) fn changes(before: Option<&Shown>, now: &Shown) -> Vec<SearchAttributeUpdate> {
    let mut updates = Vec::new();
    let mut add = |is_same: Option<bool>, update: SearchAttributeUpdate| {
        if is_same != Some(true) {
            updates.push(update);
        }
    };
    let word = |word: &Option<String>| word.clone().unwrap_or_else(|| NONE.to_owned());
    add(
        before.map(|before| before.state == now.state),
        STATE.value_set(now.state.clone()),
    );
    add(
        before.map(|before| before.hold == now.hold),
        HOLD.value_set(word(&now.hold)),
    );
    add(
        before.map(|before| before.worker == now.worker),
        WORKER.value_set(word(&now.worker)),
    );
    add(
        before.map(|before| before.row == now.row),
        ROW.value_set(now.row.clone()),
    );
    add(
        before.map(|before| before.csrs == now.csrs),
        CSRS.value_set(now.csrs.clone()),
    );
    add(
        before.map(|before| before.certificates == now.certificates),
        CERTIFICATES.value_set(now.certificates.clone()),
    );
    add(
        before.map(|before| before.expires == now.expires),
        EXPIRES.value_set(show_time(now.expires)),
    );
    add(
        before.map(|before| before.due == now.due),
        DUE.value_set(show_time(now.due)),
    );
    add(
        before.map(|before| before.done == now.done),
        DONE.value_set(serde_json::to_string(&now.done).unwrap_or_default()),
    );
    updates
}

fn show_time(time: Option<Timestamp>) -> ShownTime {
    let seconds = time.map_or(NEVER, Timestamp::as_second);
    ShownTime::new(seconds.clamp(0, NEVER), 0)
}

/// The word of an attribute. `None`: there is nothing.
pub(crate) fn read_word(
    shown: &SearchAttributes,
    key: &SearchAttributeKey<String>,
) -> Option<String> {
    shown.get(key).filter(|word| word != NONE)
}

/// The time of an attribute. `None`: there is nothing.
pub(crate) fn read_time(
    shown: &SearchAttributes,
    key: &SearchAttributeKey<ShownTime>,
) -> Option<Timestamp> {
    let time = shown.get(key).filter(|time| time.seconds() < NEVER)?;
    Timestamp::from_second(time.seconds()).ok()
}

/// What was done for a device.
pub(crate) fn read_done(shown: &SearchAttributes) -> Done {
    let done = shown.get(&DONE).unwrap_or_default();
    serde_json::from_str(&done).unwrap_or_default()
}

/// Adds the attributes that the namespace does not have.
///
/// # Errors
/// Returns what to do where that is not possible, as at Temporal Cloud.
pub(crate) async fn register(connection: &Connection, namespace: &str) -> Result<(), String> {
    let command = || {
        let all = ATTRIBUTES.map(|(name, kind)| format!("--name {name} --type {kind}"));
        format!(
            "add them by hand: temporal operator search-attribute create --namespace {namespace} {}",
            all.join(" ")
        )
    };
    let mut service = connection.operator_service();
    let listed = service
        .list_search_attributes(Request::new(ListSearchAttributesRequest {
            namespace: namespace.to_owned(),
        }))
        .await;
    let known = match listed {
        Ok(listed) => listed.into_inner().custom_attributes,
        // An API key may not be allowed to look. A device can't be begun without them, which says so.
        Err(status) if status.code() == Code::PermissionDenied => return Ok(()),
        Err(status) => {
            return Err(format!(
                "the search attributes can't be listed: {}; {}",
                status.message(),
                command()
            ));
        }
    };
    let kind = |kind: &str| match kind {
        "Datetime" => IndexedValueType::Datetime,
        "KeywordList" => IndexedValueType::KeywordList,
        _ => IndexedValueType::Keyword,
    };
    let missing: HashMap<String, i32> = ATTRIBUTES
        .iter()
        .filter(|(name, _)| !known.contains_key(*name))
        .map(|(name, word)| ((*name).to_owned(), kind(word) as i32))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let added = service
        .add_search_attributes(Request::new(AddSearchAttributesRequest {
            search_attributes: missing,
            namespace: namespace.to_owned(),
        }))
        .await;
    match added {
        Ok(_) => Ok(()),
        // Another process was first.
        Err(status) if status.code() == Code::AlreadyExists => Ok(()),
        Err(status) => Err(format!(
            "search attributes are missing, and can't be added: {}; {}",
            status.message(),
            command()
        )),
    }
}
