//! Attributes of a subject, `KEY=VALUE`.

use std::str::FromStr;

use shieldcert::{ClientCertificate, Subject};
use shieldcert_fleet::DeviceSubject;

/// An attribute of a subject, by its short name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubjectKey {
    CommonName,
    Organization,
    OrganizationalUnit,
    Locality,
    State,
    Country,
}

impl SubjectKey {
    /// Reads the short name in front of `=`, in either case, and returns what is behind it too.
    pub(super) fn split(text: &str) -> Option<(Self, &str)> {
        let (key, value) = text.split_once('=')?;
        let key = match key.trim().to_ascii_uppercase().as_str() {
            "CN" => Self::CommonName,
            "O" => Self::Organization,
            "OU" => Self::OrganizationalUnit,
            "L" => Self::Locality,
            "ST" => Self::State,
            "C" => Self::Country,
            _ => return None,
        };
        Some((key, value))
    }

    /// The attribute of a certificate.
    pub(super) fn of(self, certificate: &ClientCertificate) -> Option<&str> {
        match self {
            Self::CommonName => certificate.common_name(),
            Self::Organization => certificate.organization(),
            Self::OrganizationalUnit => certificate.organizational_unit(),
            Self::Locality => certificate.locality(),
            Self::State => certificate.state(),
            Self::Country => certificate.country(),
        }
    }
}

/// An attribute for a new subject, beside the common name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attribute {
    key: SubjectKey,
    value: String,
}

impl Attribute {
    /// Whether both are the same attribute, perhaps with different values.
    pub(crate) fn has_key_of(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// Whether the subject of a certificate has it.
    pub(crate) fn is_of(&self, certificate: &ClientCertificate) -> bool {
        self.key.of(certificate) == Some(&*self.value)
    }

    /// Adds the attribute to a subject.
    pub(crate) fn add_to(&self, subject: Subject) -> Subject {
        let value = &self.value;
        match self.key {
            // Refused when it is parsed.
            SubjectKey::CommonName => subject,
            SubjectKey::Organization => subject.organization(value),
            SubjectKey::OrganizationalUnit => subject.organizational_unit(value),
            SubjectKey::Locality => subject.locality(value),
            SubjectKey::State => subject.state(value),
            SubjectKey::Country => subject.country(value),
        }
    }
}

impl FromStr for Attribute {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match SubjectKey::split(text) {
            Some((SubjectKey::CommonName, _)) => {
                Err("the common name is NAME, the command's first argument".to_owned())
            }
            Some((key, value)) => Ok(Self {
                key,
                value: value.to_owned(),
            }),
            None => Err(
                "write KEY=VALUE, such as 'O=Acme, Inc.', with one of the keys O, OU, L, ST, C"
                    .to_owned(),
            ),
        }
    }
}

/// Reads the subject of a certificate, as RFC 4514 writes it, for a new CSR. What a CSR can't have is a problem.
pub(crate) fn parse_name(text: &str) -> Result<DeviceSubject, String> {
    let mut subject = DeviceSubject::default();
    for part in split(text)? {
        let Some((key, value)) = SubjectKey::split(&part) else {
            let key = part.split('=').next().unwrap_or_default();
            return Err(format!(
                "its subject {text} has {key}, which a new CSR would not have; issue the new one for a CSR of your own"
            ));
        };
        let place = match key {
            SubjectKey::CommonName if subject.common_name.is_empty() => {
                subject.common_name = unescape(value)?;
                continue;
            }
            SubjectKey::CommonName => &mut Some(String::new()),
            SubjectKey::Organization => &mut subject.organization,
            SubjectKey::OrganizationalUnit => &mut subject.organizational_unit,
            SubjectKey::Locality => &mut subject.locality,
            SubjectKey::State => &mut subject.province,
            SubjectKey::Country => &mut subject.country,
        };
        if place.is_some() {
            return Err(format!(
                "its subject {text} has an attribute twice, which a new CSR would not have; issue the new one for a CSR of \
                 your own"
            ));
        }
        *place = Some(unescape(value)?);
    }
    if subject.common_name.is_empty() {
        return Err(
            "its subject has no common name; issue a new one with `shieldcert issue`".to_owned(),
        );
    }
    Ok(subject)
}

/// Splits a name into its attributes, whose values stay escaped.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut parts = vec![String::new()];
    let mut is_escaped = false;
    for character in text.chars() {
        match character {
            ',' if !is_escaped => {
                parts.push(String::new());
                continue;
            }
            '+' if !is_escaped => {
                return Err(format!(
                    "its subject {text} has two attributes in one place, which a new CSR would not have; issue the new one \
                     for a CSR of your own"
                ));
            }
            _ => {}
        }
        is_escaped = character == '\\' && !is_escaped;
        if let Some(part) = parts.last_mut() {
            part.push(character);
        }
    }
    parts.retain(|part| !part.is_empty());
    Ok(parts)
}

fn unescape(value: &str) -> Result<String, String> {
    let odd = || {
        format!(
            "its subject has a value that is no text, {value}; issue a new one with `shieldcert issue`"
        )
    };
    if value.starts_with('#') {
        return Err(odd());
    }
    let mut bytes = Vec::new();
    let mut rest = value;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        if character != '\\' {
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let digits = rest
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (digits, rest.chars().next()) {
            (Some(byte), _) => {
                bytes.push(byte);
                rest = &rest[2..];
            }
            (None, Some(escaped)) => {
                bytes.extend_from_slice(escaped.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[escaped.len_utf8()..];
            }
            (None, None) => return Err(odd()),
        }
    }
    String::from_utf8(bytes).map_err(|_| odd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_certificates_have_them() {
        let subject =
            parse_name("C=DE,ST=BW,L=Ulm,O=Acme\\, Inc.,OU=a \\+ b\\\\,CN=\\ sensor\\0a1 é\\ ")
                .expect("a name");
        let organization = subject.organization.as_deref();
        assert_eq!(
            (&*subject.common_name, organization),
            (" sensor\n1 é ", Some("Acme, Inc."))
        );
        assert_eq!(subject.organizational_unit.as_deref(), Some("a + b\\"));
        let rest = [subject.country, subject.province, subject.locality].map(Option::unwrap);
        assert_eq!(rest, ["DE", "BW", "Ulm"]);
        for (text, problem) in [
            ("O=Acme", "no common name"),
            ("", "no common name"),
            ("CN=a,CN=b", "twice"),
            ("CN=a,O=b,O=c", "twice"),
            ("CN=a+O=b", "in one place"),
            ("CN=a,emailAddress=a@b", "has emailAddress"),
            ("CN=a,1.2.3=b", "has 1.2.3"),
            ("CN=#0102", "no text"),
        ] {
            let refused = parse_name(text).expect_err(text);
            assert!(refused.contains(problem), "{text}: {refused}");
        }
    }
}
