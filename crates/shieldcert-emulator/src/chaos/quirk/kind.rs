//! What a quirk changes.

use std::time::Duration;

use jiff::SignedDuration;

use crate::settings::Order;

/// What a quirk changes, with its argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    // Lists.
    Cap(u64),
    Cut(u64),
    RepeatPage,
    IgnorePage,
    IgnorePerPage,
    IgnoreOffset,
    IgnoreStatus,
    BeyondEnd(BeyondEnd),
    Total(Total),
    Order(Order),
    // Replicas.
    Lag(Duration),
    // Records.
    Record(Record),
    // The CA.
    Backdate(Duration),
    MaxValidity(u64),
    ExtraValidity(u64),
    // Refusals.
    RefuseRepeats,
    RefuseWith200,
    // Headers.
    NoDate,
    DateOffset(SignedDuration),
    RetryAfter(RetryAfter),
    NoRateLimit,
}

/// What a page beyond the end of a list is. By default it is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BeyondEnd {
    BadRequest,
    NotFound,
    LastPage,
}

/// What `total_count` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Total {
    Missing,
    Text,
    Zero,
    /// The number of records of the page.
    Page,
    Active,
    /// The right number, as `2.0`.
    Float,
    Fixed(u64),
    /// The number of this time ago.
    Lag(Duration),
    /// The number of the last multiple of this time.
    Cached(Duration),
}

/// What is different in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    Csr { form: Csr, in_lists_alone: bool },
    Certificate(Certificate),
    Serial(Notation),
    Fingerprint(Notation),
    Time { field: &'static str, form: Time },
    NoId,
    OddId,
    Null,
    Nested,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Csr {
    Null,
    Missing,
    /// Base64 on one line, without the PEM around it.
    Bare,
    /// On one line, with `\n` as two characters.
    Escaped,
    /// PEM with the label that old tools write, and lines of 76 characters.
    Reencoded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certificate {
    Null,
    Missing,
    /// With the CA's certificate behind it.
    Chain,
    /// With the CA's certificate in front of it.
    ReversedChain,
}

/// How bytes are written. By default in lower-case hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    ZeroX,
    Blanks,
    Colons,
    Upper,
    Decimal,
    Sha256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    Null,
    Missing,
    /// As Go prints a time: `2014-01-01 05:20:00 +0000 UTC`.
    Go,
}

/// The value of `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryAfter {
    Missing,
    Text(&'static str),
    /// The time when it ends, as an HTTP-date.
    Date,
}
