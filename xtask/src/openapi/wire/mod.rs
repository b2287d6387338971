//! What a document says on the wire, whatever its layout.
//!
//! Upstream's documents nest, share, inline and name their components at will, and that changes from one version to the
//! next. None of it can be seen in a request or a response. Here a document is resolved to what can: references are
//! followed, the parts of an `allOf` are merged where nothing is lost, texts are dropped, and keywords that state their
//! default are dropped too. Two documents that say the same give equal trees.

mod api;
mod merge;
mod resolve;
mod schema;
#[cfg(test)]
mod tests;

pub(super) use api::{Api, Header, Media, Operation, Parameter, Response, Security, shape};
pub(super) use resolve::Resolver;
pub(super) use schema::{Additional, Schema, is_text};
