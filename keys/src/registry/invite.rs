//! Inviting a client and enrolling its device.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{
    Change, Client, ClientKey, ClientName, ClientState, Invitation, Operator, RegistryError, Used,
    change::whole_millis,
    invitation::{self, Selection},
    read, write,
};
use crate::{
    material::{PresharedKey, PublicKey},
    ranges::TunnelRanges,
    seal::{MasterKey, SealedField},
};

/// Whom an invitation is for.
#[derive(Debug)]
pub enum Invitee {
    /// A client that the invitation adds, without a key yet.
    New { name: ClientName, operator: Operator, role: String, expires: Option<Timestamp> },
    /// A client that gets a new device.
    Known(String),
}

/// A client and its invitation, in one state.
#[derive(Serialize)]
struct Invited<'a> {
    #[serde(flatten)]
    client: &'a Client,
    invitation: &'a Invitation,
}

impl Change {
    /// Invites a client. An open invitation that it has already ends.
    ///
    /// # Errors
    /// [`RegistryError::NameTaken`] for a new client, [`RegistryError::NoSuchClient`] and [`RegistryError::Revoked`]
    /// for a known one.
    pub async fn invite(
        &mut self,
        who: Invitee,
        expires: Timestamp,
        public_key: PublicKey,
        preshared: &PresharedKey,
        master: &MasterKey,
        ranges: &TunnelRanges,
    ) -> Result<(Client, Invitation), RegistryError> {
        self.check_key_free(&public_key).await?;
        let (before, client) = match who {
            Invitee::New { name, operator, role, expires } => {
                (None, self.insert_client(name, operator, role, expires, ranges).await?)
            }
            Invitee::Known(name) => {
                let client = self.find_living(read::Selection::Named(&name)).await?;
                (Some(client.clone()), client)
            }
        };
        self.end_open_invitations(client.id).await?;
        let id = Uuid::now_v7();
        let (id_text, key_text) = (id.to_string(), public_key.to_string());
        let field = SealedField::InvitationPresharedKey { invitation: &id_text, public_key: &key_text };
        let invitation = Invitation {
            id,
            client: client.id,
            client_name: client.name.clone(),
            operator: client.operator.clone(),
            public_key,
            created: self.now,
            expires: whole_millis(expires),
            used: None,
            reused: None,
            sealed_preshared_key: master.seal(field, preshared.as_bytes()),
        };
        let inserted = invitation::insert(&mut self.tx, &invitation, self.revision).await;
        inserted.map_err(|e| self.db.explain(e))?;
        let after = Invited { client: &client, invitation: &invitation };
        self.record("client.invite", client.name.as_str(), before.as_ref(), Some(&after))?;
        Ok((client, invitation))
    }

    /// Registers the key that an invited device made, and ends the invitation. The same key may come again until it
    /// was heard, because the answer may have been lost; its new pre-shared key then takes the place of the old one.
    ///
    /// # Errors
    /// [`RegistryError::InvitationUsed`] when another device was there before (see
    /// [`invitation_reused`](Self::invitation_reused)), [`RegistryError::InvitationExpired`],
    /// [`RegistryError::Revoked`], [`RegistryError::KeyTaken`].
    pub async fn enroll(
        &mut self,
        invitation: Uuid,
        public_key: PublicKey,
        preshared: &PresharedKey,
        master: &MasterKey,
    ) -> Result<Client, RegistryError> {
        let mut invitation = self.find_invitation(invitation).await?;
        let before = self.find_living(read::Selection::Id(invitation.client)).await?;
        let mut client = before.clone();
        let name = client.name.to_string();
        match invitation.used {
            Some(used) => {
                let again = |key: &&mut ClientKey| {
                    key.public_key == public_key && key.heard.is_none() && key.is_valid(self.now)
                };
                let key = client.keys.iter_mut().find(again).filter(|_| used.public_key == public_key);
                let key = key.ok_or(RegistryError::InvitationUsed { client: name, at: used.at })?;
                key.seal_preshared_key(preshared, master);
            }
            None if invitation.expires <= self.now => {
                return Err(RegistryError::InvitationExpired { client: name, at: invitation.expires });
            }
            None => {
                self.check_key_free(&public_key).await?;
                self.offer(&mut client, public_key, preshared, master).await?;
                invitation.used = Some(Used { at: self.now, public_key });
                let updated = invitation::update(&mut self.tx, &invitation, self.revision).await;
                updated.map_err(|e| self.db.explain(e))?;
            }
        }
        self.store(&mut client).await?;
        let after = Invited { client: &client, invitation: &invitation };
        self.record("client.enroll", client.name.as_str(), Some(&before), Some(&after))?;
        Ok(client)
    }

    /// Somebody tried an invitation that another device had used: the token leaked. On record the first time.
    pub async fn invitation_reused(
        &mut self,
        invitation: Uuid,
        from: SocketAddr,
    ) -> Result<(), RegistryError> {
        let before = self.find_invitation(invitation).await?;
        if before.reused.is_some() {
            return Ok(());
        }
        let after = Invitation { reused: Some(self.now), ..before.clone() };
        let updated = invitation::update(&mut self.tx, &after, self.revision).await;
        updated.map_err(|e| self.db.explain(e))?;
        #[derive(Serialize)]
        struct State<'a> {
            operator: &'a Operator,
            invitation: &'a Invitation,
            #[serde(skip_serializing_if = "Option::is_none")]
            source: Option<SocketAddr>,
        }
        let state = |invitation, source| State { operator: &before.operator, invitation, source };
        let (earlier, later) = (state(&before, None), state(&after, Some(from)));
        self.record("client.invitation-reused", before.client_name.as_str(), Some(&earlier), Some(&later))
    }

    /// A client that ends, or is invited anew, has no open invitation any more.
    pub(super) async fn end_open_invitations(&mut self, client: Uuid) -> Result<(), RegistryError> {
        let open = invitation::load_within(&mut self.tx, Selection::OpenOf(client)).await;
        let open = open.map_err(|e| e.explained_by(&self.db))?;
        for mut invitation in open.into_iter().filter(|invitation| invitation.is_open(self.now)) {
            invitation.expires = self.now;
            let updated = invitation::update(&mut self.tx, &invitation, self.revision).await;
            updated.map_err(|e| self.db.explain(e))?;
        }
        Ok(())
    }

    async fn find_invitation(&mut self, id: Uuid) -> Result<Invitation, RegistryError> {
        let found = invitation::load_within(&mut self.tx, Selection::Id(id)).await;
        found.map_err(|e| e.explained_by(&self.db))?.pop().ok_or(RegistryError::NoSuchInvitation)
    }

    pub(super) async fn check_key_free(&mut self, key: &PublicKey) -> Result<(), RegistryError> {
        write::check_key_free(&mut self.tx, key).await.map_err(|e| e.explained_by(&self.db))
    }

    /// A client that may still change.
    pub(super) async fn find_living(&mut self, which: read::Selection<'_>) -> Result<Client, RegistryError> {
        let client = self.find(which).await?;
        if client.state == ClientState::Revoked {
            return Err(RegistryError::Revoked { name: client.name.to_string() });
        }
        Ok(client)
    }
}
