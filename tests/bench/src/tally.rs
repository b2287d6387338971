//! What a contender found. The runner compares it with what is in the zone.

use std::io::BufRead;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// The certificates that were found: their number, and a checksum that does not depend on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// The number of certificates.
    pub count: u64,
    /// The sum of the first 48 bits of every id and fingerprint, modulo 2^48.
    pub checksum: u64,
}

impl Tally {
    /// Adds a certificate.
    pub fn add(&mut self, id: &str, fingerprint: &str) {
        self.count += 1;
        self.checksum =
            (self.checksum + leading_digits(id) + leading_digits(fingerprint)) % (1 << 48);
    }
}

/// A certificate in the output of a command.
#[derive(Deserialize)]
struct Line {
    id: String,
    #[serde(alias = "fingerprint")]
    fingerprint_sha256: String,
}

impl Tally {
    /// Adds up certificates in JSON, one a line.
    pub fn of_lines(lines: impl BufRead) -> anyhow::Result<Self> {
        let mut tally = Self::default();
        for line in lines.lines() {
            let line = line?;
            if line.is_empty() {
                continue;
            }
            let certificate: Line =
                serde_json::from_str(&line).with_context(|| format!("no certificate: {line}"))?;
            tally.add(&certificate.id, &certificate.fingerprint_sha256);
        }
        Ok(tally)
    }
}

/// Returns the first twelve hex digits of a text as a number, which is exact in every language.
fn leading_digits(text: &str) -> u64 {
    text.bytes()
        .filter_map(|byte| char::from(byte).to_digit(16))
        .take(12)
        .fold(0, |number, digit| number << 4 | u64::from(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_ignores_the_order_and_sees_missing_and_duplicate_certificates() {
        let certificates = [
            (
                "023e105f-4ecef8ad9ca31a8372d0c353",
                "ffffffffffffffffffffffff",
            ),
            ("7bf7f70c760042e181c4e4c0da9aa515", "8000000000010000"),
        ];
        let sum = |picked: &[usize]| {
            let mut tally = Tally::default();
            for index in picked {
                tally.add(certificates[*index].0, certificates[*index].1);
            }
            tally
        };
        assert_eq!(
            sum(&[0]).checksum,
            (0x023e_105f_4ece + 0xffff_ffff_ffff) % (1 << 48)
        );
        assert_eq!(sum(&[0, 1]), sum(&[1, 0]));
        assert_ne!(sum(&[0]), sum(&[1]));
        assert_ne!(sum(&[0, 0]), sum(&[0, 1]));
    }
}
