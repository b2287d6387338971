//! A difference, how severe it is, and the version that follows.

use std::fmt;

use serde::Serialize;

/// How much a change asks of the client's users. Ordered by severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Class {
    /// Existing code compiles and behaves as before.
    Additive,
    /// Existing code may meet something new, or a generated Rust type changes.
    Risky,
    /// Something that worked no longer does.
    Breaking,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Additive => "additive",
            Self::Risky => "risky",
            Self::Breaking => "breaking",
        })
    }
}

/// One difference between two documents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Change {
    pub(crate) class: Class,
    /// Where: the operation, then the path into its request or response.
    pub(crate) at: String,
    pub(crate) what: String,
}

/// Puts the most severe changes first.
pub(crate) fn sort(changes: &mut [Change]) {
    changes.sort_by(|a, b| b.class.cmp(&a.class).then_with(|| a.cmp(b)));
}

/// Returns the most severe class of the changes.
pub(crate) fn worst(changes: &[Change]) -> Option<Class> {
    changes.iter().map(|change| change.class).max()
}

/// Returns the next version of the crates by semver. Before 1.0 a breaking change raises the minor number.
pub(crate) fn next_version(current: &str, class: Class) -> Option<String> {
    let mut parts = current.split('.').map(|part| part.parse::<u64>().ok());
    let (major, minor, patch) = (parts.next()??, parts.next()??, parts.next()??);
    Some(match (major, class) {
        (0, Class::Breaking | Class::Risky) => format!("0.{}.0", minor + 1),
        (0, Class::Additive) => format!("0.{minor}.{}", patch + 1),
        (_, Class::Breaking) => format!("{}.0.0", major + 1),
        (_, Class::Risky | Class::Additive) => format!("{major}.{}.0", minor + 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Class::{Additive, Breaking, Risky};

    #[test]
    fn the_next_version_follows_semver() {
        for (current, class, next) in [
            ("0.1.0", Additive, "0.1.1"),
            ("0.1.4", Risky, "0.2.0"),
            ("0.1.4", Breaking, "0.2.0"),
            ("1.2.3", Additive, "1.3.0"),
            ("1.2.3", Risky, "1.3.0"),
            ("1.2.3", Breaking, "2.0.0"),
        ] {
            assert_eq!(next_version(current, class).as_deref(), Some(next));
        }
        assert_eq!(next_version("one", Additive), None);
    }
}
