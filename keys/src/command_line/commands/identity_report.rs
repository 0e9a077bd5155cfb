//! How commands tell of an identity of the gateway.

use crate::{Fingerprint, Identity};
use serde::Serialize;

/// An identity in JSON.
#[derive(Serialize)]
pub struct IdentityReport<'a> {
    #[serde(flatten)]
    pub identity: &'a Identity,
    pub fingerprint: Fingerprint,
}

impl<'a> IdentityReport<'a> {
    pub fn new(identity: &'a Identity) -> Self {
        Self { identity, fingerprint: identity.public_key.fingerprint() }
    }
}
