//! Bodies in gzip. The client asks for none, but gateways send them all the same.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};

/// Decodes a body whose headers say that it is in gzip, and returns every other one as it is. `None` if it is larger than
/// the limit.
pub(crate) fn decode(
    headers: &mut HeaderMap,
    body: Bytes,
    limit: usize,
) -> io::Result<Option<Bytes>> {
    let encoding = headers.get(CONTENT_ENCODING).map(|value| value.as_bytes());
    if !encoding.is_some_and(|name| matches!(name, b"gzip" | b"x-gzip")) {
        return Ok(Some(body));
    }
    let mut decoded = Vec::new();
    // A few bytes can decode to gigabytes.
    let mut decoder = MultiGzDecoder::new(&*body).take(limit as u64 + 1);
    decoder.read_to_end(&mut decoded)?;
    headers.remove(CONTENT_ENCODING);
    headers.remove(CONTENT_LENGTH);
    Ok((decoded.len() <= limit).then(|| decoded.into()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn encode(text: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).expect("in memory");
        encoder.finish().expect("in memory").into()
    }

    fn headers(encoding: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, encoding.parse().expect("a value"));
        headers.insert(CONTENT_LENGTH, 1.into());
        headers
    }

    #[test]
    fn a_body_is_decoded_up_to_the_limit() {
        let text = vec![b'x'; 100_000];
        let mut named = headers("gzip");
        let decoded = decode(&mut named, encode(&text), 100_000).expect("is decoded");
        assert_eq!(decoded.expect("is not larger"), text);
        assert!(named.is_empty(), "they described the encoded body");
        let larger = decode(&mut headers("gzip"), encode(&text), 99_999);
        assert_eq!(larger.expect("is decoded"), None);
    }

    #[test]
    fn a_damaged_body_is_an_error_and_another_encoding_is_left_alone() {
        let cut = encode(b"text").slice(..10);
        for body in [cut, Bytes::from_static(b"text"), Bytes::new()] {
            assert!(decode(&mut headers("gzip"), body, 100).is_err());
        }
        for encoding in ["identity", "br", "gzip, gzip"] {
            let body = decode(&mut headers(encoding), encode(b"text"), 100);
            let body = body.expect("is left alone");
            assert_eq!(body, Some(encode(b"text")), "{encoding}");
        }
    }
}
