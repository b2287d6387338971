//! Responses as text, and faults from text.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue};

use super::fault::{Argument, FAULTS, Fault, Parameter, Row};
use super::response::{Body, CannedResponse};
use crate::error::ParseError;

/// Accepted for the name that is written.
const SYNONYMS: [(&str, &str); 2] = [("status", "respond"), ("status-after", "respond-after")];

/// Finds a fault by its name.
pub(super) fn find(name: &str) -> Result<&'static Row, ParseError> {
    let synonym = SYNONYMS.iter().find(|(synonym, _)| *synonym == name);
    let canonical = synonym.map_or(name, |(_, canonical)| canonical);
    let found = FAULTS.iter().find(|row| row.name == canonical);
    found.ok_or_else(|| {
        let names: Vec<_> = FAULTS.iter().map(|row| row.name).collect();
        ParseError::new(format!(
            "{name:?} is not a fault; write one of {}",
            names.join(", ")
        ))
    })
}

/// Makes a fault of a row of the table and the argument that was written, if any was.
pub(super) fn build(row: &Row, argument: Option<&str>) -> Result<Fault, ParseError> {
    let argument = match (row.parameter, argument) {
        (Parameter::None, None) => Argument::None,
        (Parameter::None, Some(_)) => {
            return Err(ParseError::new(format!("{} takes no parameter", row.name)));
        }
        (Parameter::Time(default), None) => Argument::Time(default),
        (Parameter::Time(_), Some(text)) => Argument::Time(text.trim().parse()?),
        (Parameter::Response, None) => {
            return Err(ParseError::new(format!(
                "{} needs a response; add one, such as 503",
                row.name
            )));
        }
        (Parameter::Response, Some(text)) => Argument::Response(Box::new(text.parse()?)),
        (Parameter::Quirk, None) => {
            return Err(ParseError::new(
                "quirk needs a quirk; add one, such as cap=25",
            ));
        }
        (Parameter::Quirk, Some(text)) => Argument::Quirk(Box::new(text.parse()?)),
    };
    Ok(Fault::new(row.kind, argument))
}

impl FromStr for Fault {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (name, argument) = match text.split_once('=') {
            None => (text, None),
            Some((name, argument)) => (name, Some(argument)),
        };
        build(find(name.trim())?, argument)
    }
}

impl FromStr for CannedResponse {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (status, mut rest) = split_word(text.trim_ascii());
        let status = is_number(status).then(|| status.parse().ok()).flatten();
        let mut response = status.and_then(Self::from_status).ok_or_else(|| {
            ParseError::new(format!(
                "{text:?} does not begin with an HTTP status of a response; write 503"
            ))
        })?;
        let mut code = None;
        loop {
            if let Some((name, value, after)) = split_header(rest) {
                let value = HeaderValue::from_bytes(&decode(value)?);
                let value = value.map_err(|_| {
                    ParseError::new(format!("the value of the header {name} is not allowed"))
                })?;
                response = response.with_header(name, value);
                rest = after;
                continue;
            }
            let (word, after) = split_word(rest);
            if let Some(seconds) = word.strip_prefix("retry-after=") {
                let value = HeaderValue::try_from(seconds);
                let value = value.ok().filter(|_| is_number(seconds));
                let value = value.ok_or_else(|| {
                    ParseError::new(format!(
                        "{word:?} is not in seconds; write retry-after=30, or [retry-after: ...] for any text"
                    ))
                })?;
                response = response.with_header(RETRY_AFTER, value);
            } else if let Some(number) = word.strip_prefix("code=") {
                let number = number.parse().map_err(|_| {
                    ParseError::new(format!("{word:?} is not an error code; write code=1445"))
                })?;
                code = Some(number);
            } else {
                break;
            }
            rest = after;
        }
        match (code, rest) {
            (None, "") => Ok(response),
            (Some(code), "") => Ok(response.code(code)),
            (None, body) => Ok(response.body(decode(body)?)),
            (Some(_), _) => Err(ParseError::new(
                "a response has a code or a body, not both; write the code into the body",
            )),
        }
    }
}

impl fmt::Display for CannedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (status, headers, body) = self.parts();
        write!(f, "{}", status.as_u16())?;
        for (name, value) in headers {
            match value.to_str() {
                Ok(seconds) if *name == RETRY_AFTER && is_number(seconds) => {
                    write!(f, " retry-after={seconds}")?;
                }
                _ => write!(f, " [{name}: {}]", encode(value.as_bytes(), "]"))?,
            }
        }
        match body {
            Body::Page => Ok(()),
            Body::Error(code) => write!(f, " code={code}"),
            Body::Bytes(body) => write!(f, " {}", encode_body(body)),
        }
    }
}

/// Encodes a body so that it is not read as an option, is not trimmed, and is not empty.
fn encode_body(body: &[u8]) -> String {
    if body.is_empty() {
        return "%".to_owned();
    }
    let mut text = encode(body, "");
    let is_option = split_header(&text).is_some()
        || text.starts_with("retry-after=")
        || text.starts_with("code=");
    if is_option || text.starts_with(' ') {
        text.replace_range(..1, &format!("%{:02X}", body[0]));
    }
    if text.ends_with(' ') {
        text.replace_range(text.len() - 1.., "%20");
    }
    text
}

/// Percent-encodes what separates rules and faults, control characters, and bytes that are not UTF-8.
fn encode(bytes: &[u8], also: &str) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            if char.is_ascii_control() || "%;,".contains(char) || also.contains(char) {
                // Writing to a string never fails.
                let _ = write!(text, "%{:02X}", u32::from(char));
            } else {
                text.push(char);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The first word, and what follows it.
fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text
        .split_once(|char: char| char.is_ascii_whitespace())
        .unwrap_or((text, ""));
    (word, rest.trim_ascii_start())
}

/// A header `[name: value]` at the start of the text, and what follows it.
fn split_header(text: &str) -> Option<(HeaderName, &str, &str)> {
    let (header, rest) = text.strip_prefix('[')?.split_once(']')?;
    let (name, value) = header.split_once(':')?;
    Some((
        name.parse().ok()?,
        value.trim_ascii(),
        rest.trim_ascii_start(),
    ))
}

/// Undoes the percent-encoding. `%` alone is empty.
fn decode(text: &str) -> Result<Bytes, ParseError> {
    if text == "%" {
        return Ok(Bytes::new());
    }
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).and_then(|digits| hex::decode(digits).ok());
        let digits = digits.ok_or_else(|| {
            ParseError::new(
                "`%` must be followed by two hex digits; write `%25` for a percent sign",
            )
        })?;
        bytes.extend(digits);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_round_trips_through_text() {
        for row in &FAULTS {
            let text = match row.parameter {
                Parameter::None => row.name.to_owned(),
                Parameter::Time(_) => format!("{}=5s", row.name),
                Parameter::Response => format!("{}=503", row.name),
                Parameter::Quirk => format!("{}=cap=25@10%", row.name),
            };
            let fault: Fault = text.parse().expect(&text);
            assert_eq!(fault.to_string(), text);
            assert_eq!(fault.name(), row.name);
        }
        assert_eq!("status=503".parse(), Ok(Fault::status(503)));
    }

    #[test]
    fn responses_round_trip_through_text() {
        for text in [
            "503",
            "503 retry-after=30",
            "403 code=1445",
            "429 [retry-after: soon] code=10429",
            r#"200 {"success":true}"#,
            r#"200 [x-a: 1] [x-b: a%2Cb%5D] [{"a":"\n"}%2C 1]"#,
            "200 plain text%3B two lines%0A",
            "200 %FF%25",
            "200 %",
        ] {
            let response: CannedResponse = text.parse().expect(text);
            assert_eq!(response.to_string(), text);
        }
    }

    #[test]
    fn any_body_survives_a_round_trip() {
        for body in [
            &b""[..],
            b"%",
            b" a ",
            b"[]",
            b"[x: y] z",
            b"[1,2]",
            b"[{\"a\":1}]",
            b"code=1",
            b"retry-after=x",
            b"a;b,c\r\n\0\xff\xc3\x28",
            "Gerät".as_bytes(),
            "ü".as_bytes(),
        ] {
            let response = CannedResponse::new(200).body(body);
            let text = response.to_string();
            assert_eq!(text.parse(), Ok(response), "{text}");
        }
    }

    #[test]
    fn errors_name_the_part_that_is_wrong() {
        let errors: Vec<_> = [
            "quake",
            "html=1s",
            "stall=soon",
            "respond",
            "respond=fast",
            "respond=99",
            "respond=101",
            "respond=503 retry-after=soon",
            "respond=503 code=x",
            "respond=503 code=1 {}",
            "respond=503 50%",
        ]
        .map(|text| {
            let error = text.parse::<Fault>().expect_err(text);
            format!("{text}: {error}")
        })
        .into();
        insta::assert_snapshot!(errors.join("\n"));
    }
}
