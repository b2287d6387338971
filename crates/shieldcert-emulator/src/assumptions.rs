//! What the emulator assumes where Cloudflare's documents are silent.
//!
//! Nobody here has seen the real service do any of this, so a client should not depend on these values, nor on
//! this behavior:
//!
//! - A request without any credential gets the response of one with a malformed `Authorization` header.
//! - A request is routed before its credentials are checked: a malformed id is a 404 for everybody.
//! - Revoking a certificate that is revoked, or pending revocation, responds 200 with its current status. So does
//!   reactivating an active one.
//! - A certificate has the requester's subject and public key. The CSR's extensions are ignored, alternative
//!   names included: the CA alone decides what a certificate is for.
//! - A CSR may have either label, and text around it. A subject may be anything, an attribute twice included.
//! - Keys may be RSA from [`MIN_RSA_BITS`] to 8,192 bits, ECDSA P-256 and P-384, and Ed25519. A CSR signed with
//!   SHA-1 is refused.
//! - `limit` and `offset` win over `page` and `per_page` when either of them is given.
//! - Every request below the API's base path counts against the rate limit, refused ones included. A window
//!   begins with its first request. A block lasts a window's length from the first request past the quota.
//! - Reactivating takes a slot of the quota, as issuing does; a certificate that is pending revocation holds none.
//! - The edge admits a certificate that is `pending_revocation`, and not yet one that is `pending_reactivation`: it
//!   learns of a change once the certificate is settled. Its response is the emulator's own; the values are those
//!   that a Worker sees.
//! - `total_pages` is `total_count` in pages of the size asked for.

/// The code for a certificate that the zone does not have (HTTP 404).
pub const CERTIFICATE_NOT_FOUND: i64 = 1401;
/// The code for a CSR that is refused, for any reason (HTTP 400).
pub const INVALID_CSR: i64 = 1402;
/// The code for a `validity_days` outside 1 to [`MAX_VALIDITY_DAYS`] (HTTP 400).
pub const INVALID_VALIDITY: i64 = 1403;
/// The code for an edit that does not ask for a reactivation (HTTP 400).
pub const INVALID_EDIT: i64 = 1404;
/// The code for reactivating a revoked certificate where a setting forbids it (HTTP 409).
pub const REACTIVATION_REFUSED: i64 = 1405;
/// The code for asking for the status that a certificate has, where a quirk forbids it (HTTP 409).
pub const REPEAT_REFUSED: i64 = 1406;
/// The code for a body that is not JSON, is not an object, or lacks a field (HTTP 400).
pub const INVALID_BODY: i64 = 6007;
/// The code for a body larger than [`MAX_BODY_BYTES`] (HTTP 413).
pub const BODY_TOO_LARGE: i64 = 6008;
/// The code for a query parameter whose value is not allowed (HTTP 400).
pub const INVALID_QUERY: i64 = 6009;
/// The code for a known path with a method that it does not have (HTTP 405).
pub const METHOD_NOT_ALLOWED: i64 = 7001;
/// The code for a request past the rate limit (HTTP 429).
pub const RATE_LIMITED: i64 = 10429;
/// The code for a signature that could not be made, or a store that failed (HTTP 500).
pub const INTERNAL: i64 = 1000;
/// The HTTP status of a create, or a reactivation, past the zone's quota. The code, 1445, is known.
pub const QUOTA_STATUS: u16 = 400;

/// The largest request body: 64 KiB. A CSR of an 8,192-bit RSA key takes 4 KiB.
pub const MAX_BODY_BYTES: usize = 64 << 10;
/// The longest validity: 15 years.
pub const MAX_VALIDITY_DAYS: i64 = 5475;
/// The largest `limit` of a list; the published document states none.
pub const MAX_LIMIT: u64 = 1000;
/// The smallest RSA key that is accepted.
pub const MIN_RSA_BITS: usize = 2048;
