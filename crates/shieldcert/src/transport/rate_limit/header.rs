//! Reads the rate limit headers, which are structured fields: `"default";r=50;t=30`.

use http::HeaderMap;

/// An item of a structured field: a name with parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) name: &'a str,
    parameters: &'a str,
}

impl<'a> Item<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let end = split(text, ';').next()?.len();
        let (name, parameters) = text.split_at(end);
        let name = name.trim().trim_matches('"');
        (!name.is_empty()).then_some(Self { name, parameters })
    }

    /// Returns the first parameter with this name that is a number.
    pub(super) fn number(self, name: &str) -> Option<u64> {
        let pairs = split(self.parameters, ';').filter_map(|pair| pair.split_once('='));
        pairs
            .filter(|(key, _)| key.trim().eq_ignore_ascii_case(name))
            .find_map(|(_, value)| value.trim().parse().ok())
    }
}

/// Returns the items of a header and skips what can't be read. It runs for every response, so it allocates nothing.
pub(super) fn items<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = Item<'a>> {
    let values = headers.get_all(name).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| split(value, ','))
        .filter_map(Item::parse)
}

/// Splits at a separator outside of quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |c: char| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    })
}
