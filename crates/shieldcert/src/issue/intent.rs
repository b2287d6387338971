//! What must survive a crash of the caller.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::certificate::id::CertificateId;

/// What a process must store before it sends a request to issue, so that another one can resume it.
///
/// Created by [`Issue::intent`](crate::Issue::intent). It holds no secret. Store it, with the CSR, before
/// [`PreparedIssue::send`](crate::PreparedIssue::send), and give it to [`Issue::resume`](crate::Issue::resume) after a
/// crash.
///
/// # Examples
///
/// ```
/// # use shieldcert::IssueIntent;
/// # let stored = r#"{"csr_sha256":"ab","validity_days":90,"sent_after":null,"sent_before":null,"known":[],"key_is_new":true}"#;
/// let intent: IssueIntent = serde_json::from_str(stored)?;
/// assert_eq!(serde_json::to_string(&intent)?, stored);
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IssueIntent {
    /// SHA-256 of the CSR's DER, in hex.
    pub csr_sha256: String,
    /// How many days the certificate is to be valid.
    pub validity_days: u32,
    /// The service's time before the request was sent. `None` if no response had shown it yet.
    pub sent_after: Option<Timestamp>,
    /// The service's time after which the request is not sent any more. `None` if the service's time is unknown.
    pub sent_before: Option<Timestamp>,
    /// The certificates of the CSR that were known before.
    pub known: Vec<CertificateId>,
    /// Whether the key was made for this request.
    pub key_is_new: bool,
    /// Keys of the zone's records without an id, as the last list before the request held them. Nearly always empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
}
