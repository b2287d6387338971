//! The service without HTTP: a CA, a store of certificates, and what the five operations do with them.
//!
//! Nothing here knows of requests and responses: an operation returns a certificate, or a
//! [`Refusal`](refusal::Refusal).

pub(crate) mod ca;
pub(crate) mod clock;
pub(crate) mod csr;
pub(crate) mod populate;
pub(crate) mod random;
pub(crate) mod refusal;
pub(crate) mod service;
mod signer;
pub(crate) mod status;
pub(crate) mod store;
