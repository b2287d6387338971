//! A page of a list.

use crate::certificate::ClientCertificate;
use crate::certificate::envelope::UnreadableRecord;

/// The result of one request of a list.
#[derive(Debug)]
#[non_exhaustive]
pub struct Page {
    /// The certificates that no earlier page held, in the service's order.
    pub certificates: Vec<ClientCertificate>,
    /// The records that can't be read as a certificate with an id, each as an error that shows it.
    pub unreadable: Vec<UnreadableRecord>,
    /// How many certificates the service counts. It may count those that the filter leaves out too.
    pub total_count: Option<u64>,
}
