//! What an installation holds, found out by opening all of it.

use jiff::Timestamp;
use vmsgate_audit::VerifyingKey;

use super::{
    Identity, IdentityState, Registry, RegistryError, Revision, Settings, Standing, invitation, read,
};
use crate::{actor::Actor, seal::MasterKey};

/// What an installation holds. Every secret of it was unsealed once.
#[derive(Clone, Debug)]
pub struct Holdings {
    pub settings: Settings,
    /// The oldest first.
    pub identities: Vec<Identity>,
    pub clients: usize,
    /// Those of them that may connect.
    pub active_clients: usize,
    pub open_invitations: usize,
    pub audit_key: Option<VerifyingKey>,
}

impl Registry {
    /// Reads every row and unseals every secret, also of what ended.
    ///
    /// # Errors
    /// [`RegistryError::Unseal`] and [`RegistryError::Malformed`] name the first that cannot be used.
    pub async fn open_everything(&self, master: &MasterKey) -> Result<Holdings, RegistryError> {
        let now = Timestamp::now();
        let settings = self.settings().await?;
        let identities = self.all_identities().await?;
        for identity in identities.iter().filter(|identity| identity.state != IdentityState::Retired) {
            identity.private_key(master)?;
        }
        for key in read::all_keys(&self.db).await? {
            key.preshared_key(master)?;
        }
        let invitations =
            invitation::load(&self.db, invitation::Selection::NewerThan(Revision::NONE)).await?;
        for invitation in &invitations {
            invitation.preshared_key(master)?;
        }
        let audit_key = match self.audit_public_key().await? {
            Some(_) => Some(self.audit_signing_key(master, &Actor::current()).await?.verifying_key()),
            None => None,
        };
        self.presence().await?;
        let clients = self.clients().await?;
        Ok(Holdings {
            settings,
            identities,
            clients: clients.len(),
            active_clients: clients.iter().filter(|client| client.standing(now) == Standing::Active).count(),
            open_invitations: invitations.iter().filter(|invitation| invitation.is_open(now)).count(),
            audit_key,
        })
    }
}
