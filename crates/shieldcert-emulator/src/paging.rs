//! Which certificates a list asks for, read from its query, and the answer's `result_info`.

use http::StatusCode;
use shieldcert_api::types::ClientCertificateResponseCollectionResultInfo as ResultInfo;

use crate::assumptions::{MAX_LIMIT, QUERY_NOT_UNDERSTOOD};
use crate::envelope::Failure;
use crate::transition::Status;

const DEFAULT_PER_PAGE: u64 = 20;
const PER_PAGE: std::ops::RangeInclusive<u64> = 5..=50;
/// The largest whole number that JSON readers agree on.
const LARGEST: u64 = (1 << 53) - 1;

/// A stretch of a zone's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Selection {
    /// None keeps every status.
    pub(crate) status: Option<Status>,
    /// How many matches to skip.
    pub(crate) offset: u64,
    /// The most matches to return.
    pub(crate) limit: u64,
    /// Which page this is, counted from 1.
    page: u64,
}

impl Selection {
    #[cfg(all(test, feature = "sqlite"))]
    pub(crate) fn new(status: Option<Status>, offset: u64, limit: u64) -> Self {
        Self {
            status,
            offset,
            limit,
            page: 1,
        }
    }

    /// Reads a list's query parameters. Unknown ones are ignored, known ones may come once.
    pub(crate) fn from_query(query: &[(String, String)]) -> Result<Self, Failure> {
        let status = match once(query, "status")? {
            None | Some("all") => None,
            Some(text) => Some(text.parse().map_err(|_| {
                refused(
                    "status",
                    "one of all, active, pending_reactivation, pending_revocation, revoked",
                )
            })?),
        };
        let page = number(query, "page", 1..=LARGEST)?.unwrap_or(1);
        let per_page = number(query, "per_page", PER_PAGE)?.unwrap_or(DEFAULT_PER_PAGE);
        let limit = number(query, "limit", 1..=MAX_LIMIT)?;
        let offset = number(query, "offset", 0..=LARGEST)?;
        Ok(if limit.is_some() || offset.is_some() {
            let (limit, offset) = (limit.unwrap_or(per_page), offset.unwrap_or(0));
            Self {
                status,
                offset,
                limit,
                page: offset / limit + 1,
            }
        } else {
            Self {
                status,
                offset: (page - 1).saturating_mul(per_page),
                limit: per_page,
                page,
            }
        })
    }

    /// What the answer says about a stretch of `count` certificates out of `total`.
    pub(crate) fn result_info(&self, count: usize, total: usize) -> ResultInfo {
        let wire = |number: u64| Some(i64::try_from(number).unwrap_or(i64::MAX));
        let mut info = ResultInfo::default();
        info.count = wire(count as u64);
        info.page = wire(self.page);
        info.per_page = wire(self.limit);
        info.total_count = wire(total as u64);
        info.total_pages = wire((total as u64).div_ceil(self.limit));
        info
    }
}

fn once<'a>(query: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, Failure> {
    let mut values = query.iter().filter(|(key, _)| key == name);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(refused(name, "given once")),
        (value, None) => Ok(value.map(|(_, value)| value.as_str())),
    }
}

fn number(
    query: &[(String, String)],
    name: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Option<u64>, Failure> {
    once(query, name)?
        .map(|text| {
            whole(text)
                .filter(|number| range.contains(number))
                .ok_or_else(|| {
                    let (low, high) = range.clone().into_inner();
                    refused(name, &format!("a whole number from {low} to {high}"))
                })
        })
        .transpose()
}

/// A whole number, which may be written as `1.0`: the published document says `number`.
fn whole(text: &str) -> Option<u64> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (integer, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !digits(integer) || !digits(fraction) || fraction.bytes().any(|byte| byte != b'0') {
        return None;
    }
    integer.parse().ok()
}

fn refused(name: &str, needed: &str) -> Failure {
    Failure::new(
        StatusCode::BAD_REQUEST,
        QUERY_NOT_UNDERSTOOD,
        format!("Invalid query parameter `{name}`: it must be {needed}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(query: &[(&str, &str)]) -> Result<Selection, Failure> {
        let query: Vec<_> = query
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        Selection::from_query(&query)
    }

    #[test]
    fn each_query_selects_its_stretch() {
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
            let found = selection(query).map(|s| (s.offset, s.limit, s.page));
            assert_eq!(found, Ok(*expected), "{query:?}");
        }
    }

    #[test]
    fn values_out_of_bounds_are_refused_by_name() {
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
                let failure = selection(&[(name, value)]).expect_err(value);
                assert_eq!(failure.status, StatusCode::BAD_REQUEST);
                assert_eq!(failure.code, QUERY_NOT_UNDERSTOOD);
                assert!(
                    failure.message.contains(&format!("`{name}`")),
                    "{}",
                    failure.message
                );
            }
            let twice = selection(&[(name, "all"), (name, "all")]).expect_err("given twice");
            assert_eq!(twice.code, QUERY_NOT_UNDERSTOOD);
        }
    }

    #[test]
    fn every_status_can_be_asked_for() {
        let status = |text| selection(&[("status", text)]).map(|s| s.status);
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
    fn pages_are_counted_up() {
        let pages = |total| {
            selection(&[("per_page", "5")])
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
