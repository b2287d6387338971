//! Fetches one range of a list.

use shieldcert_api::types;

use super::range::{Addressing, MAX_PAGE_SIZE, MIN_PAGE_SIZE, PageRange};
use crate::certificate::envelope::RecordPage;
use crate::certificate::filter::StatusFilter;
use crate::context::Context;
use crate::error::call::Call;
use crate::error::input::InvalidInput;
use crate::error::{Error, Result};
use crate::observe::trace;

/// The settings of a list.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) context: Context,
    pub(super) filter: StatusFilter,
    pub(super) page_size: u32,
    pub(super) prefetch: u32,
}

impl Query {
    pub(super) fn check(&self) -> Result<(), InvalidInput> {
        if (MIN_PAGE_SIZE..=MAX_PAGE_SIZE).contains(&self.page_size) {
            return Ok(());
        }
        Err(InvalidInput::new(
            "page size",
            format!(
                "{} is not possible; give {MIN_PAGE_SIZE} to {MAX_PAGE_SIZE}",
                self.page_size
            ),
        ))
    }
}

/// Fetches a range. `filter` is what the service filters by, which may be less than what the list asks for.
pub(super) async fn fetch(
    query: Query,
    filter: StatusFilter,
    range: PageRange,
) -> Result<(RecordPage, Call)> {
    let span = tracing::info_span!(
        "shieldcert.list",
        zone = %query.context.zone_id, status = %filter, start = range.start, size = range.size
    );
    let fetched = trace(span, fetch_inner(query, filter, range)).await;
    fetched.map_err(|error| name_page(error, range))
}

/// Adds the page to the path in an error, unless it is the first one.
fn name_page(mut error: Error, range: PageRange) -> Error {
    let parameters = match range.by {
        Addressing::Page(1) => return error,
        Addressing::Page(number) => format!("?page={number}&per_page={}", range.size),
        Addressing::Offset => format!("?offset={}&limit={}", range.start, range.size),
    };
    if let Error::Api { call, .. }
    | Error::InvalidResponse { call, .. }
    | Error::Transport { call, .. } = &mut error
    {
        call.path.push_str(&parameters);
    }
    error
}

async fn fetch_inner(
    query: Query,
    filter: StatusFilter,
    range: PageRange,
) -> Result<(RecordPage, Call)> {
    query
        .context
        .call::<types::ClientCertificateResponseCollection>(async |api| {
            let request = api
                .list_client_certificates()
                .zone_id(query.context.zone())
                .status(wire_filter(filter));
            let request = match range.by {
                Addressing::Page(number) => request.page(number).per_page(range.size as i64),
                // With the page size too, for a service that ignores the limit.
                Addressing::Offset => request
                    .offset(range.start as i64)
                    .limit(range.size as i64)
                    .per_page(range.size as i64),
            };
            request.send().await
        })
        .await
}

fn wire_filter(filter: StatusFilter) -> types::ListClientCertificatesStatus {
    use types::ListClientCertificatesStatus as Wire;
    match filter {
        StatusFilter::All => Wire::All,
        StatusFilter::Active => Wire::Active,
        StatusFilter::PendingReactivation => Wire::PendingReactivation,
        StatusFilter::PendingRevocation => Wire::PendingRevocation,
        StatusFilter::Revoked => Wire::Revoked,
    }
}
