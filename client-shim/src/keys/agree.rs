//! A fresh pre-shared key of the keys in use, agreed with ML-KEM-768. It is never stored.

use jiff::Timestamp;
use vmsgate_exchange::body::{Answer, NewPresharedKey, SCHEMA_VERSION, code};
use vmsgate_exchange::{Binding, Offer, Purpose};
use vmsgate_tunnel::client::ClientKeys;

use super::keeper::Keeper;

impl Keeper {
    /// Agrees on one and moves to it. Answers whether it is in use.
    pub(super) async fn agree(&mut self) -> bool {
        const WHAT: &str = "no post-quantum key was agreed";
        let offer = Offer::new();
        let body =
            NewPresharedKey { schema_version: SCHEMA_VERSION, encapsulation_key: offer.encapsulation_key() };
        let answer: Answer = match self.control.post("/v1/psk", &body).await {
            Ok(answer) => answer,
            // A rotation or a restart a moment ago: it is tried again after the gateway's pause, and nobody has to know.
            Err(error) if error.code() == Some(code::TOO_OFTEN) => {
                tracing::debug!(%error, "{WHAT}");
                return false;
            }
            Err(error) => {
                self.note_refusal(WHAT, &error);
                return false;
            }
        };
        let public = self.public();
        let binding = Binding {
            purpose: Purpose::Renewal,
            carrier: self.in_use.preshared.as_deref().unwrap_or(&NO_KEY),
            client: public.as_bytes(),
            gateway: self.in_use.gateway.as_bytes(),
        };
        let agreed = match offer.accept(&answer.ciphertext, &binding) {
            Ok(agreed) => agreed,
            Err(error) => {
                self.note(&format!("{WHAT}: {error}"), "tell your administrator");
                return false;
            }
        };
        let keys = ClientKeys { agreed: Some(agreed), ..self.in_use.clone() };
        if !self.mover.to(keys.clone()).await {
            self.note(
                &format!("{WHAT}: the gateway does not answer under it"),
                "it is tried again by itself",
            );
            return false;
        }
        self.in_use = keys;
        self.state.borrow_mut().agreed = Some(Timestamp::now());
        self.succeeded();
        true
    }
}

/// What WireGuard uses where there is no pre-shared key.
pub(super) const NO_KEY: [u8; 32] = [0; 32];
