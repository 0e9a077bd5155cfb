//! The gateway's identities: active, retiring, retired.

use jiff::{SignedDuration, Timestamp};

use super::{Change, Identity, IdentityState, RegistryError, identity};
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

    /// Ends the retiring identity for good: its private key is overwritten.
    ///
    /// # Errors
    /// [`RegistryError::NothingToRetire`].
    pub async fn retire_gateway(&mut self) -> Result<Identity, RegistryError> {
        let mut present = self.identities().await?.into_iter();
        let before = present.find(|identity| identity.state == IdentityState::Retiring);
        let before = before.ok_or(RegistryError::NothingToRetire)?;
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

    async fn identities(&mut self) -> Result<Vec<Identity>, RegistryError> {
        identity::load_within(&mut self.tx).await.map_err(|e| e.explained_by(&self.db))
    }
}
