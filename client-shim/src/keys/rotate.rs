//! A new key pair, and the pre-shared key that goes with it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rand_core::OsRng;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use vmsgate_exchange::body::{Answer, NewKey, SCHEMA_VERSION};
use vmsgate_exchange::{Agreed, AgreementError, Binding, Offer, Purpose};
use vmsgate_tunnel::client::ClientKeys;
use x25519_dalek::{PublicKey, StaticSecret};

use super::agree::NO_KEY;
use super::fingerprint;
use super::keeper::Keeper;
use super::store::{Store, StoreError};
use crate::control::ControlError;
use crate::profile::NewKeys;

/// A rotation that came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotated {
    /// The profile's file, which holds the new key.
    pub file: String,
    /// Fingerprints of the public keys.
    pub before: String,
    pub after: String,
    pub time: Timestamp,
}

/// Why the key pair was not replaced. The one before is still good.
#[derive(Debug, Error)]
pub enum RotateError {
    #[error("the gateway does not answer")]
    NotConnected,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("the gateway's answer is of no use: {0}")]
    Agreement(#[from] AgreementError),
    #[error("the gateway has registered the new key and does not answer under it; the one before goes on")]
    NotHeard,
    #[error("the shim is ending")]
    Ending,
}

impl RotateError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Store(error) => error.hint(),
            Self::NotConnected => "`vmsgate-shim status` shows what it is waiting for".to_owned(),
            Self::Control(_) | Self::Agreement(_) | Self::NotHeard | Self::Ending => {
                "nothing is lost; try again later, and tell your administrator if this stays".to_owned()
            }
        }
    }
}

impl Keeper {
    /// Replaces the key pair.
    pub(super) async fn rotate(&mut self) -> Result<Rotated, RotateError> {
        let outcome = self.try_rotate().await;
        match &outcome {
            Ok(rotated) => {
                tracing::info!(before = rotated.before, after = rotated.after, "the key was replaced");
                self.succeeded();
                self.refresh.notify_one();
            }
            Err(error) => self.note(&format!("the key was not replaced: {error}"), &error.hint()),
        }
        outcome
    }

    async fn try_rotate(&mut self) -> Result<Rotated, RotateError> {
        if !self.link.borrow().is_connected() {
            return Err(RotateError::NotConnected);
        }
        let store = self.store()?;
        let secret = StaticSecret::random_from_rng(OsRng);
        store.prepare(&self.in_use.secret, &secret)?;
        let preshared = match self.register(&secret).await {
            Ok(preshared) => preshared,
            Err(error) => {
                store.abandon()?;
                return Err(error);
            }
        };
        let gateway = self.in_use.gateway;
        let new = NewKeys { secret: Some(&secret), preshared: Some(&preshared), gateway: Some(gateway) };
        store.install(&self.in_use.secret, &new)?;
        let rotated = self.rotated(store, &secret);
        let keys = ClientKeys { secret, gateway, preshared: Some(preshared), agreed: None };
        self.confirmed = false;
        if !self.mover.to(keys.clone()).await {
            self.astray = true;
            self.others = vec![keys];
            return Err(RotateError::NotHeard);
        }
        self.in_use = keys;
        self.others.clear();
        self.astray = false;
        let mut state = self.state.borrow_mut();
        (state.rotated, state.agreed) = (Some(rotated.time), None);
        Ok(rotated)
    }

    /// Has the gateway register the new key. Answers the pre-shared key that goes with it.
    async fn register(&self, secret: &StaticSecret) -> Result<Agreed, RotateError> {
        let offer = Offer::new();
        let public = PublicKey::from(secret);
        let body = NewKey {
            schema_version: SCHEMA_VERSION,
            public_key: STANDARD.encode(public.as_bytes()),
            encapsulation_key: offer.encapsulation_key(),
        };
        let answer: Answer = self.control.post("/v1/keys", &body).await?;
        let binding = Binding {
            purpose: Purpose::Rotation,
            carrier: self.in_use.preshared.as_deref().unwrap_or(&NO_KEY),
            client: public.as_bytes(),
            gateway: self.in_use.gateway.as_bytes(),
        };
        Ok(offer.accept(&answer.ciphertext, &binding)?)
    }

    fn rotated(&self, store: &Store, secret: &StaticSecret) -> Rotated {
        Rotated {
            file: store.file().display().to_string(),
            before: fingerprint(&self.public()),
            after: fingerprint(&PublicKey::from(secret)),
            time: Timestamp::now(),
        }
    }
}
