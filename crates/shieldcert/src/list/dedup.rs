//! Keys that tell records apart in 16 bytes each.

use ring::digest::{SHA256, digest};

use crate::certificate::id::CertificateId;

/// Returns the id itself if it is 128 bits in hex, as the service's ids are, and a cryptographic hash of any other id.
pub(super) fn key(id: &CertificateId) -> u128 {
    let text = id.as_str();
    let (mut number, mut digits) = (0_u128, 0);
    // This runs for every certificate of a list, so it allocates nothing.
    for byte in text.bytes().filter(|byte| *byte != b'-') {
        match char::from(byte).to_digit(16) {
            Some(digit) if digits < 32 => number = number << 4 | u128::from(digit),
            // Not 128 bits in hex.
            _ => digits = 32,
        }
        digits += 1;
    }
    if digits == 32 {
        return number;
    }
    hash(text.as_bytes())
}

/// Returns the start of a cryptographic hash.
pub(super) fn hash(bytes: &[u8]) -> u128 {
    let digest = digest(&SHA256, bytes);
    let start = digest.as_ref().iter().take(16);
    start.fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_any_form_are_told_apart() {
        let key = |text: &str| key(&text.parse().expect("an id"));
        assert_eq!(
            key("7bf7f70c-7600-42e1-81c4-e4c0da9aa515"),
            0x7bf7f70c_7600_42e1_81c4_e4c0da9aa515
        );
        assert_eq!(
            key("023e105f4ecef8ad9ca31a8372d0c353"),
            0x023e105f4ecef8ad9ca31a8372d0c353
        );
        assert_ne!(key("a"), key("b"));
        let almost = "7bf7f70c760042e181c4e4c0da9aa51";
        for other in [
            format!("{almost}g"),
            format!("g{almost}"),
            format!("{almost}55"),
            almost.to_owned(),
        ] {
            assert_ne!(key(&other), key(&format!("{almost}5")), "{other}");
            assert_ne!(key(&other) >> 64, 0, "{other} is hashed");
        }
        assert_ne!(key("a"), key("0000000000000000000000000000000a"));
    }
}
