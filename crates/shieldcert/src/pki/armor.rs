//! Reads PEM in every dress that tools and people put it in.
//!
//! Taken as they come: UTF-8 with or without a byte order mark, UTF-16, any line ends, literal `\n` in place of them,
//! everything on one line, lines of any width, indentation, blanks, and text before, between and after the blocks.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::{Zeroize, Zeroizing};

/// A block of PEM.
pub(super) struct Block {
    /// What stands in its first line, such as `CERTIFICATE`. `ENCRYPTED ` precedes it if the block has headers that say
    /// so, as OpenSSL wrote keys before PKCS#8.
    pub(super) label: String,
    /// Wiped when dropped: it may be a key.
    pub(super) der: Zeroizing<Vec<u8>>,
}

/// Why a text is not PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// It holds no block.
    NoBlock,
    /// It is DER.
    Der,
    /// A block with this label has no end.
    CutOff(String),
    /// A block with this label holds something else than base64.
    NotBase64(String),
}

impl Problem {
    /// Says what is wrong, for a text that is to hold a block with this label.
    pub(super) fn describe(&self, label: &str) -> String {
        match self {
            Self::NoBlock => format!(
                "it is not PEM; it must have a line `-----BEGIN {label}-----` and a line `-----END {label}-----`"
            ),
            Self::Der => "it is DER, not PEM; read it as DER".to_owned(),
            Self::CutOff(found) => {
                format!("it is cut off: the line `-----END {found}-----` is missing")
            }
            Self::NotBase64(found) => {
                format!("the block `{found}` is damaged: it is not base64")
            }
        }
    }
}

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";
/// How long a label may be. The longest that is used has 25 characters.
const MAX_LABEL: usize = 64;

/// Reads the blocks of a text, in order.
pub(super) fn read_blocks(text: &[u8]) -> Result<Vec<Block>, Problem> {
    let mut text = decode(text);
    let blocks = split(&text);
    if let Cow::Owned(text) = &mut text {
        text.zeroize();
    }
    blocks
}

/// Decodes a text of any encoding that PEM comes in. What is no text becomes replacement characters.
fn decode(bytes: &[u8]) -> Cow<'_, str> {
    let utf16 = |rest: &[u8], read: fn([u8; 2]) -> u16| -> Cow<'static, str> {
        let units = rest.chunks_exact(2).map(|unit| read([unit[0], unit[1]]));
        Cow::Owned(
            char::decode_utf16(units)
                .map(|unit| unit.unwrap_or('\u{fffd}'))
                .collect(),
        )
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [b'-', 0, ..] => utf16(bytes, u16::from_le_bytes),
        [0, b'-', ..] => utf16(bytes, u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes),
    }
}

fn split(text: &str) -> Result<Vec<Block>, Problem> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find(BEGIN) {
        rest = &rest[begin + BEGIN.len()..];
        let Some((label, body)) = rest.split_once(DASHES).filter(|(label, _)| is_label(label))
        else {
            continue;
        };
        let end = format!("-----END {label}{DASHES}");
        let Some((body, behind)) = body.split_once(&end) else {
            return Err(Problem::CutOff(label.to_owned()));
        };
        blocks.push(read_block(label, body)?);
        rest = behind;
    }
    if !blocks.is_empty() {
        return Ok(blocks);
    }
    // The beginning of a sequence, and nothing that reads as text.
    let is_der = text.starts_with('0') && text.contains('\u{fffd}');
    Err(if is_der {
        Problem::Der
    } else {
        Problem::NoBlock
    })
}

fn is_label(text: &str) -> bool {
    (1..=MAX_LABEL).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'.'))
}

fn read_block(label: &str, body: &str) -> Result<Block, Problem> {
    // A literal `\r` or `\n`, as in JSON and in environment variables.
    let lines = body.split(['\n', '\r']).flat_map(|line| line.split("\\n"));
    let mut base64 = Zeroizing::new(String::with_capacity(body.len()));
    let mut is_encrypted = false;
    for line in lines {
        let line = line.trim().trim_end_matches("\\r");
        if let Some((name, value)) = line.split_once(':') {
            is_encrypted |= name == "Proc-Type" && value.contains("ENCRYPTED");
            continue;
        }
        for part in line.split_whitespace() {
            base64.push_str(part);
        }
    }
    let engine = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let der = engine
        .decode(base64.as_bytes())
        .map_err(|_| Problem::NotBase64(label.to_owned()))?;
    Ok(Block {
        label: if is_encrypted {
            format!("ENCRYPTED {label}")
        } else {
            label.to_owned()
        },
        der: Zeroizing::new(der),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSR: &str = include_str!("../../tests/data/openssl-p256.csr.pem");

    fn read(text: impl AsRef<[u8]>) -> Vec<(String, Vec<u8>)> {
        let blocks = read_blocks(text.as_ref()).expect("PEM");
        blocks
            .into_iter()
            .map(|block| (block.label, block.der.to_vec()))
            .collect()
    }

    #[test]
    fn every_dress_of_one_block_is_the_same_block() {
        let plain = read(CSR);
        assert_eq!(plain.len(), 1);
        let utf16 = |swap: bool, mark: bool| -> Vec<u8> {
            let units = mark.then_some(0xfeff).into_iter().chain(CSR.encode_utf16());
            let bytes = units.flat_map(|unit| {
                if swap {
                    unit.to_be_bytes()
                } else {
                    unit.to_le_bytes()
                }
            });
            bytes.collect()
        };
        let base64: String = CSR.lines().filter(|line| !line.starts_with('-')).collect();
        let wrap = |width: usize| -> String {
            let lines: Vec<&str> = (0..base64.len())
                .step_by(width)
                .map(|start| &base64[start..base64.len().min(start + width)])
                .collect();
            format!(
                "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----",
                lines.join("\n")
            )
        };
        let dresses: Vec<(&str, Vec<u8>)> = vec![
            ("CRLF", CSR.replace('\n', "\r\n").into()),
            ("CR", CSR.replace('\n', "\r").into()),
            ("literal \\n", CSR.replace('\n', "\\n").into()),
            ("literal \\r\\n", CSR.replace('\n', "\\r\\n").into()),
            (
                "JSON",
                format!("{{\"csr\": \"{}\"}}", CSR.replace('\n', "\\n")).into(),
            ),
            ("one line", CSR.replace('\n', " ").into()),
            ("no line ends", CSR.replace('\n', "").into()),
            ("byte order mark", format!("\u{feff}{CSR}").into()),
            ("UTF-16, little end first", utf16(false, true)),
            ("UTF-16, big end first", utf16(true, true)),
            ("UTF-16 without a mark", utf16(false, false)),
            ("UTF-16 without a mark, big end first", utf16(true, false)),
            ("76 columns", wrap(76).into()),
            ("10 columns", wrap(10).into()),
            (
                "indented",
                CSR.lines()
                    .map(|line| format!("    {line}  \n"))
                    .collect::<String>()
                    .into(),
            ),
            (
                "text around",
                format!("Certificate Request:\n    Data:\n{CSR}\n-- end --\n").into(),
            ),
            (
                "latin-1 text before",
                [b"Subject: O = Pr\xfcfer\n".as_slice(), CSR.as_bytes()].concat(),
            ),
        ];
        for (dress, text) in dresses {
            assert_eq!(read(text), plain, "{dress}");
        }
    }

    #[test]
    fn what_is_not_pem_is_named() {
        let cut_off = &CSR[..CSR.len() / 2];
        let der = read(CSR).remove(0).1;
        let messages = [
            b"".as_slice(),
            b"hello",
            cut_off.as_bytes(),
            CSR.replacen("\nM", "\n*", 1).as_bytes(),
            &der,
        ]
        .map(|text| {
            let problem = read_blocks(text).err().expect("is not PEM");
            problem.describe("CERTIFICATE REQUEST")
        });
        insta::assert_snapshot!(messages.join("\n"), @"
        it is not PEM; it must have a line `-----BEGIN CERTIFICATE REQUEST-----` and a line `-----END CERTIFICATE REQUEST-----`
        it is not PEM; it must have a line `-----BEGIN CERTIFICATE REQUEST-----` and a line `-----END CERTIFICATE REQUEST-----`
        it is cut off: the line `-----END CERTIFICATE REQUEST-----` is missing
        the block `CERTIFICATE REQUEST` is damaged: it is not base64
        it is DER, not PEM; read it as DER
        ");
    }
}
