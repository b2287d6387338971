//! Spans around operations. What is in them says which certificate and which zone, and never a secret.

use tracing::{Instrument, Span};

use crate::error::Result;

/// Runs an operation in its span, and notes there that it failed.
pub(crate) async fn traced<T>(span: Span, operation: impl Future<Output = Result<T>>) -> Result<T> {
    let noted = async {
        operation.await.inspect_err(|error| {
            tracing::debug!(%error);
        })
    };
    noted.instrument(span).await
}
