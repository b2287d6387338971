//! Says what a body is that is no response of the API, and what to do about it.

use std::borrow::Cow;

use http::StatusCode;
use memchr::memmem;

/// How much of a body is searched for what it is about.
const MAX_SEARCHED: usize = 64 << 10;

/// Describes a body that is no envelope of the API.
pub(super) fn describe(status: Option<StatusCode>, body: &[u8]) -> Cow<'static, str> {
    let status = status.map_or(0, |status| status.as_u16());
    let text = body[..body.len().min(MAX_SEARCHED)].to_ascii_lowercase();
    let text = text.trim_ascii_start();
    let known = match status {
        407 => Some(
            "a proxy wants credentials; put them into its URL, for example \
             HTTPS_PROXY=http://user:password@proxy:3128",
        ),
        300..=399 => Some(
            "a redirect, which the API never sends; check the base URL, and any proxy in between",
        ),
        520..=526 => Some(by_status(status)),
        _ if is_challenge(text) => Some(
            "a challenge page: Cloudflare takes this client for a bot before the request reaches the API; \
             call from another network, or switch off the proxy or VPN that others misuse",
        ),
        _ => None,
    };
    if let Some(known) = known {
        return known.into();
    }
    match cloudflare_error(text) {
        Some(1015) => "Cloudflare error 1015: you are rate limited before the request reaches the API; \
                       wait for some minutes, and send fewer requests"
            .into(),
        Some(code) => format!(
            "Cloudflare error {code}: the request was stopped before it reached the API; look the number up in \
             Cloudflare's documentation of 1xxx errors"
        )
        .into(),
        None => describe_unknown(body).into(),
    }
}

fn by_status(status: u16) -> &'static str {
    match status {
        520 => {
            "error 520: the origin, behind Cloudflare, sent an invalid response; try again later"
        }
        521 => "error 521: the origin, behind Cloudflare, refused the connection; try again later",
        522 => "error 522: the origin, behind Cloudflare, did not respond; try again later",
        523 => "error 523: the origin, behind Cloudflare, can't be reached; try again later",
        524 => {
            "error 524: the origin, behind Cloudflare, did not respond in time, and may have acted; try again later"
        }
        525 => {
            "error 525: the TLS handshake with the origin, behind Cloudflare, failed; try again later"
        }
        _ => {
            "error 526: the certificate of the origin, behind Cloudflare, is invalid; try again later"
        }
    }
}

fn contains(text: &[u8], part: &str) -> bool {
    memmem::find(text, part.as_bytes()).is_some()
}

fn is_challenge(text: &[u8]) -> bool {
    let marks = ["challenge-platform", "cf-chl", "<title>just a moment"];
    text.starts_with(b"<") && marks.iter().any(|mark| contains(text, mark))
}

/// Finds the number of an error of Cloudflare's edge: `error code: 1015`, or a page about it.
fn cloudflare_error(text: &[u8]) -> Option<u16> {
    let is_page = text.starts_with(b"<") && contains(text, "cloudflare");
    let marks: &[&[u8]] = if is_page {
        &[
            b"error code: ",
            b"error code ",
            b"cf-error-code\">",
            b"<title>error ",
            b"error ",
        ]
    } else {
        &[b"error code: "]
    };
    let number = |mark: &&[u8]| {
        let place = memmem::find(text, mark)?;
        let digits = text[place + mark.len()..].get(..4)?;
        let code: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        (1000..=1999).contains(&code).then_some(code)
    };
    if !is_page && !text.starts_with(b"error code: ") {
        return None;
    }
    marks.iter().find_map(number)
}

fn describe_unknown(body: &[u8]) -> &'static str {
    let start = body.trim_ascii_start();
    if start.is_empty() {
        "the response is empty"
    } else if start.starts_with(b"<") {
        "the response is HTML, so it comes from a gateway and not from the API"
    } else {
        match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
            Ok(_) => "the response is JSON, but not an envelope of the API",
            Err(error) if error.is_eof() => "the response is JSON that breaks off",
            Err(_) => "the response is not JSON",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_say_what_they_are_and_what_to_do() {
        let page = |code: u16| {
            format!(
                "<!DOCTYPE html><html><head><title>Error {code} | Cloudflare</title></head><body>Ray ID</body></html>"
            )
        };
        let described = [
            (429, "error code: 1015".to_owned()),
            (429, page(1015)),
            (403, page(1020)),
            (
                403,
                "<html><title>Just a moment...</title><script src=/cdn-cgi/challenge-platform/x>"
                    .into(),
            ),
            (307, String::new()),
            (407, String::new()),
            (520, page(520)),
            (521, page(521)),
            (522, String::new()),
            (523, page(523)),
            (524, page(524)),
            (525, page(525)),
            (526, page(526)),
            (
                502,
                "<html>bad gateway: cloudflare error code: 502</html>".into(),
            ),
            (200, "see error 1015 in the manual".into()),
        ]
        .map(|(status, body)| {
            let described = describe(StatusCode::from_u16(status).ok(), body.as_bytes());
            format!("{status} {described}")
        });
        insta::assert_snapshot!(described.join("\n"), @"
        429 Cloudflare error 1015: you are rate limited before the request reaches the API; wait for some minutes, and send fewer requests
        429 Cloudflare error 1015: you are rate limited before the request reaches the API; wait for some minutes, and send fewer requests
        403 Cloudflare error 1020: the request was stopped before it reached the API; look the number up in Cloudflare's documentation of 1xxx errors
        403 a challenge page: Cloudflare takes this client for a bot before the request reaches the API; call from another network, or switch off the proxy or VPN that others misuse
        307 a redirect, which the API never sends; check the base URL, and any proxy in between
        407 a proxy wants credentials; put them into its URL, for example HTTPS_PROXY=http://user:password@proxy:3128
        520 error 520: the origin, behind Cloudflare, sent an invalid response; try again later
        521 error 521: the origin, behind Cloudflare, refused the connection; try again later
        522 error 522: the origin, behind Cloudflare, did not respond; try again later
        523 error 523: the origin, behind Cloudflare, can't be reached; try again later
        524 error 524: the origin, behind Cloudflare, did not respond in time, and may have acted; try again later
        525 error 525: the TLS handshake with the origin, behind Cloudflare, failed; try again later
        526 error 526: the certificate of the origin, behind Cloudflare, is invalid; try again later
        502 the response is HTML, so it comes from a gateway and not from the API
        200 the response is not JSON
        ");
    }
}
