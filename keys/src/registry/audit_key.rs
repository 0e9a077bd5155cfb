//! The key that signs the audit log: its public half in clear, its secret half sealed.

use rand_core::{OsRng, RngCore};
use serde::Serialize;
use vmsgate_audit::{SigningKey, StoredSigningKey, VerifyingKey, signing_key, store_signing_key};
use zeroize::Zeroizing;

use super::{Change, Client, Registry, RegistryError};
use crate::{
    actor::Actor,
    seal::{MasterKey, Sealed, SealedField},
};

impl Registry {
    /// The public half of the audit signing key; none in an installation that an older version made, until its
    /// gateway starts.
    pub async fn audit_public_key(&self) -> Result<Option<VerifyingKey>, RegistryError> {
        Ok(signing_key(&self.db).await?.map(|stored| stored.public_key))
    }

    /// The audit signing key. An installation of an older version gets one now, on record.
    ///
    /// # Errors
    /// [`RegistryError::Unseal`] when the row was altered or another keystore sealed it,
    /// [`RegistryError::Malformed`] when its public key is not that of the secret one.
    pub async fn audit_signing_key(
        &self,
        master: &MasterKey,
        actor: &Actor,
    ) -> Result<SigningKey, RegistryError> {
        if let Some(stored) = signing_key(&self.db).await? {
            return unseal(&stored, master);
        }
        let mut change = self.change(actor).await?;
        if change.add_audit_key(master).await?.is_some() {
            change.commit().await?;
        }
        // Somebody else may have been quicker.
        let stored = signing_key(&self.db).await?;
        unseal(&stored.ok_or_else(|| malformed("row"))?, master)
    }
}

impl Change {
    /// Adds a new audit signing key and records it, unless there is one.
    async fn add_audit_key(&mut self, master: &MasterKey) -> Result<Option<VerifyingKey>, RegistryError> {
        let Some(public_key) = self.insert_audit_key(master).await? else { return Ok(None) };
        #[derive(Serialize)]
        struct Added {
            public_key: VerifyingKey,
        }
        self.record("audit-key.add", "audit-key", None::<&Client>, Some(&Added { public_key }))?;
        Ok(Some(public_key))
    }

    pub(super) async fn insert_audit_key(
        &mut self,
        master: &MasterKey,
    ) -> Result<Option<VerifyingKey>, RegistryError> {
        let mut seed = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(&mut *seed);
        let public_key = SigningKey::from_seed(&seed).verifying_key();
        let sealed = master.seal(SealedField::AuditSigning, &seed);
        let stored = StoredSigningKey {
            public_key,
            sealed_private_key: sealed.as_str().to_owned(),
            created: self.now.into(),
        };
        Ok(store_signing_key(&mut self.tx, &stored).await?.then_some(public_key))
    }
}

fn unseal(stored: &StoredSigningKey, master: &MasterKey) -> Result<SigningKey, RegistryError> {
    let sealed = Sealed::from_stored(stored.sealed_private_key.clone());
    let seed = master
        .unseal(SealedField::AuditSigning, &sealed)
        .map_err(|source| RegistryError::Unseal { what: "the audit signing key".to_owned(), source })?;
    let key = SigningKey::from_seed(&seed);
    if key.verifying_key() == stored.public_key { Ok(key) } else { Err(malformed("public key")) }
}

fn malformed(field: &'static str) -> RegistryError {
    RegistryError::Malformed { row: "the audit signing key".to_owned(), field }
}
