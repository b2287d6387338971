//! The known name that a mistyped one may stand for.

/// Says which names there are instead of an unknown one: the nearest, or all where none is near.
pub(crate) fn hint<'a>(given: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(given, known.clone()) {
        Some(name) => format!("did you mean {name}?"),
        None => format!("known are {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// Returns the known name that differs least, if at most a third of the characters differ.
pub(crate) fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const MAX_LEN: usize = 64;
    if given.len() > MAX_LEN {
        return None;
    }
    let given = given.trim().to_lowercase().replace(['-', ' '], "_");
    let distances = known.map(|name| {
        let distance = strsim::osa_distance(&given, &name.to_lowercase().replace('-', "_"));
        (distance, name)
    });
    let near = distances.filter(|(distance, name)| distance * 3 <= given.len().max(name.len()));
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found() {
        let known = || ["days", "csr", "common_name", "organization"].into_iter();
        for (given, expected) in [
            ("dyas", Some("days")),
            ("DAYS", Some("days")),
            ("common name", Some("common_name")),
            ("organisation", Some("organization")),
            ("cn", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known()), expected, "{given}");
        }
        assert_eq!(nearest(&"days".repeat(100_000), known()), None);
        assert_eq!(
            hint("cn", known()),
            "known are days, csr, common_name, organization"
        );
    }
}
