//! Which certificates a list asks for.

use std::time::Duration;

use crate::core::status::Status;
use crate::settings::Order;

/// A part of a zone's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Selection {
    /// None selects every status.
    pub(crate) status: Option<Status>,
    /// How many matches to skip.
    pub(crate) offset: u64,
    /// The most matches to return.
    pub(crate) limit: u64,
}

/// How a list is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) order: Order,
    /// The time, since 1970, whose state is shown. None for now.
    pub(crate) as_of: Option<Duration>,
}

impl From<Order> for View {
    fn from(order: Order) -> Self {
        Self { order, as_of: None }
    }
}
