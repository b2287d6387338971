//! What a contender says that it found, which the runner compares with what is there.

use serde::Serialize;

/// How many certificates were met, and a sum over them that does not depend on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// How many certificates there were.
    pub count: u64,
    /// The sum of the first 48 bits of every certificate's id and fingerprint, modulo 2^48.
    pub checksum: u64,
}

impl Answer {
    /// Takes in one more certificate.
    pub fn add(&mut self, id: &str, fingerprint: &str) {
        self.count += 1;
        self.checksum = (self.checksum + digits(id) + digits(fingerprint)) % (1 << 48);
    }
}

/// The first twelve hex digits of a text, as a number: few enough to be exact in every language.
fn digits(text: &str) -> u64 {
    text.bytes()
        .filter_map(|byte| char::from(byte).to_digit(16))
        .take(12)
        .fold(0, |number, digit| number << 4 | u64::from(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_does_not_matter_and_what_is_lost_or_doubled_does() {
        let certificates = [
            (
                "023e105f-4ecef8ad9ca31a8372d0c353",
                "ffffffffffffffffffffffff",
            ),
            ("7bf7f70c760042e181c4e4c0da9aa515", "8000000000010000"),
        ];
        let sum = |picked: &[usize]| {
            let mut answer = Answer::default();
            for index in picked {
                answer.add(certificates[*index].0, certificates[*index].1);
            }
            answer
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
