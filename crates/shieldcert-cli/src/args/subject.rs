//! Attributes of a subject, `KEY=VALUE`.

use std::str::FromStr;

use shieldcert::{ClientCertificate, Subject};

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
