//! The faults, in one table.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::alter::Alteration;
use super::quirk::Quirk;
use super::response::CannedResponse;
use super::time_range::TimeRange;

/// Something that goes wrong with a request or its response.
///
/// A fault has a name and, for some, a parameter. It is written as `lose-response`, `stall=5s` or `respond=503`.
/// A time may be a range to draw from: `late=1s..60s`.
///
#[doc = include_str!("faults.md")]
///
/// `respond` (or `status`, its synonym) takes a status, followed by any of these:
///
/// - `retry-after=30`: a `Retry-After` header, in seconds;
/// - `[name: value]`: a header;
/// - `code=1445`: a failure envelope of the API with this error code as the body;
/// - or, at the end, a body: `respond=200 {"success":true}`. Without any, the body is a gateway's HTML page.
///
/// In headers and bodies `%` is written `%25`, `;` is `%3B`, a line end is `%0A`, and in [`Chaos`] a comma is `%2C`.
/// A body of `%` alone is empty.
///
/// [`Chaos`]: crate::Chaos
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    kind: Kind,
    argument: Argument,
}

/// What a fault does, without its argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    RefuseConnection,
    /// There is no response; the service may act.
    Lose {
        acts: bool,
    },
    /// The connection breaks.
    Reset {
        acts: bool,
    },
    /// A gateway responds 502 instead of the service.
    BadGateway {
        acts: bool,
    },
    /// The service acts later. A gateway responds 504 now, or there is no response.
    Late {
        responds: bool,
    },
    Stall,
    Slow,
    Html,
    Truncate,
    RateLimit,
    Block,
    Respond {
        acts: bool,
    },
    /// The response is this one, as a [`CannedResponse`] is written.
    Preset {
        acts: bool,
        response: &'static str,
    },
    /// The response is an error page of the gateway, 520 to 526.
    OriginError {
        acts: bool,
    },
    /// A byte of the body is another one.
    BadByte(Corruption),
    /// The response says something else.
    Alter(Alteration),
    /// The service has a quirk for this request.
    Quirk,
}

/// How a byte of a body becomes another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Corruption {
    /// It is no text.
    Utf8,
    /// It is text, and not JSON.
    Json,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Argument {
    None,
    Time(TimeRange),
    // Boxed: most faults have none.
    Response(Box<CannedResponse>),
    Quirk(Box<Quirk>),
}

/// The parameter of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parameter {
    None,
    /// A time, with its default.
    Time(TimeRange),
    Response,
    Quirk,
}

/// A row of the table of faults.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) parameter: Parameter,
    effect: &'static str,
}

const fn row(name: &'static str, kind: Kind, parameter: Parameter, effect: &'static str) -> Row {
    Row {
        name,
        kind,
        parameter,
        effect,
    }
}

const fn time(from: u64, to: u64) -> Parameter {
    Parameter::Time(TimeRange::from_millis(from, to))
}

/// Every fault. The documentation and the help text are made from this table.
pub(super) static FAULTS: [Row; 35] = [
    row(
        "refuse-connection",
        Kind::RefuseConnection,
        Parameter::None,
        "There is no connection, and the service does not act. Over HTTP the connection closes without a response.",
    ),
    row(
        "lose-request",
        Kind::Lose { acts: false },
        Parameter::None,
        "The service does not act, and there is no response.",
    ),
    row(
        "lose-response",
        Kind::Lose { acts: true },
        Parameter::None,
        "The service acts, and there is no response.",
    ),
    row(
        "reset",
        Kind::Reset { acts: false },
        Parameter::None,
        "The connection breaks before the service acts.",
    ),
    row(
        "reset-after",
        Kind::Reset { acts: true },
        Parameter::None,
        "The connection breaks after the service acts.",
    ),
    row(
        "502-before",
        Kind::BadGateway { acts: false },
        Parameter::None,
        "A gateway responds 502, and the service does not act.",
    ),
    row(
        "502-after",
        Kind::BadGateway { acts: true },
        Parameter::None,
        "The service acts, and a gateway responds 502.",
    ),
    row(
        "late",
        Kind::Late { responds: true },
        time(1_000, 60_000),
        "A gateway responds 504, and the service acts after that time.",
    ),
    row(
        "late-lost",
        Kind::Late { responds: false },
        time(1_000, 60_000),
        "There is no response, and the service acts after that time.",
    ),
    row(
        "stall",
        Kind::Stall,
        time(1_000, 10_000),
        "The service acts, and the response comes after that time.",
    ),
    row(
        "slow",
        Kind::Slow,
        time(1, 20),
        "The service acts, and the body comes byte by byte, with that time between them.",
    ),
    row(
        "html",
        Kind::Html,
        Parameter::None,
        "The service acts, and the response is an HTML page with status 200.",
    ),
    row(
        "truncate",
        Kind::Truncate,
        Parameter::None,
        "The service acts, and half of the body comes.",
    ),
    row(
        "rate-limit",
        Kind::RateLimit,
        time(1_000, 30_000),
        "The response is a 429 with that time as `Retry-After`, and the service does not act.",
    ),
    row(
        "block",
        Kind::Block,
        time(1_000, 90_000),
        "The rate limiter refuses this request and every other until that time is over.",
    ),
    row(
        "respond",
        Kind::Respond { acts: false },
        Parameter::Response,
        "The response is the given one, and the service does not act.",
    ),
    row(
        "respond-after",
        Kind::Respond { acts: true },
        Parameter::Response,
        "The service acts, and the response is the given one.",
    ),
    row(
        "empty-object",
        Kind::Preset {
            acts: true,
            response: "200 {}",
        },
        Parameter::None,
        "The service acts, and the response is `{}` with status 200.",
    ),
    row(
        "null-result",
        Kind::Preset {
            acts: true,
            response: r#"200 {"success":true%2C"errors":[]%2C"messages":[]%2C"result":null}"#,
        },
        Parameter::None,
        "The service acts, and the response is a success with a null `result`.",
    ),
    row(
        "maintenance",
        Kind::Preset {
            acts: false,
            response: r#"200 {"message":"maintenance"}"#,
        },
        Parameter::None,
        "The response is `{\"message\":\"maintenance\"}` with status 200, and the service does not act.",
    ),
    row(
        "challenge",
        Kind::Preset {
            acts: false,
            response: "403 [cf-mitigated: challenge] <!DOCTYPE html><html><head><title>Just a moment...</title>\
                       </head><body>Enable JavaScript and cookies to continue</body></html>",
        },
        Parameter::None,
        "The response is a challenge for browsers, an HTML page with status 403, and the service does not act.",
    ),
    row(
        "1015",
        Kind::Preset {
            acts: false,
            response: "429 <!DOCTYPE html><html><head><title>Access denied | Error 1015</title></head>\
                       <body>You are being rate limited</body></html>",
        },
        Parameter::None,
        "The response is the gateway's own 429, an HTML page without `Retry-After`, and the service does not act.",
    ),
    row(
        "52x",
        Kind::OriginError { acts: false },
        Parameter::None,
        "The response is the gateway's page for 520 to 526, drawn, and the service does not act.",
    ),
    row(
        "52x-after",
        Kind::OriginError { acts: true },
        Parameter::None,
        "The service acts, and the response is the gateway's page for 520 to 526, drawn.",
    ),
    row(
        "not-found",
        Kind::Preset {
            acts: false,
            response: "404 code=1401",
        },
        Parameter::None,
        "The response says that there is no such certificate, and the service does not act.",
    ),
    row(
        "quota",
        Kind::Preset {
            acts: false,
            response: "400 code=1445",
        },
        Parameter::None,
        "The response says that the quota is reached, and the service does not act.",
    ),
    row(
        "quota-with-200",
        Kind::Preset {
            acts: false,
            response: "200 code=1445",
        },
        Parameter::None,
        "The same with status 200.",
    ),
    row(
        "bad-byte",
        Kind::BadByte(Corruption::Utf8),
        Parameter::None,
        "The service acts, and a byte in the middle of the body is no UTF-8.",
    ),
    row(
        "bad-json",
        Kind::BadByte(Corruption::Json),
        Parameter::None,
        "The service acts, and a colon in the middle of the body is a `#`.",
    ),
    row(
        "quirk",
        Kind::Quirk,
        Parameter::Quirk,
        "The service has this quirk for one request.",
    ),
    row(
        "unknown-status",
        Kind::Alter(Alteration::UnknownStatus),
        Parameter::None,
        "The certificates of the response have an unknown status, `archived`.",
    ),
    row(
        "null-fields",
        Kind::Alter(Alteration::NullFields),
        Parameter::None,
        "The subject fields of the response are null.",
    ),
    row(
        "decimal-serials",
        Kind::Alter(Alteration::DecimalSerials),
        Parameter::None,
        "The serial numbers of the response are decimal.",
    ),
    row(
        "other-ids",
        Kind::Alter(Alteration::OtherIds),
        Parameter::None,
        "The ids of the response are in the other style: 32 hex digits, or a UUID.",
    ),
    row(
        "reorder",
        Kind::Alter(Alteration::Reorder),
        Parameter::None,
        "A list is in reverse order.",
    ),
];

impl Corruption {
    /// Replaces a byte in the middle of a body.
    pub(crate) fn corrupt(self, body: Bytes) -> Bytes {
        let mut body = Vec::from(body);
        let middle = body.len() / 2;
        let (place, byte) = match self {
            Self::Utf8 => (middle, 0xff),
            Self::Json => {
                let colon = body[..middle].iter().rposition(|byte| *byte == b':');
                (colon.unwrap_or_default(), b'#')
            }
        };
        if let Some(place) = body.get_mut(place) {
            *place = byte;
        }
        body.into()
    }
}

impl Fault {
    fn plain(kind: Kind) -> Self {
        Self::new(kind, Argument::None)
    }

    fn timed(kind: Kind, time: impl Into<TimeRange>) -> Self {
        Self::new(kind, Argument::Time(time.into()))
    }

    pub(super) fn new(kind: Kind, argument: Argument) -> Self {
        Self { kind, argument }
    }

    /// There is no connection, and the service does not act.
    ///
    /// In process, the transport's error is `NotConnected`. A server can't refuse a connection that it has
    /// accepted, so over HTTP it closes it without a response.
    pub fn refuse_connection() -> Self {
        Self::plain(Kind::RefuseConnection)
    }

    /// The service does not act, and there is no response.
    pub fn lose_request() -> Self {
        Self::plain(Kind::Lose { acts: false })
    }

    /// The service acts, and there is no response.
    pub fn lose_response() -> Self {
        Self::plain(Kind::Lose { acts: true })
    }

    /// The connection breaks before the service acts.
    pub fn reset() -> Self {
        Self::plain(Kind::Reset { acts: false })
    }

    /// The connection breaks after the service acts.
    pub fn reset_after() -> Self {
        Self::plain(Kind::Reset { acts: true })
    }

    /// A gateway responds 502, and the service does not act.
    pub fn bad_gateway_before() -> Self {
        Self::plain(Kind::BadGateway { acts: false })
    }

    /// The service acts, and a gateway responds 502.
    pub fn bad_gateway_after() -> Self {
        Self::plain(Kind::BadGateway { acts: true })
    }

    /// A gateway responds 504, and the service acts after this time, by the emulator's clock.
    pub fn late(time: impl Into<TimeRange>) -> Self {
        Self::timed(Kind::Late { responds: true }, time)
    }

    /// There is no response, and the service acts after this time, by the emulator's clock.
    pub fn late_lost(time: impl Into<TimeRange>) -> Self {
        Self::timed(Kind::Late { responds: false }, time)
    }

    /// The service acts, and the response comes after this time, by the emulator's clock.
    pub fn stall(time: impl Into<TimeRange>) -> Self {
        Self::timed(Kind::Stall, time)
    }

    /// The service acts, and the body comes byte by byte, with this time between them.
    pub fn slow(time: impl Into<TimeRange>) -> Self {
        Self::timed(Kind::Slow, time)
    }

    /// The service acts, and the response is an HTML page with status 200.
    pub fn html() -> Self {
        Self::plain(Kind::Html)
    }

    /// The service acts, and half of the body comes.
    pub fn truncate() -> Self {
        Self::plain(Kind::Truncate)
    }

    /// The response is a 429 with this time as `Retry-After`, and the service does not act.
    pub fn rate_limit(retry_after: impl Into<TimeRange>) -> Self {
        Self::timed(Kind::RateLimit, retry_after)
    }

    /// The rate limiter refuses this request and every other until this time is over, by the emulator's clock.
    ///
    /// It blocks the [`Connection`](crate::Connection) alone if the request came through one.
    pub fn block(time: impl Into<TimeRange>) -> Self {
        Self::timed(Kind::Block, time)
    }

    /// The response is this one, and the service does not act.
    pub fn respond(response: CannedResponse) -> Self {
        let response = Argument::Response(Box::new(response));
        Self::new(Kind::Respond { acts: false }, response)
    }

    /// The service acts, and the response is this one.
    pub fn respond_after(response: CannedResponse) -> Self {
        let response = Argument::Response(Box::new(response));
        Self::new(Kind::Respond { acts: true }, response)
    }

    /// The response has this HTTP status and a gateway's page, and the service does not act.
    ///
    /// # Panics
    /// If the status is not from 200 to 999.
    pub fn status(status: u16) -> Self {
        Self::respond(CannedResponse::new(status))
    }

    /// The certificates of the response have an unknown status, `archived`.
    pub fn unknown_status() -> Self {
        Self::plain(Kind::Alter(Alteration::UnknownStatus))
    }

    /// The subject fields of the response are null.
    pub fn null_fields() -> Self {
        Self::plain(Kind::Alter(Alteration::NullFields))
    }

    /// The serial numbers of the response are decimal.
    pub fn decimal_serials() -> Self {
        Self::plain(Kind::Alter(Alteration::DecimalSerials))
    }

    /// The ids of the response are in the other style: 32 hex digits, or a UUID.
    pub fn other_ids() -> Self {
        Self::plain(Kind::Alter(Alteration::OtherIds))
    }

    /// A list is in reverse order.
    pub fn reorder() -> Self {
        Self::plain(Kind::Alter(Alteration::Reorder))
    }

    /// The fault with this name in the [table](Self), such as `maintenance`.
    ///
    /// # Panics
    /// If there is none, or it needs a parameter. For text from outside use `str::parse`.
    pub fn named(name: &str) -> Self {
        match name.parse() {
            Ok(fault) => fault,
            Err(error) => panic!("{error}"),
        }
    }

    /// The fault's name, as it is written in a script and reported in the history.
    pub fn name(&self) -> &'static str {
        FAULTS
            .iter()
            .find(|row| row.kind == self.kind)
            .map_or("", |row| row.name)
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// How long the fault takes. `fraction` draws from a range.
    pub(crate) fn time(&self, fraction: impl FnOnce() -> f64) -> Duration {
        match self.argument {
            Argument::Time(range) if range.is_fixed() => range.at(0.0),
            Argument::Time(range) => range.at(fraction()),
            _ => Duration::ZERO,
        }
    }

    /// The quirk that the service has for the request.
    pub(crate) fn quirk(&self) -> Option<&Quirk> {
        match &self.argument {
            Argument::Quirk(quirk) => Some(quirk),
            _ => None,
        }
    }

    pub(crate) fn response(&self) -> Option<&CannedResponse> {
        match &self.argument {
            Argument::Response(response) => Some(response),
            _ => None,
        }
    }

    /// The argument as it is written, if there is one.
    pub(super) fn argument(&self) -> Option<&dyn fmt::Display> {
        match &self.argument {
            Argument::None => None,
            Argument::Time(range) => Some(range),
            Argument::Response(response) => Some(response),
            Argument::Quirk(quirk) => Some(quirk),
        }
    }

    /// The table of faults, for a terminal.
    pub fn help() -> String {
        let usage = |row: &Row| match row.parameter {
            Parameter::None => row.name.to_owned(),
            Parameter::Time(_) => format!("{}=TIME", row.name),
            Parameter::Response => format!("{}=RESPONSE", row.name),
            Parameter::Quirk => format!("{}=QUIRK", row.name),
        };
        let width = FAULTS.iter().map(|row| usage(row).len()).max();
        let width = width.unwrap_or_default();
        let line = |row: &Row| {
            let usage = usage(row);
            let effect = row.effect.replace('`', "");
            let default = match row.parameter {
                Parameter::Time(default) => format!(" [default: {default}]"),
                _ => String::new(),
            };
            format!("{usage:width$}  {effect}{default}\n")
        };
        let mut help: String = FAULTS.iter().map(line).collect();
        help.push_str(
            "\nTIME is 5s, 20ms..500ms or 1s..1m.\n\
             RESPONSE is a status, and then, all of them optional, code=1445, retry-after=30, headers as \
             [name: value], and a body.\n\
             QUIRK is written as for --quirks, such as cap=25.\n",
        );
        help
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self.argument() {
            None => Ok(()),
            Some(argument) => write!(f, "={argument}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn markdown() -> String {
        let mut table = "| fault | parameter | what happens |\n| --- | --- | --- |\n".to_owned();
        for row in &FAULTS {
            let parameter = match row.parameter {
                Parameter::None => String::new(),
                Parameter::Time(default) => format!(" a time; default `{default}`"),
                Parameter::Response => " a response".to_owned(),
                Parameter::Quirk => " a [quirk](crate::Quirks)".to_owned(),
            };
            writeln!(table, "| `{}` |{parameter} | {} |", row.name, row.effect).expect("text");
        }
        table
    }

    /// Rewrites the file with `UPDATE_FAULTS=1 cargo test -p shieldcert-emulator`.
    #[test]
    fn the_documented_table_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/chaos/faults.md");
        if std::env::var_os("UPDATE_FAULTS").is_some() {
            std::fs::write(path, markdown()).expect("is written");
        }
        let documented = std::fs::read_to_string(path).expect("is read");
        assert!(
            documented == markdown(),
            "faults.md is out of date; run the test with UPDATE_FAULTS=1"
        );
    }

    #[test]
    fn names_and_kinds_are_unique() {
        for (index, row) in FAULTS.iter().enumerate() {
            for other in &FAULTS[..index] {
                assert_ne!(row.name, other.name);
                assert_ne!(row.kind, other.kind);
            }
        }
    }

    #[test]
    fn help_lists_every_fault() {
        insta::assert_snapshot!(Fault::help());
    }
}
