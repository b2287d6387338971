//! Which operation of the API a request asks for.

use std::fmt;
use std::str::FromStr;

use http::Method;
use serde::{Serialize, Serializer};

use crate::error::ParseError;
use crate::settings::BASE_PATH;

/// An operation of the API, or several of them.
///
/// In text, `POST`, `PATCH` and `DELETE` are synonyms of `create`, `edit` and `delete`, and `GET` of `read`: the
/// method of both `list` and `get`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Lists a zone's certificates.
    List,
    /// Gets one certificate.
    Get,
    /// Creates, that is issues, a certificate.
    Create,
    /// Edits, that is reactivates, a certificate.
    Edit,
    /// Deletes, that is revokes, a certificate.
    Delete,
    /// [`List`](Self::List) and [`Get`](Self::Get).
    Read,
    /// Every request, those that are no operation included.
    Any,
}

const NAMES: [(&str, Operation); 7] = [
    ("list", Operation::List),
    ("get", Operation::Get),
    ("create", Operation::Create),
    ("edit", Operation::Edit),
    ("delete", Operation::Delete),
    ("read", Operation::Read),
    ("any", Operation::Any),
];

const METHODS: [(&str, Operation); 4] = [
    ("GET", Operation::Read),
    ("POST", Operation::Create),
    ("PATCH", Operation::Edit),
    ("DELETE", Operation::Delete),
];

impl Operation {
    /// What a request can ask for.
    pub(super) const REQUESTED: [Self; 5] = [
        Self::List,
        Self::Get,
        Self::Create,
        Self::Edit,
        Self::Delete,
    ];

    /// The operation that a request asks for, if it is one.
    pub(crate) fn of_request(method: &Method, path: &str) -> Option<Self> {
        let rest = path.strip_prefix(BASE_PATH)?.strip_prefix("/zones/")?;
        let (_, rest) = rest.split_once('/')?;
        let id = rest.strip_prefix("client_certificates")?;
        let one = match id.strip_prefix('/') {
            None if id.is_empty() => false,
            Some(id) if !id.contains('/') => true,
            _ => return None,
        };
        Some(match (method.as_str(), one) {
            ("GET" | "HEAD", false) => Self::List,
            ("GET" | "HEAD", true) => Self::Get,
            ("POST", false) => Self::Create,
            ("PATCH", true) => Self::Edit,
            ("DELETE", true) => Self::Delete,
            _ => return None,
        })
    }

    /// Whether a request for this operation, or for none, is meant.
    pub(crate) fn includes(self, requested: Option<Self>) -> bool {
        match self {
            Self::Any => true,
            Self::Read => matches!(requested, Some(Self::List | Self::Get)),
            one => requested == Some(one),
        }
    }

    fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, operation)| *operation == self)
            .map_or("", |(name, _)| name)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Operation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl FromStr for Operation {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        NAMES
            .iter()
            .chain(&METHODS)
            .find(|(name, _)| *name == text)
            .map(|(_, operation)| *operation)
            .ok_or_else(|| {
                let names = NAMES.map(|(name, _)| name).join(", ");
                ParseError::new(format!("{text:?} is not an operation; write {names}"))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let of = |method: &str, path: &str| {
            let method: Method = method.parse().expect("a method");
            Operation::of_request(&method, &format!("/client/v4{path}"))
        };
        let (all, one) = (
            "/zones/z/client_certificates",
            "/zones/z/client_certificates/i",
        );
        assert_eq!(of("GET", all), Some(Operation::List));
        assert_eq!(of("HEAD", all), Some(Operation::List));
        assert_eq!(of("POST", all), Some(Operation::Create));
        assert_eq!(of("GET", one), Some(Operation::Get));
        assert_eq!(of("PATCH", one), Some(Operation::Edit));
        assert_eq!(of("DELETE", one), Some(Operation::Delete));
        for (method, path) in [
            ("DELETE", all),
            ("POST", one),
            ("GET", "/zones/z"),
            ("GET", "/zones/z/client_certificates_too"),
            ("GET", "/zones/z/client_certificates/i/j"),
            ("GET", "/user"),
        ] {
            assert_eq!(of(method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn each_operation_includes_its_own_requests() {
        assert!(Operation::Get.includes(Some(Operation::Get)));
        assert!(!Operation::Get.includes(Some(Operation::List)));
        assert!(Operation::Read.includes(Some(Operation::List)));
        assert!(!Operation::Read.includes(None));
        assert!(Operation::Any.includes(None));
    }

    #[test]
    fn names_round_trip_through_text() {
        for (name, operation) in NAMES {
            assert_eq!(operation.to_string(), name);
            assert_eq!(name.parse(), Ok(operation));
        }
        assert_eq!("GET".parse(), Ok(Operation::Read));
        assert_eq!("POST".parse(), Ok(Operation::Create));
        let error = "put".parse::<Operation>().expect_err("unknown");
        insta::assert_snapshot!(error, @r#""put" is not an operation; write list, get, create, edit, delete, read, any"#);
    }
}
