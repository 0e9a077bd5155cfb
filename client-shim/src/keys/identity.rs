//! The gateway's identity is replaced: its profile document lists the new one first while both answer.

use vmsgate_tunnel::client::ClientKeys;

use super::keeper::Keeper;

impl Keeper {
    /// Moves to the identity that the gateway names first. Answers whether it is in use and stored.
    pub(super) async fn follow_identity(&mut self) -> bool {
        let wanted = self.site.borrow().as_ref().and_then(|site| site.key_rules.identity);
        let Some(gateway) = wanted else { return false };
        let keys = ClientKeys { gateway, ..self.in_use.clone() };
        if !self.mover.to(keys.clone()).await {
            self.note("the gateway's new identity does not answer", "it is tried again by itself");
            return false;
        }
        self.in_use = keys;
        self.refresh.notify_one();
        // A rotation that is due stores it with the new key.
        if !self.astray {
            let stored = self.store().and_then(|store| store.set_gateway(&self.in_use.secret, gateway));
            if let Err(error) = stored {
                let what = "the gateway has a new identity, and its profile cannot be updated: when the old one is retired, it \
                            will not connect any more";
                self.note(&format!("{what}: {error}"), &error.hint());
                return true;
            }
        }
        tracing::info!(identity = super::fingerprint(&gateway), "the gateway has a new identity");
        self.succeeded();
        true
    }
}
