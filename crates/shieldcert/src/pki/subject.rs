//! The subject of a certificate.

use rcgen::{DistinguishedName, DnType};

use crate::error::input::InvalidInput;

/// The subject that a certificate is issued for.
///
/// # Examples
///
/// ```
/// use shieldcert::Subject;
///
/// let subject = Subject::common_name("sensor-001")
///     .organization("Temperature Testers, Inc.")
///     .organizational_unit("Field Sensors")
///     .locality("Hamburg")
///     .state("HH")
///     .country("DE");
/// # let _ = subject;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Subject {
    attributes: Vec<(Attribute, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attribute {
    CommonName,
    Organization,
    OrganizationalUnit,
    Locality,
    State,
    Country,
}

impl Attribute {
    fn name(self) -> &'static str {
        match self {
            Self::CommonName => "common name",
            Self::Organization => "organization",
            Self::OrganizationalUnit => "organizational unit",
            Self::Locality => "locality",
            Self::State => "state",
            Self::Country => "country",
        }
    }

    /// The most characters that X.520 allows.
    fn max_len(self) -> usize {
        match self {
            Self::CommonName | Self::Organization | Self::OrganizationalUnit => 64,
            Self::Locality | Self::State => 128,
            Self::Country => 2,
        }
    }

    fn dn_type(self) -> DnType {
        match self {
            Self::CommonName => DnType::CommonName,
            Self::Organization => DnType::OrganizationName,
            Self::OrganizationalUnit => DnType::OrganizationalUnitName,
            Self::Locality => DnType::LocalityName,
            Self::State => DnType::StateOrProvinceName,
            Self::Country => DnType::CountryName,
        }
    }

    fn check(self, value: &str) -> Result<(), InvalidInput> {
        let length = value.chars().count();
        let problem = if value.trim().is_empty() {
            "is empty".to_owned()
        } else if let Some(odd) = value.chars().find(|c| c.is_control()) {
            format!("has {odd:?}, a control character")
        } else if length > self.max_len() {
            format!("has {length} characters; it may have {}", self.max_len())
        } else if self == Self::Country
            && !(length == 2 && value.chars().all(|c| c.is_ascii_uppercase()))
        {
            format!("is {value:?}; give two capital letters, such as \"DE\"")
        } else {
            return Ok(());
        };
        let problem = format!("the {} {problem}", self.name());
        Err(InvalidInput::new("subject", problem))
    }
}

impl Subject {
    /// Creates a subject with the common name of a device, service or app.
    pub fn common_name(name: impl Into<String>) -> Self {
        let empty = Self {
            attributes: Vec::new(),
        };
        empty.set(Attribute::CommonName, name)
    }

    /// Sets the organization.
    pub fn organization(self, name: impl Into<String>) -> Self {
        self.set(Attribute::Organization, name)
    }

    /// Sets the organizational unit.
    pub fn organizational_unit(self, name: impl Into<String>) -> Self {
        self.set(Attribute::OrganizationalUnit, name)
    }

    /// Sets the locality, for example a city.
    pub fn locality(self, name: impl Into<String>) -> Self {
        self.set(Attribute::Locality, name)
    }

    /// Sets the state or province.
    pub fn state(self, name: impl Into<String>) -> Self {
        self.set(Attribute::State, name)
    }

    /// Sets the country by its two capital letters of ISO 3166.
    pub fn country(self, code: impl Into<String>) -> Self {
        self.set(Attribute::Country, code)
    }

    fn set(mut self, attribute: Attribute, value: impl Into<String>) -> Self {
        self.attributes.retain(|(other, _)| *other != attribute);
        self.attributes.push((attribute, value.into()));
        self
    }

    /// Checks what is checked when a CSR is made, without making a key.
    ///
    /// # Errors
    /// Returns an error if a value is empty, too long, or has a control character, or if the country is not two capital
    /// letters. It names the attribute.
    ///
    /// # Examples
    ///
    /// ```
    /// use shieldcert::Subject;
    ///
    /// let error = Subject::common_name("sensor-001").country("Germany").check();
    /// assert!(error.expect_err("is refused").to_string().contains("country"));
    /// ```
    pub fn check(&self) -> Result<(), InvalidInput> {
        let mut attributes = self.attributes.iter();
        attributes.try_for_each(|(attribute, value)| attribute.check(value))
    }

    pub(super) fn to_distinguished_name(&self) -> Result<DistinguishedName, InvalidInput> {
        self.check()?;
        let mut name = DistinguishedName::new();
        for (attribute, value) in &self.attributes {
            name.push(attribute.dn_type(), value.as_str());
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_attribute_and_what_is_wrong() {
        let name = || Subject::common_name("sensor");
        let refusals = [
            Subject::common_name(""),
            Subject::common_name("a".repeat(65)),
            name().organization("a\nb"),
            name().country("Germany"),
            name().country("de"),
        ]
        .map(|subject| {
            let refused = subject.check().expect_err("is refused");
            let no_csr = subject.to_distinguished_name().expect_err("is refused");
            assert_eq!(refused, no_csr);
            refused.to_string()
        });
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        subject: the common name is empty
        subject: the common name has 65 characters; it may have 64
        subject: the organization has '\n', a control character
        subject: the country has 7 characters; it may have 2
        subject: the country is "de"; give two capital letters, such as "DE"
        "#);
    }

    #[test]
    fn any_language_is_allowed() {
        let subject = Subject::common_name("sensor").organization("Zürich ⚙ 计量");
        let subject = subject.country("CH");
        subject.check().expect("UTF-8 is allowed");
        subject.to_distinguished_name().expect("UTF-8 is allowed");
    }
}
