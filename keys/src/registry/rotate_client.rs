//! A client's keys: offered, heard, ended.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{Change, Client, ClientKey, ClientState, RegistryError, read::Selection, write};
use crate::{
    material::{PresharedKey, PublicKey},
    seal::MasterKey,
};

impl Change {
    /// Registers a key that a client made and will move to. A former one that it never used ends.
    ///
    /// # Errors
    /// [`RegistryError::NoSuchClient`], [`RegistryError::Revoked`], [`RegistryError::KeyTaken`].
    pub async fn offer_key(
        &mut self,
        client: Uuid,
        public_key: PublicKey,
        preshared: &PresharedKey,
        master: &MasterKey,
    ) -> Result<Client, RegistryError> {
        let before = self.find_living(Selection::Id(client)).await?;
        let mut client = before.clone();
        // The same key once more: the answer was lost.
        let again = |key: &&mut ClientKey| {
            key.public_key == public_key && key.heard.is_none() && key.is_valid(self.now)
        };
        match client.keys.iter_mut().find(again) {
            Some(key) => key.seal_preshared_key(preshared, master),
            None => {
                self.check_key_free(&public_key).await?;
                self.offer(&mut client, public_key, preshared, master).await?;
            }
        }
        self.store(&mut client).await?;
        self.record("client.offer-key", client.name.as_str(), Some(&before), Some(&client))?;
        Ok(client)
    }

    /// Gives a client a new key that somebody carries to its device. The present one ends after `overlap`, or soon
    /// after the new one was heard.
    ///
    /// # Errors
    /// As [`offer_key`](Self::offer_key).
    pub async fn rotate_client(
        &mut self,
        name: &str,
        public_key: PublicKey,
        preshared: &PresharedKey,
        overlap: SignedDuration,
        master: &MasterKey,
    ) -> Result<Client, RegistryError> {
        let before = self.find_living(Selection::Named(name)).await?;
        let mut client = before.clone();
        self.check_key_free(&public_key).await?;
        let end = self.now.saturating_add(overlap).unwrap_or(Timestamp::MAX);
        // A second rotation gives the new profile its whole overlap again.
        if let Some(current) = client.current_key(self.now).map(|key| key.public_key) {
            let mut keys = client.keys.iter_mut();
            keys.find(|key| key.public_key == current)
                .into_iter()
                .for_each(|key| key.valid_until = Some(end));
        }
        self.offer(&mut client, public_key, preshared, master).await?;
        self.store(&mut client).await?;
        self.record("client.rotate", client.name.as_str(), Some(&before), Some(&client))?;
        Ok(client)
    }

    /// The gateway heard a key: it is the client's own now, and the older ones end after `grace`. None when that was
    /// known, or the key is not valid any more.
    pub async fn confirm_key(
        &mut self,
        client: Uuid,
        key: &PublicKey,
        grace: SignedDuration,
    ) -> Result<Option<Client>, RegistryError> {
        let before = self.find(Selection::Id(client)).await?;
        let mut client = before.clone();
        let end = self.now.saturating_add(grace).unwrap_or(Timestamp::MAX);
        let heard = client.keys.iter().position(|known| known.public_key == *key);
        let Some((heard, older)) = heard.and_then(|at| client.keys[..=at].split_last_mut()) else {
            return Ok(None);
        };
        if heard.heard.is_some() || !heard.is_valid(self.now) || client.state == ClientState::Revoked {
            return Ok(None);
        }
        heard.heard = Some(self.now);
        // The newest is meant to stay. An older one may be heard for the first time while a newer one is on its way.
        older.iter_mut().for_each(|key| key.end(end));
        self.store(&mut client).await?;
        self.record("client.key-confirmed", client.name.as_str(), Some(&before), Some(&client))?;
        Ok(Some(client))
    }

    /// Adds a key beside the current one; a former offer ends.
    pub(super) async fn offer(
        &mut self,
        client: &mut Client,
        public_key: PublicKey,
        preshared: &PresharedKey,
        master: &MasterKey,
    ) -> Result<(), RegistryError> {
        let current = client.current_key(self.now).map(|key| key.public_key);
        for key in &mut client.keys {
            if key.heard.is_none() && Some(key.public_key) != current {
                key.end(self.now);
            }
        }
        let key = ClientKey::new(client.id, public_key, preshared, master, self.now, self.revision);
        write::insert_key(&mut self.tx, &key).await.map_err(|e| self.db.explain(e))?;
        client.keys.push(key);
        Ok(())
    }
}
