//! The name of a subject or an issuer, as a certificate or a request holds it.

use std::fmt::{self, Write};

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag, Tagged};

/// A distinguished name. `Display` writes it as RFC 4514 does, but in the order of the DER.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Name {
    /// Relative names, each with one attribute or several.
    relative: Vec<Vec<Attribute>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Attribute {
    kind: ObjectIdentifier,
    /// What is not text is in hex after a `#`.
    value: String,
    is_text: bool,
}

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The names that RFC 4514 gives attributes, and a few that tools write.
const KEYWORDS: [(ObjectIdentifier, &str); 12] = [
    (COMMON_NAME, "CN"),
    (ObjectIdentifier::new_unwrap("2.5.4.5"), "serialNumber"),
    (ObjectIdentifier::new_unwrap("2.5.4.6"), "C"),
    (ObjectIdentifier::new_unwrap("2.5.4.7"), "L"),
    (ObjectIdentifier::new_unwrap("2.5.4.8"), "ST"),
    (ObjectIdentifier::new_unwrap("2.5.4.9"), "street"),
    (ObjectIdentifier::new_unwrap("2.5.4.10"), "O"),
    (ObjectIdentifier::new_unwrap("2.5.4.11"), "OU"),
    (ObjectIdentifier::new_unwrap("2.5.4.12"), "title"),
    (
        ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1"),
        "UID",
    ),
    (
        ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.25"),
        "DC",
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1"),
        "emailAddress",
    ),
];

impl Name {
    pub(super) fn read(reader: &mut SliceReader<'_>) -> der::Result<Self> {
        AnyRef::decode(reader)?.sequence(|reader| {
            let mut relative = Vec::new();
            while !reader.is_finished() {
                relative.push(read_relative(reader)?);
            }
            Ok(Self { relative })
        })
    }

    /// Returns the first common name.
    pub(super) fn common_name(&self) -> Option<&str> {
        let mut attributes = self.relative.iter().flatten();
        let found = attributes.find(|attribute| attribute.kind == COMMON_NAME)?;
        found.is_text.then_some(found.value.as_str())
    }
}

fn read_relative(reader: &mut SliceReader<'_>) -> der::Result<Vec<Attribute>> {
    let set = AnyRef::decode(reader)?;
    set.tag().assert_eq(Tag::Set)?;
    let mut reader = SliceReader::new(set.value())?;
    let mut attributes = Vec::new();
    while !reader.is_finished() {
        attributes.push(AnyRef::decode(&mut reader)?.sequence(|reader| {
            let kind = ObjectIdentifier::decode(reader)?;
            let value = AnyRef::decode(reader)?;
            let text = read_text(value);
            der::Result::Ok(Attribute {
                kind,
                is_text: text.is_some(),
                value: text.unwrap_or_else(|| format!("#{}", hex::encode(value.value()))),
            })
        })?);
    }
    Ok(attributes)
}

/// Returns the text of a string of any type that names are written in.
fn read_text(value: AnyRef<'_>) -> Option<String> {
    let bytes = value.value();
    match value.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::NumericString
        | Tag::VisibleString => String::from_utf8(bytes.to_vec()).ok(),
        // What tools write as T.61 is Latin-1.
        Tag::TeletexString => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let units = bytes.chunks_exact(2);
            if !units.remainder().is_empty() {
                return None;
            }
            let units: Vec<u16> = units
                .map(|unit| u16::from_be_bytes([unit[0], unit[1]]))
                .collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, relative) in self.relative.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            for (index, attribute) in relative.iter().enumerate() {
                if index > 0 {
                    f.write_str("+")?;
                }
                write!(f, "{attribute}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match KEYWORDS.iter().find(|(kind, _)| *kind == self.kind) {
            Some((_, keyword)) => f.write_str(keyword)?,
            None => write!(f, "{}", self.kind)?,
        }
        f.write_str("=")?;
        if !self.is_text {
            return f.write_str(&self.value);
        }
        let last = self.value.chars().count().saturating_sub(1);
        for (index, character) in self.value.chars().enumerate() {
            let is_special = matches!(character, '"' | '+' | ',' | ';' | '<' | '>' | '\\')
                || index == 0 && matches!(character, ' ' | '#')
                || index == last && character == ' ';
            match character {
                _ if is_special => write!(f, "\\{character}")?,
                _ if character.is_control() => {
                    let mut bytes = [0; 4];
                    for byte in character.encode_utf8(&mut bytes).bytes() {
                        write!(f, "\\{byte:02x}")?;
                    }
                }
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}
