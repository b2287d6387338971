//! The orders that a list may have, by the records that were read.
//!
//! The service's order is not documented. A page that was read excludes the orders that it contradicts. Of those that
//! remain, none is known to be the right one, so a place is predicted under each.

use jiff::{SignedDuration, Timestamp};

use super::needle::Needle;
use crate::certificate::ClientCertificate;

/// What a list may be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// The time of issue.
    Age,
    /// The time of expiry.
    Expiry,
    /// The common name, byte by byte.
    Name,
    /// The common name without regard to case.
    NameIgnoringCase,
    /// The id.
    Id,
}

/// A field, ascending or descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) field: Field,
    pub(super) descending: bool,
}

/// A value of a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    Time(Timestamp),
    Text(String),
}

/// The values that a field of the certificate sought may have, both ends included. `None`: no bound.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) from: Option<Value>,
    pub(super) to: Option<Value>,
}

impl Order {
    pub(super) const ALL: [Self; 10] = {
        const fn both(field: Field) -> [Order; 2] {
            [
                Order {
                    field,
                    descending: false,
                },
                Order {
                    field,
                    descending: true,
                },
            ]
        }
        let ([a, b], [c, d]) = (both(Field::Age), both(Field::Expiry));
        let ([e, f], [g, h]) = (both(Field::Name), both(Field::NameIgnoringCase));
        let [i, j] = both(Field::Id);
        [a, b, c, d, e, f, g, h, i, j]
    };

    /// Whether the records may be in this order. Records without the field say nothing.
    pub(super) fn allows<'a>(self, records: impl Iterator<Item = &'a ClientCertificate>) -> bool {
        let mut values = records.filter_map(|record| self.field.of(record));
        let Some(mut last) = values.next() else {
            return true;
        };
        values.all(|value| {
            let is_in_order = match self.descending {
                false => last <= value,
                true => last >= value,
            };
            last = value;
            is_in_order
        })
    }
}

impl Field {
    pub(super) fn of(self, record: &ClientCertificate) -> Option<Value> {
        Some(match self {
            Self::Age => Value::Time(record.not_before()?),
            Self::Expiry => Value::Time(record.not_after()?),
            Self::Name => Value::Text(record.common_name()?.to_owned()),
            Self::NameIgnoringCase => Value::Text(record.common_name()?.to_lowercase()),
            Self::Id => Value::Text(record.id().as_str().to_owned()),
        })
    }

    /// Where the certificate is under this order. `None` if that can't be predicted.
    pub(super) fn place(self, needle: &Needle) -> Option<Place> {
        let name = || needle.csr.common_name();
        let exactly = |text: String| Place {
            from: Some(Value::Text(text.clone())),
            to: Some(Value::Text(text)),
        };
        match self {
            Self::Age => Some(Place {
                from: Some(Value::Time(needle.issued_from()?)),
                to: None,
            }),
            // Assumed: the service grants the validity that was asked for, give or take a day.
            Self::Expiry => {
                let days = |days: u32| SignedDuration::from_hours(24 * i64::from(days));
                let from = needle.issued_from()?;
                let from = from.checked_add(days(needle.validity_days - 1)).ok()?;
                Some(Place {
                    from: Some(Value::Time(from)),
                    to: None,
                })
            }
            Self::Name => Some(exactly(name()?.to_owned())),
            Self::NameIgnoringCase => Some(exactly(name()?.to_lowercase())),
            Self::Id => None,
        }
    }
}
