//! JSON pointers (RFC 6901): how messages name a place in a document.

use std::fmt;

/// A place in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer(String);

impl Pointer {
    /// Returns the pointer to the whole document.
    pub(super) fn root() -> Self {
        Self(String::new())
    }

    /// Returns the pointer to a member.
    pub(super) fn key(&self, key: &str) -> Self {
        Self(format!("{}/{}", self.0, escape(key)))
    }

    /// Returns the pointer to an element.
    pub(super) fn index(&self, index: usize) -> Self {
        Self(format!("{}/{index}", self.0))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The whole document is shown as `/`: the empty pointer would not be seen in a message.
impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

/// Escapes a key so that it is one token of a pointer.
pub(super) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Returns the key that a token of a pointer stands for.
pub(super) fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaping_round_trips() {
        for (key, token) in [("a/b~c", "a~1b~0c"), ("~1", "~01"), ("plain", "plain")] {
            assert_eq!(escape(key), token);
            assert_eq!(unescape(token), key);
        }
    }

    #[test]
    fn a_pointer_is_displayed() {
        let pointer = Pointer::root().key("paths").key("/a").index(0);
        assert_eq!(pointer.to_string(), "/paths/~1a/0");
        assert_eq!(Pointer::root().to_string(), "/");
    }
}
