//! Fetches one range of a list.

use shieldcert_api::types;

use crate::certificate::envelope::RecordPage;
use crate::certificate::filter::StatusFilter;
use crate::context::Context;
use crate::error::Result;
use crate::error::call::Call;
use crate::error::input::InvalidInput;
use crate::observe::trace;

/// The smallest page that the service accepts.
pub(super) const MIN_PAGE_SIZE: u32 = 5;
/// The largest page that the service accepts.
pub(super) const MAX_PAGE_SIZE: u32 = 50;

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

/// A range of the list, as one request asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageRange {
    pub(super) start: u64,
    pub(super) size: u64,
    pub(super) by: Addressing,
}

impl PageRange {
    pub(super) fn end(self) -> u64 {
        self.start + self.size
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addressing {
    /// `page` and `per_page`.
    Page,
    /// `offset` and `limit`.
    Offset,
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
    trace(span, fetch_inner(query, filter, range)).await
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
                Addressing::Page => request
                    .page(range.start / range.size + 1)
                    .per_page(range.size as i64),
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
