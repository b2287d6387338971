//! What the issues of a client share: whose turn it is for a CSR, and which certificates were handed out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::certificate::id::CertificateId;
use crate::list::dedup::hash;
use crate::pki::csr::Csr;

/// Shared by the clones of a client.
#[derive(Default)]
pub(crate) struct IssueRegistry(Mutex<State>);

#[derive(Default)]
struct State {
    /// By CSR. Entries without a holder are removed when one is added.
    turns: HashMap<Csr, Weak<Turn<()>>>,
    /// By a key of the CSR: a client may issue for months.
    handed_out: HashMap<u128, Vec<CertificateId>>,
}

impl IssueRegistry {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no other issue for this CSR is in progress.
    pub(super) async fn take_turn(&self, csr: &Csr) -> OwnedMutexGuard<()> {
        let turn = self.turn(csr);
        turn.lock_owned().await
    }

    fn turn(&self, csr: &Csr) -> Arc<Turn<()>> {
        let mut state = self.state();
        if let Some(turn) = state.turns.get(csr).and_then(Weak::upgrade) {
            return turn;
        }
        state.turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Turn::new(()));
        state.turns.insert(csr.clone(), Arc::downgrade(&turn));
        turn
    }

    /// Remembers that this certificate of the CSR is known: the caller has it, or it was found beside one.
    pub(super) fn hand_out(&self, csr: &Csr, id: &CertificateId) {
        let mut state = self.state();
        let ids = state.handed_out.entry(hash(csr.der())).or_default();
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }

    /// Returns the certificates of the CSR that are known from this client.
    pub(super) fn handed_out(&self, csr: &Csr) -> Vec<CertificateId> {
        let state = self.state();
        let ids = state.handed_out.get(&hash(csr.der()));
        ids.cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csr() -> Csr {
        let pem = include_str!("../../tests/data/openssl-p256.csr.pem");
        Csr::from_pem(pem).expect("a CSR")
    }

    #[tokio::test]
    async fn issues_for_one_csr_take_turns_and_leave_nothing_behind() {
        let registry = IssueRegistry::default();
        let first = registry.take_turn(&csr()).await;
        assert!(registry.turn(&csr()).try_lock().is_err());
        drop(first);
        assert!(registry.turn(&csr()).try_lock().is_ok());
        drop(registry.take_turn(&csr()).await);
        let state = registry.state();
        assert!(state.turns.values().all(|turn| turn.strong_count() == 0));
        assert_eq!(state.turns.len(), 1);
    }

    #[test]
    fn what_was_handed_out_is_known_by_csr() {
        let registry = IssueRegistry::default();
        assert!(registry.handed_out(&csr()).is_empty());
        let id: CertificateId = "7bf7".parse().expect("an id");
        registry.hand_out(&csr(), &id);
        registry.hand_out(&csr(), &id);
        assert_eq!(registry.handed_out(&csr()), [id]);
    }
}
