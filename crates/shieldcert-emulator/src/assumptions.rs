//! What nobody here has seen the real service do, each choice with its name, in one place.
//!
//! The facts behind the emulator come from Cloudflare's published documents. Where they are silent,
//! the emulator has to do something all the same. A client should not lean on these values, nor on the
//! following behaviour:
//!
//! - A call without any credential is answered as one with a malformed `Authorization` header is.
//! - A request is routed before its credentials are looked at: a malformed id is a 404 for everybody.
//! - Revoking a certificate that is, or is about to be, revoked answers 200 with its present status. So does
//!   reactivating an active one.
//! - A certificate has the requester's subject and public key. The CSR's extensions are ignored, alternative
//!   names included: the CA alone says what a certificate is for.
//! - A subject that names one kind of attribute twice is refused.
//! - Keys may be RSA from [`MIN_RSA_BITS`] to 8,192 bits, ECDSA P-256 and P-384, and Ed25519. A CSR signed with
//!   SHA-1 is refused.
//! - `limit` and `offset` rule over `page` and `per_page` when either of them is given.
//! - Every request below the API's base path counts against the rate limit, one that is refused too. A window
//!   begins with its first request, and a block lasts a window's length from the first request past the quota.
//! - Reactivating takes a place of the quota, as issuing does; a certificate on its way to revoked has none.
//! - The edge lets a certificate in that is `pending_revocation`, and not yet one that is `pending_reactivation`: it
//!   learns of a change once it has settled. What it answers is its own; the values are a Worker's.
//! - `total_pages` is `total_count` in pages of the size asked for.

/// The code for a certificate that the zone does not have (HTTP 404).
pub const CERTIFICATE_NOT_FOUND: i64 = 1401;
/// The code for a body that is not JSON, not an object, or that lacks a field (HTTP 400).
pub const BODY_NOT_UNDERSTOOD: i64 = 6007;
/// The code for a body larger than [`BODY_LIMIT`] (HTTP 413).
pub const BODY_TOO_LARGE: i64 = 6008;
/// The code for a query parameter whose value is not allowed (HTTP 400).
pub const QUERY_NOT_UNDERSTOOD: i64 = 6009;
/// The code for a CSR that is refused, whatever the reason (HTTP 400).
pub const CSR_REFUSED: i64 = 1402;
/// The code for a `validity_days` outside 1 to [`MAX_VALIDITY_DAYS`] (HTTP 400).
pub const VALIDITY_REFUSED: i64 = 1403;
/// The code for an edit that does not ask for a reactivation (HTTP 400).
pub const EDIT_REFUSED: i64 = 1404;
/// The code for reactivating a revoked certificate where a setting forbids it (HTTP 409).
pub const REACTIVATION_REFUSED: i64 = 1405;
/// The code for a request past the rate limit (HTTP 429).
pub const RATE_LIMITED: i64 = 10429;
/// The HTTP status of a create, or a reactivation, past the zone's quota; the code, 1445, is known.
pub const QUOTA_STATUS: u16 = 400;
/// The code for a known path with a method that it does not have (HTTP 405).
pub const METHOD_NOT_ALLOWED: i64 = 7001;
/// The code for a path that leads nowhere (HTTP 404).
pub const NO_ROUTE: i64 = 7000;
/// The code for a signature that could not be made (HTTP 500).
pub const INTERNAL: i64 = 1000;

/// The largest request body, in bytes: 64 KiB. A CSR of an 8,192-bit RSA key takes 4 KiB.
pub const BODY_LIMIT: usize = 64 << 10;
/// The longest validity, in days: 15 years.
pub const MAX_VALIDITY_DAYS: i64 = 5475;
/// The largest `limit` of a list; the published document states none.
pub const MAX_LIMIT: u64 = 1000;
/// The smallest RSA key that is accepted, in bits.
pub const MIN_RSA_BITS: usize = 2048;
