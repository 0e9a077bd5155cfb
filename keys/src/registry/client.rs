//! A client: one device of one person.

use std::{net::IpAddr, str::FromStr};

use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeStruct};
use uuid::Uuid;

use super::{ClientName, Operator, RegistryError, Remark, Revision};
use crate::{
    material::{PresharedKey, PublicKey},
    seal::{MasterKey, Sealed, SealedField},
};

/// A client as the registry knows it. Serialises without secrets.
#[derive(Clone, Debug, Serialize)]
pub struct Client {
    pub id: Uuid,
    pub name: ClientName,
    /// The person.
    pub operator: Operator,
    /// What it may reach. The name may be unknown to the configuration; it then reaches nothing.
    pub role: String,
    pub state: ClientState,
    /// Why it was suspended or revoked, if somebody said so.
    pub reason: Option<Remark>,
    pub expires: Option<Timestamp>,
    pub created: Timestamp,
    /// Inside the tunnel: IPv4 before IPv6, at most one of each.
    pub addresses: Vec<IpAddr>,
    /// The oldest first: all that are valid, and the newest of those that ended.
    pub keys: Vec<ClientKey>,
    /// The last change of this client.
    #[serde(skip)]
    pub revision: Revision,
}

/// What an administrator decided about a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientState {
    Active,
    /// For now.
    Suspended,
    /// For good.
    Revoked,
}

/// What a client is at some moment: its state, and whether its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It may connect.
    Active,
    Suspended,
    Revoked,
    Expired,
}

/// One public key of a client and the pre-shared key that goes with it.
#[derive(Clone, Debug)]
pub struct ClientKey {
    pub public_key: PublicKey,
    pub valid_from: Timestamp,
    /// None while no end is set.
    pub valid_until: Option<Timestamp>,
    /// When the gateway first heard it; none while it is only offered.
    pub heard: Option<Timestamp>,
    /// The registry's revision when it was added: the greater, the newer.
    pub(crate) added: Revision,
    pub(crate) client: Uuid,
    pub(crate) sealed_preshared_key: Sealed,
}

/// A client to be added. Its addresses follow from the tunnel ranges.
#[derive(Debug)]
pub struct NewClient {
    pub name: ClientName,
    pub operator: Operator,
    pub role: String,
    pub expires: Option<Timestamp>,
    pub public_key: PublicKey,
    pub preshared_key: PresharedKey,
}

impl Client {
    pub fn standing(&self, now: Timestamp) -> Standing {
        match self.state {
            ClientState::Suspended => Standing::Suspended,
            ClientState::Revoked => Standing::Revoked,
            ClientState::Active if self.expires.is_some_and(|expires| expires <= now) => Standing::Expired,
            ClientState::Active => Standing::Active,
        }
    }

    /// Whether it may connect, now or once it is resumed.
    pub fn may_come_back(&self, now: Timestamp) -> bool {
        matches!(self.standing(now), Standing::Active | Standing::Suspended)
    }

    /// The key that the device has: the newest that was heard, or else the first that it was given.
    pub fn current_key(&self, now: Timestamp) -> Option<&ClientKey> {
        let mut valid = self.keys.iter().filter(|key| key.is_valid(now));
        valid.clone().rfind(|key| key.heard.is_some()).or_else(|| valid.next())
    }

    /// The key that takes over from the current one as soon as it is heard.
    pub fn offered_key(&self, now: Timestamp) -> Option<&ClientKey> {
        let current = self.current_key(now)?;
        self.keys.iter().rfind(|key| key.is_valid(now) && key.heard.is_none() && key.added > current.added)
    }
}

impl ClientKey {
    pub(super) fn new(
        client: Uuid,
        public_key: PublicKey,
        preshared: &PresharedKey,
        master: &MasterKey,
        now: Timestamp,
        added: Revision,
    ) -> Self {
        let sealed_preshared_key = seal(client, &public_key, preshared, master);
        Self {
            public_key,
            valid_from: now,
            valid_until: None,
            heard: None,
            added,
            client,
            sealed_preshared_key,
        }
    }

    pub(super) fn seal_preshared_key(&mut self, preshared: &PresharedKey, master: &MasterKey) {
        self.sealed_preshared_key = seal(self.client, &self.public_key, preshared, master);
    }

    /// Ends it at this time, unless it ends before.
    pub(super) fn end(&mut self, time: Timestamp) {
        self.valid_until = Some(self.valid_until.map_or(time, |until| until.min(time)));
    }

    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.valid_from <= now && self.valid_until.is_none_or(|until| now < until)
    }

    /// # Errors
    /// [`RegistryError::Unseal`] when the row was altered or another keystore sealed it.
    pub fn preshared_key(&self, master: &MasterKey) -> Result<PresharedKey, RegistryError> {
        let (client, public_key) = (self.client.to_string(), self.public_key.to_string());
        let field = SealedField::PresharedKey { client: &client, public_key: &public_key };
        let secret = master.unseal(field, &self.sealed_preshared_key).map_err(|source| {
            let what = format!("the pre-shared key of client key {}", self.public_key.fingerprint());
            RegistryError::Unseal { what, source }
        })?;
        Ok(PresharedKey::from_bytes(*secret))
    }
}

fn seal(client: Uuid, public_key: &PublicKey, preshared: &PresharedKey, master: &MasterKey) -> Sealed {
    let (client, public_key) = (client.to_string(), public_key.to_string());
    master.seal(SealedField::PresharedKey { client: &client, public_key: &public_key }, preshared.as_bytes())
}

impl ClientState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }
}

impl Standing {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }
}

impl FromStr for ClientState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Active, Self::Suspended, Self::Revoked]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(())
    }
}

impl Serialize for ClientKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut key = serializer.serialize_struct("ClientKey", 5)?;
        key.serialize_field("public_key", &self.public_key)?;
        key.serialize_field("fingerprint", &self.public_key.fingerprint())?;
        key.serialize_field("valid_from", &self.valid_from)?;
        key.serialize_field("valid_until", &self.valid_until)?;
        key.serialize_field("heard", &self.heard)?;
        key.end()
    }
}
