//! The quirks, in one table.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::SignedDuration;

use super::kind::{BeyondEnd, Certificate, Csr, Kind, Notation, Record, RetryAfter, Time, Total};
use crate::error::ParseError;
use crate::settings::Order;

/// A row of the table of quirks.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) parameter: Parameter,
    pub(super) effect: &'static str,
}

/// What follows a quirk's name.
#[derive(Debug)]
pub(super) enum Parameter {
    None(Kind),
    Choice(&'static [(&'static str, Kind)]),
    Number(RangeInclusive<u64>, fn(u64) -> Kind),
    Time(fn(Duration) -> Kind),
    /// A time with a sign.
    Offset(fn(SignedDuration) -> Kind),
}

/// The longest time that can be written: 100 years.
const MAX: Duration = Duration::from_secs(100 * 366 * 86_400);

impl Parameter {
    /// What the quirk changes, with the argument that was written.
    pub(super) fn parse(&self, name: &str, text: Option<&str>) -> Result<Kind, ParseError> {
        let parsed = match (self, text) {
            (Self::None(kind), None) => Some(*kind),
            (Self::None(_), Some(_)) => {
                return Err(ParseError::new(format!("{name} takes no parameter")));
            }
            (_, None) => None,
            (Self::Choice(choices), Some(text)) => {
                let mut choices = choices.iter();
                choices
                    .find(|(name, _)| *name == text)
                    .map(|(_, kind)| *kind)
            }
            (Self::Number(range, kind), Some(text)) => {
                let number = text.parse().ok().filter(|number| range.contains(number));
                number.map(kind)
            }
            (Self::Time(kind), Some(text)) => parse_time(text)
                .and_then(|time| Duration::try_from(time).ok())
                .map(kind),
            (Self::Offset(kind), Some(text)) => parse_time(text).map(kind),
        };
        parsed.ok_or_else(|| {
            let problem = match text {
                Some(text) => format!("{text:?} is not a parameter of {name}"),
                None => format!("{name} needs a parameter"),
            };
            ParseError::new(format!("{problem}; {}", self.hint(name)))
        })
    }

    /// What to write.
    fn hint(&self, name: &str) -> String {
        match self {
            Self::None(_) => format!("write {name}"),
            Self::Choice(choices) => {
                let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
                format!("write {name}= and one of {}", names.join(", "))
            }
            Self::Number(range, _) => {
                let (low, high) = (range.start(), range.end());
                format!("write {name}= and a whole number from {low} to {high}")
            }
            Self::Time(_) => format!("write {name}=5s, {name}=10m or {name}=1h"),
            Self::Offset(_) => format!("write {name}=3h or {name}=-3h"),
        }
    }

    /// How the parameter is written, for the documentation.
    pub(super) fn usage(&self) -> String {
        match self {
            Self::None(_) => String::new(),
            Self::Choice(choices) => {
                let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
                names.join("|")
            }
            Self::Number(..) => "N".to_owned(),
            Self::Time(_) => "TIME".to_owned(),
            Self::Offset(_) => "±TIME".to_owned(),
        }
    }
}

fn parse_time(text: &str) -> Option<SignedDuration> {
    let time: SignedDuration = text.strip_prefix('+').unwrap_or(text).parse().ok()?;
    (time.unsigned_abs() <= MAX).then_some(time)
}

const fn row(name: &'static str, parameter: Parameter, effect: &'static str) -> Row {
    Row {
        name,
        parameter,
        effect,
    }
}

const fn csr(form: Csr, in_lists_alone: bool) -> Kind {
    Kind::Record(Record::Csr {
        form,
        in_lists_alone,
    })
}

const fn time(field: &'static str, form: Time) -> Kind {
    Kind::Record(Record::Time { field, form })
}

/// Every quirk. The documentation and the help text are made from this table.
pub(super) static QUIRKS: [Row; 34] = [
    row(
        "cap",
        Parameter::Number(1..=1000, Kind::Cap),
        "A page holds at most N records, whatever the request asks for. The next page follows it.",
    ),
    row(
        "cut",
        Parameter::Number(0..=1000, Kind::Cut),
        "A page is cut to its first N records. The next page begins where it would without the cut.",
    ),
    row(
        "repeat-page",
        Parameter::None(Kind::RepeatPage),
        "A page is the one before the one that the request asks for.",
    ),
    row(
        "ignore-page",
        Parameter::None(Kind::IgnorePage),
        "`page` is ignored: every page is the first.",
    ),
    row(
        "ignore-per-page",
        Parameter::None(Kind::IgnorePerPage),
        "`per_page` is ignored: every page has 20 records.",
    ),
    row(
        "ignore-offset",
        Parameter::None(Kind::IgnoreOffset),
        "`offset` and `limit` are ignored.",
    ),
    row(
        "ignore-status",
        Parameter::None(Kind::IgnoreStatus),
        "The filter `status` is ignored.",
    ),
    row(
        "beyond-end",
        Parameter::Choice(&[
            ("400", Kind::BeyondEnd(BeyondEnd::BadRequest)),
            ("404", Kind::BeyondEnd(BeyondEnd::NotFound)),
            ("last", Kind::BeyondEnd(BeyondEnd::LastPage)),
        ]),
        "A page beyond the end is that error, or the last page again.",
    ),
    row(
        "total",
        Parameter::Choice(&[
            ("missing", Kind::Total(Total::Missing)),
            ("text", Kind::Total(Total::Text)),
            ("zero", Kind::Total(Total::Zero)),
            ("page", Kind::Total(Total::Page)),
            ("active", Kind::Total(Total::Active)),
            ("float", Kind::Total(Total::Float)),
        ]),
        "`total_count` is missing, a string, 0, the page's own count, that of the active ones alone, or like `230.0`.",
    ),
    row(
        "total-fixed",
        Parameter::Number(0..=1_000_000_000, |n| Kind::Total(Total::Fixed(n))),
        "`total_count` is N.",
    ),
    row(
        "total-lag",
        Parameter::Time(|time| Kind::Total(Total::Lag(time))),
        "`total_count` is that of this time ago. Needs the store in memory.",
    ),
    row(
        "total-cache",
        Parameter::Time(|time| Kind::Total(Total::Cached(time))),
        "`total_count` comes from a cache that is filled again after this time. Needs the store in memory.",
    ),
    row(
        "order",
        Parameter::Choice(&[
            ("newest", Kind::Order(Order::NewestFirst)),
            ("oldest", Kind::Order(Order::OldestFirst)),
            ("id", Kind::Order(Order::ById)),
            ("name", Kind::Order(Order::ByName)),
            ("expiry", Kind::Order(Order::ByExpiry)),
        ]),
        "Lists are in that order. By name and by expiry need the store in memory.",
    ),
    row(
        "lag",
        Parameter::Time(Kind::Lag),
        "Lists and gets show the state of this time ago: a get of a younger certificate is a 404. Needs the store in \
         memory.",
    ),
    row(
        "csr",
        Parameter::Choice(&[
            ("null", csr(Csr::Null, false)),
            ("missing", csr(Csr::Missing, false)),
            ("bare", csr(Csr::Bare, false)),
            ("escaped", csr(Csr::Escaped, false)),
            ("reencoded", csr(Csr::Reencoded, false)),
        ]),
        "In lists and gets, `csr` is null, missing, base64 without PEM, on one line with a literal `\\n`, or PEM with \
         another width and `NEW CERTIFICATE REQUEST`.",
    ),
    row(
        "list-csr",
        Parameter::Choice(&[
            ("null", csr(Csr::Null, true)),
            ("missing", csr(Csr::Missing, true)),
            ("bare", csr(Csr::Bare, true)),
            ("escaped", csr(Csr::Escaped, true)),
            ("reencoded", csr(Csr::Reencoded, true)),
        ]),
        "The same in lists alone.",
    ),
    row(
        "certificate",
        Parameter::Choice(&[
            ("null", Kind::Record(Record::Certificate(Certificate::Null))),
            (
                "missing",
                Kind::Record(Record::Certificate(Certificate::Missing)),
            ),
            (
                "chain",
                Kind::Record(Record::Certificate(Certificate::Chain)),
            ),
            (
                "chain-reversed",
                Kind::Record(Record::Certificate(Certificate::ReversedChain)),
            ),
        ]),
        "`certificate` is null, missing, followed by the CA's, or preceded by it.",
    ),
    row(
        "serial",
        Parameter::Choice(&[
            ("0x", Kind::Record(Record::Serial(Notation::ZeroX))),
            ("blanks", Kind::Record(Record::Serial(Notation::Blanks))),
            ("colons", Kind::Record(Record::Serial(Notation::Colons))),
            ("upper", Kind::Record(Record::Serial(Notation::Upper))),
            ("decimal", Kind::Record(Record::Serial(Notation::Decimal))),
        ]),
        "Serial numbers are written like that.",
    ),
    row(
        "fingerprint",
        Parameter::Choice(&[
            ("0x", Kind::Record(Record::Fingerprint(Notation::ZeroX))),
            (
                "blanks",
                Kind::Record(Record::Fingerprint(Notation::Blanks)),
            ),
            (
                "colons",
                Kind::Record(Record::Fingerprint(Notation::Colons)),
            ),
            ("upper", Kind::Record(Record::Fingerprint(Notation::Upper))),
            (
                "sha256",
                Kind::Record(Record::Fingerprint(Notation::Sha256)),
            ),
        ]),
        "Fingerprints are written like that; `sha256` puts `sha256:` before them.",
    ),
    row(
        "issued-on",
        Parameter::Choice(&[
            ("null", time("issued_on", Time::Null)),
            ("missing", time("issued_on", Time::Missing)),
            ("go", time("issued_on", Time::Go)),
        ]),
        "`issued_on` is null, missing, or like `2014-01-01 05:20:00 +0000 UTC`.",
    ),
    row(
        "expires-on",
        Parameter::Choice(&[
            ("null", time("expires_on", Time::Null)),
            ("missing", time("expires_on", Time::Missing)),
            ("go", time("expires_on", Time::Go)),
        ]),
        "The same for `expires_on`.",
    ),
    row(
        "no-id",
        Parameter::None(Kind::Record(Record::NoId)),
        "In lists and gets, a record has no `id`.",
    ),
    row(
        "odd-id",
        Parameter::None(Kind::Record(Record::OddId)),
        "The `id` has 40 to 255 characters that a path must percent-encode. Requests may use it.",
    ),
    row(
        "null-record",
        Parameter::None(Kind::Record(Record::Null)),
        "In lists and gets, a record is null.",
    ),
    row(
        "nested-record",
        Parameter::None(Kind::Record(Record::Nested)),
        "In lists and gets, a record has objects where strings belong, but for its `id`.",
    ),
    row(
        "backdate",
        Parameter::Time(Kind::Backdate),
        "The CA signs with a time this long ago, rounded down to the minute.",
    ),
    row(
        "max-validity",
        Parameter::Number(1..=5475, Kind::MaxValidity),
        "The CA signs for at most N days.",
    ),
    row(
        "extra-validity",
        Parameter::Number(1..=5475, Kind::ExtraValidity),
        "The CA signs for N days more than the request asks for.",
    ),
    row(
        "refuse-repeats",
        Parameter::None(Kind::RefuseRepeats),
        "Revoking what is revoked, or reactivating what is active, is refused with HTTP status 409.",
    ),
    row(
        "refuse-with-200",
        Parameter::None(Kind::RefuseWith200),
        "Refusals have the HTTP status 200, but for 429s.",
    ),
    row(
        "no-date",
        Parameter::None(Kind::NoDate),
        "The header `Date` is missing. Over HTTP it is empty.",
    ),
    row(
        "date-offset",
        Parameter::Offset(Kind::DateOffset),
        "The header `Date` is off by this time.",
    ),
    row(
        "retry-after",
        Parameter::Choice(&[
            ("missing", Kind::RetryAfter(RetryAfter::Missing)),
            ("0", Kind::RetryAfter(RetryAfter::Text("0"))),
            ("1", Kind::RetryAfter(RetryAfter::Text("1"))),
            ("fraction", Kind::RetryAfter(RetryAfter::Text("2.5"))),
            ("date", Kind::RetryAfter(RetryAfter::Date)),
            ("huge", Kind::RetryAfter(RetryAfter::Text("31536000"))),
            (
                "overflow",
                Kind::RetryAfter(RetryAfter::Text("99999999999999999999999")),
            ),
            ("text", Kind::RetryAfter(RetryAfter::Text("soon"))),
        ]),
        "`Retry-After` is missing, or has that value: `2.5`, an HTTP-date, a year, or more than fits.",
    ),
    row(
        "no-ratelimit",
        Parameter::None(Kind::NoRateLimit),
        "The headers `Ratelimit` and `Ratelimit-Policy` are missing.",
    ),
];
