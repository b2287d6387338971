//! The API's error codes that are known, each documented or seen in a real response.
//!
//! The client maps them to predicates and hints; the emulator responds with them.

/// A request header is invalid, usually `Authorization` (HTTP 400). The cause is in `error_chain`.
pub const INVALID_HEADERS: i64 = 6003;
/// The `X-Auth-Email` header is malformed or missing; a cause of [`INVALID_HEADERS`].
pub const INVALID_AUTH_EMAIL: i64 = 6102;
/// The `X-Auth-Key` header is malformed or missing; a cause of [`INVALID_HEADERS`].
pub const INVALID_AUTH_KEY: i64 = 6103;
/// The `Authorization` header is malformed or missing; a cause of [`INVALID_HEADERS`].
pub const INVALID_AUTHORIZATION: i64 = 6111;
/// There is no such route (HTTP 404). Alone it means a wrong base URL.
pub const NO_ROUTE: i64 = 7000;
/// The request could not be routed: an identifier in the path is invalid (HTTP 400 or 404).
pub const INVALID_IDENTIFIER: i64 = 7003;
/// The token is valid but lacks the permission for this call (HTTP 403).
pub const NOT_PERMITTED: i64 = 9109;
/// The credentials are wrong (HTTP 403).
pub const AUTHENTICATION: i64 = 10000;
/// The zone holds as many active client certificates as its quota allows (HTTP 4XX).
pub const QUOTA_REACHED: i64 = 1445;
