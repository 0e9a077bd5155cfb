//! The gateway's identities: active, retiring, retired.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{
    Change, ClientName, Identity, IdentityState, RegistryError, Revision, identity, presence,
    read::{self, Selection},
};
use crate::seal::{MasterKey, Sealed};

impl Change {
    /// Makes a new identity. The present one goes on answering until [`retire_gateway`](Self::retire_gateway);
    /// `overlap` says for how long that is planned.
    ///
    /// # Errors
    /// [`RegistryError::RotationUnderWay`] while another one is retiring.
    pub async fn rotate_gateway(
        &mut self,
        overlap: SignedDuration,
        master: &MasterKey,
    ) -> Result<Identity, RegistryError> {
        let present = self.identities().await?;
        if let Some(retiring) = present.iter().find(|identity| identity.state == IdentityState::Retiring) {
            return Err(RegistryError::RotationUnderWay(retiring.public_key.fingerprint()));
        }
        let before = present.iter().find(|identity| identity.state == IdentityState::Active);
        if let Some(active) = before {
            let retiring = Identity {
                state: IdentityState::Retiring,
                retiring_since: Some(self.now),
                overlap_ends: Some(self.now.saturating_add(overlap).unwrap_or(Timestamp::MAX)),
                ..active.clone()
            };
            identity::update(&mut self.tx, &retiring, self.revision).await.map_err(|e| self.db.explain(e))?;
        }
        let new = Identity::generate(master, self.now);
        identity::insert(&mut self.tx, &new, self.revision).await.map_err(|e| self.db.explain(e))?;
        self.record("gateway.rotate", &new.name(), before, Some(&new))?;
        Ok(new)
    }

    /// Ends the retiring identity for good: its private key is overwritten. Clients that were last heard with it since
    /// `unless_used_since` stand in the way, if that is given.
    ///
    /// # Errors
    /// [`RegistryError::NothingToRetire`], [`RegistryError::IdentityInUse`].
    pub async fn retire_gateway(
        &mut self,
        unless_used_since: Option<Timestamp>,
    ) -> Result<Identity, RegistryError> {
        let mut present = self.identities().await?.into_iter();
        let before = present.find(|identity| identity.state == IdentityState::Retiring);
        let before = before.ok_or(RegistryError::NothingToRetire)?;
        if let Some(since) = unless_used_since {
            let clients = self.users(&before, since).await?;
            if !clients.is_empty() {
                return Err(RegistryError::IdentityInUse { since, clients });
            }
        }
        let retired = Identity {
            state: IdentityState::Retired,
            retired: Some(self.now),
            sealed_private_key: Sealed::from_stored(String::new()),
            ..before.clone()
        };
        identity::update(&mut self.tx, &retired, self.revision).await.map_err(|e| self.db.explain(e))?;
        self.record("gateway.retire", &retired.name(), Some(&before), Some(&retired))?;
        Ok(retired)
    }

    /// Whoever may connect and was last heard with `identity`, at `since` or later.
    async fn users(
        &mut self,
        identity: &Identity,
        since: Timestamp,
    ) -> Result<Vec<ClientName>, RegistryError> {
        let seen = presence::load_within(&mut self.tx).await.map_err(|e| e.explained_by(&self.db))?;
        let users: HashSet<Uuid> = seen
            .into_iter()
            .map(|seen| seen.presence)
            .filter(|presence| presence.identity == identity.public_key && presence.last_seen >= since)
            .map(|presence| presence.client)
            .collect();
        let clients = read::clients_within(&mut self.tx, Selection::NewerThan(Revision::NONE)).await;
        let clients = clients.map_err(|e| e.explained_by(&self.db))?.into_iter();
        let mut names: Vec<_> = clients
            .filter(|client| users.contains(&client.id) && client.may_come_back(self.now))
            .map(|client| client.name)
            .collect();
        names.sort();
        Ok(names)
    }

    async fn identities(&mut self) -> Result<Vec<Identity>, RegistryError> {
        identity::load_within(&mut self.tx).await.map_err(|e| e.explained_by(&self.db))
    }
}
