//! Faults on purpose: what a network and a service in trouble do to requests and answers.
//!
//! A list of faults, each with how often it strikes, in the order in which they are tried:
//!
//! ```text
//! lose-answer=5%, late=2%:1s..60s, html=1%
//! ```
//!
//! | fault | what happens |
//! | --- | --- |
//! | `lose-request` | the request never arrives; nothing is answered |
//! | `lose-answer` | the service acts; nothing is answered |
//! | `502-before` | a gateway answers 502, and the service has seen nothing |
//! | `502-after` | the service acts, and a gateway answers 502 |
//! | `late` | a gateway answers 504, and the service acts later: `late=2%:1s..60s` |
//! | `reset` | the connection breaks before the service acts |
//! | `reset-after` | the connection breaks after the service has acted |
//! | `stall` | the answer waits: `stall=5%:1s..10s` |
//! | `slow` | the answer comes a byte at a time: `slow=5%:1ms..20ms` between bytes |
//! | `html` | the service acts, and an HTML page is answered with status 200 |
//! | `truncate` | the service acts, and half of its answer comes |
//! | `rate-limit` | 429 for so long: `rate-limit=1%:1s..30s` |
//! | `unknown-status` | the certificates of the answer have a status that nobody knows |
//! | `null-fields` | the subject fields of the answer are null |
//! | `decimal-serials` | the serial numbers of the answer are decimal |
//! | `other-ids` | the ids of the answer are written the other way: in 32 hex digits, or as UUIDs |
//! | `reorder` | a list is answered in another order |
//!
//! One fault strikes a request at the most, drawn from the seed: the same requests in the same order meet
//! the same faults.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use crate::emulator::IdStyle;
use crate::random::Random;

/// Which faults strike, and how often.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chaos {
    faults: Vec<(Kind, f64, Span)>,
}

/// A stretch of time that is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: Duration,
    to: Duration,
}

/// What kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    LoseRequest,
    LoseAnswer,
    BadGatewayBefore,
    BadGatewayAfter,
    Late,
    Reset,
    ResetAfter,
    Stall,
    Slow,
    Html,
    Truncate,
    RateLimit,
    UnknownStatus,
    NullFields,
    DecimalSerials,
    OtherIds,
    Reorder,
}

/// A fault's name, and how long it takes if nothing is said, in milliseconds.
type Known = (&'static str, Kind, Option<(u64, u64)>);

const KINDS: [Known; 17] = [
    ("lose-request", Kind::LoseRequest, None),
    ("lose-answer", Kind::LoseAnswer, None),
    ("502-before", Kind::BadGatewayBefore, None),
    ("502-after", Kind::BadGatewayAfter, None),
    ("late", Kind::Late, Some((1_000, 60_000))),
    ("reset", Kind::Reset, None),
    ("reset-after", Kind::ResetAfter, None),
    ("stall", Kind::Stall, Some((1_000, 10_000))),
    ("slow", Kind::Slow, Some((1, 20))),
    ("html", Kind::Html, None),
    ("truncate", Kind::Truncate, None),
    ("rate-limit", Kind::RateLimit, Some((1_000, 30_000))),
    ("unknown-status", Kind::UnknownStatus, None),
    ("null-fields", Kind::NullFields, None),
    ("decimal-serials", Kind::DecimalSerials, None),
    ("other-ids", Kind::OtherIds, None),
    ("reorder", Kind::Reorder, None),
];

fn named(kind: Kind) -> &'static str {
    KINDS
        .iter()
        .find(|(_, known, _)| *known == kind)
        .map_or("", |(name, _, _)| name)
}

/// A fault that strikes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is answered; the service may have acted.
    Silence {
        acts: bool,
    },
    /// A gateway's answer in place of the service's.
    Gateway {
        acts: bool,
    },
    /// A gateway's answer now, and the service acts so much later.
    Late(Duration),
    /// The connection breaks.
    Reset {
        acts: bool,
    },
    Stall(Duration),
    Slow(Duration),
    Html,
    Truncate,
    RateLimit(Duration),
    /// The answer is right but for what it says.
    Altered(Alteration),
}

/// What is changed in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alteration {
    UnknownStatus,
    NullFields,
    DecimalSerials,
    OtherIds,
    Reorder,
}

impl Chaos {
    /// Draws what strikes the next request, if anything does.
    pub(crate) fn strike(&self, random: &Random) -> Option<(&'static str, Fault)> {
        if self.faults.is_empty() {
            return None;
        }
        let mut drawn = random.fraction();
        for (kind, share, span) in &self.faults {
            if drawn >= *share {
                drawn -= share;
                continue;
            }
            let time = || span.from + (span.to - span.from).mul_f64(random.fraction());
            let fault = match kind {
                Kind::LoseRequest => Fault::Silence { acts: false },
                Kind::LoseAnswer => Fault::Silence { acts: true },
                Kind::BadGatewayBefore => Fault::Gateway { acts: false },
                Kind::BadGatewayAfter => Fault::Gateway { acts: true },
                Kind::Late => Fault::Late(time()),
                Kind::Reset => Fault::Reset { acts: false },
                Kind::ResetAfter => Fault::Reset { acts: true },
                Kind::Stall => Fault::Stall(time()),
                Kind::Slow => Fault::Slow(time()),
                Kind::Html => Fault::Html,
                Kind::Truncate => Fault::Truncate,
                Kind::RateLimit => Fault::RateLimit(time()),
                Kind::UnknownStatus => Fault::Altered(Alteration::UnknownStatus),
                Kind::NullFields => Fault::Altered(Alteration::NullFields),
                Kind::DecimalSerials => Fault::Altered(Alteration::DecimalSerials),
                Kind::OtherIds => Fault::Altered(Alteration::OtherIds),
                Kind::Reorder => Fault::Altered(Alteration::Reorder),
            };
            return Some((named(*kind), fault));
        }
        None
    }
}

impl fmt::Display for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, share, span)) in self.faults.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}={}%", named(*kind), share * 100.0)?;
            let has_span = KINDS
                .iter()
                .any(|(_, known, span)| known == kind && span.is_some());
            if has_span {
                write!(f, ":{}ms..{}ms", span.from.as_millis(), span.to.as_millis())?;
            }
        }
        Ok(())
    }
}

impl FromStr for Chaos {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut faults = Vec::new();
        let items = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        for item in items {
            let (name, how) = item
                .split_once('=')
                .ok_or_else(|| format!("{item:?} does not say how often; write it as html=5%"))?;
            let name = name.trim();
            let known = KINDS.iter().find(|(known, _, _)| *known == name);
            let (_, kind, default) = known.ok_or_else(|| {
                let names = KINDS.map(|(name, _, _)| name).join(", ");
                format!("{name:?} is no fault; there are {names}")
            })?;
            if faults.iter().any(|(other, _, _)| other == kind) {
                return Err(format!("{name} is there twice"));
            }
            let (share, span) = match how.split_once(':') {
                None => (how, None),
                Some((share, span)) => (share, Some(span)),
            };
            let percent = share
                .trim()
                .strip_suffix('%')
                .and_then(|share| share.trim().parse::<f64>().ok());
            let percent = percent
                .filter(|percent| (0.0..=100.0).contains(percent))
                .ok_or_else(|| {
                    format!("{share:?} is not how often {name} strikes; write 0% to 100%")
                })?;
            let default = default.map(|(from, to)| Span {
                from: Duration::from_millis(from),
                to: Duration::from_millis(to),
            });
            let span = match (span, default) {
                (None, default) => default.unwrap_or(Span {
                    from: Duration::ZERO,
                    to: Duration::ZERO,
                }),
                (Some(span), Some(_)) => parse_span(span).ok_or_else(|| {
                    format!("{span:?} is no stretch of time; write 1s..60s or 20ms..500ms")
                })?,
                (Some(_), None) => return Err(format!("{name} takes no time")),
            };
            faults.push((*kind, percent / 100.0, span));
        }
        if faults.iter().map(|(_, share, _)| share).sum::<f64>() > 1.0 + 1e-9 {
            return Err("the faults strike more than 100% of the requests together".to_owned());
        }
        Ok(Self { faults })
    }
}

fn parse_span(text: &str) -> Option<Span> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let span = Span {
        from: parse_time(from.trim())?,
        to: parse_time(to.trim())?,
    };
    (span.from <= span.to).then_some(span)
}

fn parse_time(text: &str) -> Option<Duration> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text[..text.len() - unit.len()].parse().ok()?;
    let millis = match unit {
        "ms" => number,
        "s" => number.checked_mul(1000)?,
        "m" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        _ => return None,
    };
    (millis <= 86_400_000).then(|| Duration::from_millis(millis))
}

impl Alteration {
    /// Changes the certificates of an answer; what is no answer with certificates stays as it is.
    pub(crate) fn alter(self, body: &[u8]) -> Option<Vec<u8>> {
        let mut answer: Value = serde_json::from_slice(body).ok()?;
        match &mut answer["result"] {
            Value::Array(certificates) => {
                if self == Self::Reorder {
                    certificates.reverse();
                }
                certificates
                    .iter_mut()
                    .for_each(|certificate| self.alter_one(certificate));
            }
            Value::Object(_) => self.alter_one(&mut answer["result"]),
            _ => return None,
        }
        serde_json::to_vec(&answer).ok()
    }

    fn alter_one(self, certificate: &mut Value) {
        match self {
            Self::UnknownStatus => certificate["status"] = "archived".into(),
            Self::NullFields => {
                for field in [
                    "common_name",
                    "country",
                    "location",
                    "organization",
                    "organizational_unit",
                    "state",
                ] {
                    certificate[field] = Value::Null;
                }
            }
            Self::DecimalSerials => {
                let serial = certificate["serial_number"].as_str().map(str::to_owned);
                if let Some(decimal) = serial.and_then(|hex| decimal(&hex)) {
                    certificate["serial_number"] = decimal.into();
                }
            }
            Self::OtherIds => {
                let id = certificate["id"].as_str().unwrap_or_default();
                if let Ok(uuid) = Uuid::parse_str(id) {
                    let other = match id.contains('-') {
                        true => IdStyle::Hex,
                        false => IdStyle::Hyphenated,
                    };
                    certificate["id"] = other.write(uuid).into();
                }
            }
            Self::Reorder => {}
        }
    }
}

/// A number in hex digits, in decimal ones. Longer than any integer type.
fn decimal(hex: &str) -> Option<String> {
    let mut digits = vec![0_u32];
    for digit in hex.chars() {
        let mut carry = digit.to_digit(16)?;
        for decimal in &mut digits {
            let value = *decimal * 16 + carry;
            *decimal = value % 10;
            carry = value / 10;
        }
        while carry > 0 {
            digits.push(carry % 10);
            carry /= 10;
        }
    }
    Some(
        digits
            .iter()
            .rev()
            .filter_map(|digit| char::from_digit(*digit, 10))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let chaos: Chaos = " lose-answer=5% , late=2.5%:1s..1m,html=1%, "
            .parse()
            .expect("is understood");
        assert_eq!(
            chaos.to_string(),
            "lose-answer=5%, late=2.5%:1000ms..60000ms, html=1%"
        );
        assert_eq!(chaos.to_string().parse(), Ok(chaos));
        assert_eq!("".parse(), Ok(Chaos::default()));
        for (text, expected) in [
            ("html", "does not say how often"),
            ("odd=1%", "is no fault; there are lose-request"),
            ("html=1", "write 0% to 100%"),
            ("html=101%", "write 0% to 100%"),
            ("html=-1%", "write 0% to 100%"),
            ("html=NaN%", "write 0% to 100%"),
            ("html=1%:1s", "takes no time"),
            ("late=1%:soon", "is no stretch of time"),
            ("late=1%:9s..1s", "is no stretch of time"),
            ("late=1%:1s..99999999999999999999s", "is no stretch of time"),
            ("html=60%,stall=60%", "more than 100%"),
        ] {
            let why = text.parse::<Chaos>().expect_err(text);
            assert!(why.contains(expected), "{text}: {why}");
        }
    }

    #[test]
    fn faults_strike_as_often_as_was_said_and_again_for_the_same_seed() {
        let chaos: Chaos = "html=10%, stall=20%:1s..2s".parse().expect("is understood");
        let draw = |seed| -> Vec<_> {
            let random = Random::seeded(seed);
            (0..10_000).map(|_| chaos.strike(&random)).collect()
        };
        let drawn = draw(1);
        assert_eq!(drawn, draw(1));
        assert_ne!(drawn, draw(2));
        let count = |name| {
            drawn
                .iter()
                .flatten()
                .filter(|(struck, _)| *struck == name)
                .count()
        };
        assert!((850..1150).contains(&count("html")), "{}", count("html"));
        assert!((1800..2200).contains(&count("stall")), "{}", count("stall"));
        for (_, fault) in drawn.iter().flatten() {
            if let Fault::Stall(time) = fault {
                assert!((Duration::from_secs(1)..=Duration::from_secs(2)).contains(time));
            }
        }
    }

    #[test]
    fn answers_are_altered_and_everything_else_stays() {
        let one = json!({ "success": true, "result": { "id": "a", "status": "active", "serial_number": "0ff", "state": "HH" } });
        let altered = |alteration: Alteration, answer: &Value| -> Value {
            let bytes = alteration
                .alter(answer.to_string().as_bytes())
                .expect("is altered");
            serde_json::from_slice(&bytes).expect("JSON")
        };
        assert_eq!(
            altered(Alteration::UnknownStatus, &one)["result"]["status"],
            "archived"
        );
        assert_eq!(
            altered(Alteration::NullFields, &one)["result"]["state"],
            Value::Null
        );
        assert_eq!(
            altered(Alteration::DecimalSerials, &one)["result"]["serial_number"],
            "255"
        );
        let list = json!({ "result": [{ "id": "a" }, { "id": "b" }] });
        assert_eq!(altered(Alteration::Reorder, &list)["result"][0]["id"], "b");
        assert_eq!(Alteration::UnknownStatus.alter(b"{\"result\":null}"), None);
        assert_eq!(Alteration::UnknownStatus.alter(b"nonsense"), None);
        assert_eq!(
            decimal("17518db2ec8f3f2ff9d76fc4c0f2ad1ff7a4b2bf").as_deref(),
            Some("133125491807048566702511881710663822279115584191")
        );
    }
}
