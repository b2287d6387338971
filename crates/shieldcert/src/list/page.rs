//! What a list returns: a page, or everything.

use std::ops::Deref;

use serde::{Serialize, Serializer};

use crate::certificate::ClientCertificate;
use crate::certificate::unreadable::UnreadableRecord;

/// The result of one request of a list.
#[derive(Debug)]
#[non_exhaustive]
pub struct Page {
    /// The certificates that match the filter and that no earlier page held, in the service's order.
    pub certificates: Vec<ClientCertificate>,
    /// The records that can't be read as a certificate with an id. Each is reported once in a list.
    pub unreadable: Vec<UnreadableRecord>,
    /// How many certificates the service counts: a hint. It may count those that the filter leaves out too, or be
    /// wrong.
    pub total_count: Option<u64>,
}

/// The certificates of a list, and the records of it that can't be read.
///
/// It derefs to a slice of certificates and iterates over them. It serializes as the certificates alone.
///
/// # Examples
///
/// ```no_run
/// # async fn example(zone: shieldcert::Zone) -> shieldcert::Result<()> {
/// let list = zone.list().await?;
/// println!("{} certificates", list.len());
/// for record in list.unreadable() {
///     eprintln!("{record}");
/// }
/// for certificate in list {
///     println!("{}", certificate.id());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct CertificateList {
    certificates: Vec<ClientCertificate>,
    unreadable: Vec<UnreadableRecord>,
}

impl CertificateList {
    pub(crate) fn new(
        certificates: Vec<ClientCertificate>,
        unreadable: Vec<UnreadableRecord>,
    ) -> Self {
        Self {
            certificates,
            unreadable,
        }
    }

    /// Returns the records that can't be read as a certificate with an id.
    pub fn unreadable(&self) -> &[UnreadableRecord] {
        &self.unreadable
    }

    /// Returns the certificates.
    pub fn into_vec(self) -> Vec<ClientCertificate> {
        self.certificates
    }

    /// Returns the certificates, and the records that can't be read.
    pub fn into_parts(self) -> (Vec<ClientCertificate>, Vec<UnreadableRecord>) {
        (self.certificates, self.unreadable)
    }
}

impl Deref for CertificateList {
    type Target = [ClientCertificate];

    fn deref(&self) -> &[ClientCertificate] {
        &self.certificates
    }
}

impl IntoIterator for CertificateList {
    type Item = ClientCertificate;
    type IntoIter = std::vec::IntoIter<ClientCertificate>;

    fn into_iter(self) -> Self::IntoIter {
        self.certificates.into_iter()
    }
}

impl<'a> IntoIterator for &'a CertificateList {
    type Item = &'a ClientCertificate;
    type IntoIter = std::slice::Iter<'a, ClientCertificate>;

    fn into_iter(self) -> Self::IntoIter {
        self.certificates.iter()
    }
}

impl Serialize for CertificateList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.certificates.serialize(serializer)
    }
}
