//! The query of a list, and the `result_info` of its response.

use std::ops::RangeInclusive;

use shieldcert_api::types::ClientCertificateResponseCollectionResultInfo as ResultInfo;

use super::envelope::Failure;
use crate::assumptions::MAX_LIMIT;
use crate::core::store::Selection;

const DEFAULT_PER_PAGE: u64 = 20;
const PER_PAGE: RangeInclusive<u64> = 5..=50;
/// The largest whole number that every JSON reader reads exactly.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// What a list asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListQuery {
    pub(crate) selection: Selection,
    /// The number of the page, from 1.
    page: u64,
    /// Whether the page is given by `offset` or `limit`.
    is_by_offset: bool,
}

impl ListQuery {
    /// Reads the query parameters. Unknown ones are ignored, known ones may be given once.
    pub(crate) fn parse(query: &[(String, String)]) -> Result<Self, Failure> {
        let status = match once(query, "status")? {
            None | Some("all") => None,
            Some(text) => Some(text.parse().map_err(|_| {
                invalid_parameter(
                    "status",
                    "one of all, active, pending_reactivation, pending_revocation, revoked",
                )
            })?),
        };
        let page = number(query, "page", 1..=MAX_NUMBER)?.unwrap_or(1);
        let per_page = number(query, "per_page", PER_PAGE)?.unwrap_or(DEFAULT_PER_PAGE);
        let limit = number(query, "limit", 1..=MAX_LIMIT)?;
        let offset = number(query, "offset", 0..=MAX_NUMBER)?;
        let is_by_offset = limit.is_some() || offset.is_some();
        let (offset, limit, page) = if is_by_offset {
            let (limit, offset) = (limit.unwrap_or(per_page), offset.unwrap_or(0));
            (offset, limit, offset / limit + 1)
        } else {
            ((page - 1).saturating_mul(per_page), per_page, page)
        };
        Ok(Self {
            selection: Selection {
                status,
                offset,
                limit,
            },
            page,
            is_by_offset,
        })
    }

    /// Asks for at most this many records, as if the request did.
    pub(crate) fn cap(&mut self, records: u64) {
        let limit = &mut self.selection.limit;
        *limit = (*limit).min(records);
        if !self.is_by_offset {
            self.selection.offset = (self.page - 1).saturating_mul(*limit);
        }
    }

    /// Asks for the page before, if there is one.
    pub(crate) fn go_back(&mut self) {
        let Selection { offset, limit, .. } = self.selection;
        self.selection.offset = offset.saturating_sub(limit);
    }

    /// The `result_info` of a page with `count` certificates out of `total`.
    pub(crate) fn result_info(&self, count: usize, total: usize) -> ResultInfo {
        let mut info = ResultInfo::default();
        let wire = |number: u64| Some(i64::try_from(number).unwrap_or(i64::MAX));
        info.count = wire(count as u64);
        info.page = wire(self.page);
        info.per_page = wire(self.selection.limit);
        info.total_count = wire(total as u64);
        info.total_pages = wire((total as u64).div_ceil(self.selection.limit));
        info
    }
}

fn once<'a>(query: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, Failure> {
    let mut values = query.iter().filter(|(key, _)| key == name);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(invalid_parameter(name, "given once")),
        (value, None) => Ok(value.map(|(_, value)| value.as_str())),
    }
}

fn number(
    query: &[(String, String)],
    name: &str,
    range: RangeInclusive<u64>,
) -> Result<Option<u64>, Failure> {
    once(query, name)?
        .map(|text| {
            parse_whole(text)
                .filter(|number| range.contains(number))
                .ok_or_else(|| {
                    let (low, high) = range.clone().into_inner();
                    invalid_parameter(name, &format!("a whole number from {low} to {high}"))
                })
        })
        .transpose()
}

/// Parses a whole number, also as `1.0`: the published document says `number`.
fn parse_whole(text: &str) -> Option<u64> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (integer, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !digits(integer) || !digits(fraction) || fraction.bytes().any(|byte| byte != b'0') {
        return None;
    }
    integer.parse().ok()
}

fn invalid_parameter(name: &str, needed: &str) -> Failure {
    Failure::InvalidQuery(format!(
        "Invalid query parameter `{name}`: it must be {needed}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::status::Status;

    fn parse(query: &[(&str, &str)]) -> Result<ListQuery, Failure> {
        let query: Vec<_> = query
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        ListQuery::parse(&query)
    }

    #[test]
    fn each_query_selects_its_page() {
        // Query, then offset, limit, page.
        type Row = (&'static [(&'static str, &'static str)], (u64, u64, u64));
        let table: &[Row] = &[
            (&[], (0, 20, 1)),
            (&[("page", "3")], (40, 20, 3)),
            (&[("page", "3"), ("per_page", "5")], (10, 5, 3)),
            (&[("page", "2.0"), ("per_page", "50.00")], (50, 50, 2)),
            (
                &[("page", "9007199254740991"), ("per_page", "50")],
                (9007199254740990 * 50, 50, 9007199254740991),
            ),
            (&[("limit", "7")], (0, 7, 1)),
            (&[("offset", "7")], (7, 20, 1)),
            (&[("offset", "40")], (40, 20, 3)),
            (&[("offset", "7"), ("per_page", "5")], (7, 5, 2)),
            (&[("limit", "1"), ("offset", "0")], (0, 1, 1)),
            (
                &[
                    ("limit", "10"),
                    ("offset", "20"),
                    ("page", "9"),
                    ("per_page", "5"),
                ],
                (20, 10, 3),
            ),
            (&[("colour", "red"), ("colour", "blue")], (0, 20, 1)),
        ];
        for (query, expected) in table {
            let found = parse(query).map(|q| (q.selection.offset, q.selection.limit, q.page));
            assert_eq!(found, Ok(*expected), "{query:?}");
        }
    }

    #[test]
    fn values_out_of_bounds_are_refused_by_parameter() {
        for (name, values) in [
            (
                "page",
                &[
                    "0",
                    "-1",
                    "x",
                    "",
                    "1.5",
                    "1.",
                    ".5",
                    "+1",
                    " 1",
                    "1e3",
                    "0x1",
                    "inf",
                    "NaN",
                    "99999999999999999999",
                ][..],
            ),
            ("per_page", &["0", "4", "51", "4.0", "-5", "x", ""]),
            ("limit", &["0", "1001", "-1", "x", ""]),
            ("offset", &["-1", "x", "", "0.1"]),
            ("status", &["", "Active", "deleted", "active,revoked"]),
        ] {
            for value in values {
                let failure = parse(&[(name, value)]).expect_err(value);
                let Failure::InvalidQuery(message) = failure else {
                    panic!("{failure:?}");
                };
                assert!(message.contains(&format!("`{name}`")), "{message}");
            }
            let twice = parse(&[(name, "all"), (name, "all")]).expect_err("given twice");
            assert!(matches!(twice, Failure::InvalidQuery(_)), "{twice:?}");
        }
    }

    #[test]
    fn every_status_is_a_filter() {
        let status = |text| parse(&[("status", text)]).map(|q| q.selection.status);
        assert_eq!(status("all"), Ok(None));
        assert_eq!(status("active"), Ok(Some(Status::Active)));
        assert_eq!(status("revoked"), Ok(Some(Status::Revoked)));
        assert_eq!(
            status("pending_revocation"),
            Ok(Some(Status::PendingRevocation))
        );
        assert_eq!(
            status("pending_reactivation"),
            Ok(Some(Status::PendingReactivation))
        );
    }

    #[test]
    fn total_pages_rounds_up() {
        let pages = |total| {
            parse(&[("per_page", "5")])
                .expect("a query")
                .result_info(0, total)
                .total_pages
        };
        assert_eq!(
            [0, 1, 5, 6, 10, 11].map(pages),
            [0, 1, 1, 2, 2, 3].map(Some)
        );
    }
}
