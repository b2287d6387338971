//! The settings of an issue, for one certificate or many.

use std::collections::HashSet;
use std::time::Duration;

use crate::certificate::id::CertificateId;

pub(super) const DEFAULT_VALIDITY_DAYS: u32 = 365;
pub(super) const DEFAULT_SETTLE_WINDOW: Duration = Duration::from_secs(75);

#[derive(Clone, Debug)]
pub(crate) struct IssueOptions {
    pub(crate) validity_days: u32,
    pub(crate) settle_window: Duration,
    pub(crate) deadline: Option<Duration>,
    pub(crate) known: HashSet<CertificateId>,
    pub(crate) key_is_new: bool,
    pub(crate) csr_is_shared: bool,
}

impl Default for IssueOptions {
    fn default() -> Self {
        Self {
            validity_days: DEFAULT_VALIDITY_DAYS,
            settle_window: DEFAULT_SETTLE_WINDOW,
            deadline: None,
            known: HashSet::new(),
            key_is_new: false,
            csr_is_shared: false,
        }
    }
}

/// The methods that set them.
macro_rules! issue_options {
    ($name:ident) => {
        impl $name {
            /// Sets how many days a certificate is valid, from 1 to 36,500. Default: 365.
            pub fn validity_days(mut self, days: u32) -> Self {
                self.options.validity_days = days;
                self
            }

            /// Sets how long after the end of an unclear send the service may still act on it. Default: 75 seconds.
            ///
            /// The request is not sent again before that. A shorter window gives results sooner, and a second
            /// certificate where the service is slower.
            pub fn settle_window(mut self, window: std::time::Duration) -> Self {
                self.options.settle_window = window;
                self
            }

            /// Sets how long an issue may take, with every attempt, every wait for the rate limit, and the search for a
            /// lost certificate. Default: no limit, but five minutes after an unclear send.
            ///
            /// It is checked before bytes are handed to HTTP: nothing is sent after it.
            pub fn deadline(mut self, after: std::time::Duration) -> Self {
                self.options.deadline = Some(after);
                self
            }

            /// Names certificates of the CSR that exist already, or that a person has found to be others. Can be called
            /// repeatedly.
            ///
            /// None of them is the result, and none is revoked. What this client has issued itself counts as known.
            pub fn known(
                mut self,
                ids: impl IntoIterator<Item = $crate::certificate::id::CertificateId>,
            ) -> Self {
                self.options.known.extend(ids);
                self
            }

            /// Says that the key was made for this request, so that no other certificate has it.
            ///
            /// Then a lost certificate is recognized even where the service lists it without its CSR.
            pub fn key_is_new(mut self) -> Self {
                self.options.key_is_new = true;
                self
            }

            /// Says that others may issue for the same CSR at the same time. Then no certificate is revoked as a
            /// duplicate: they are returned as [`Issued::surplus`](crate::Issued::surplus).
            pub fn csr_is_shared(mut self) -> Self {
                self.options.csr_is_shared = true;
                self
            }

            /// Overrides the client's retry policy.
            pub fn retry(mut self, policy: $crate::transport::retry::RetryPolicy) -> Self {
                self.context.set_retry(policy);
                self
            }
        }
    };
}

pub(crate) use issue_options;
