//! Clients and invitations of the registry, as the packet loop wants them.

use std::net::IpAddr;

use jiff::Timestamp;
use vmsgate_config::Config;
use vmsgate_exchange::invitation::address_of;
use vmsgate_keys::{Client, ClientState, Invitation, MasterKey, PresharedKey, PublicKey, RegistryError};
use vmsgate_tunnel::event::ClientInfo;
use vmsgate_tunnel::peer::{Access, ClientConfig, ClientKey, ClientKind};

/// What records call the role of somebody who was invited.
const INVITED: &str = "invitation";

pub fn client(
    client: &Client,
    config: &Config,
    master: &MasterKey,
    now: Timestamp,
) -> Result<ClientConfig, RegistryError> {
    let own = config.gateway.tunnel_addresses();
    warn(client, config, &own);
    let keys = client.keys.iter().filter(|key| key.is_valid(now));
    let keys = keys.map(|key| Ok(client_key(&key.public_key, &key.preshared_key(master)?, key.valid_until)));
    Ok(ClientConfig {
        info: ClientInfo {
            id: client.id,
            name: client.name.to_string().into(),
            operator: client.operator.to_string().into(),
            role: client.role.as_str().into(),
            addresses: client.addresses.iter().filter(|address| !own.contains(address)).copied().collect(),
        },
        keys: keys.collect::<Result<_, RegistryError>>()?,
        access: match client.state {
            ClientState::Active => Access::Active { until: client.expires.map(millis) },
            ClientState::Suspended => Access::Suspended,
            ClientState::Revoked => Access::Revoked,
        },
        kind: ClientKind::Device,
    })
}

/// An invitation has a tunnel of its own, which reaches enrolment alone.
pub fn invitation(invitation: &Invitation, master: &MasterKey) -> Result<ClientConfig, RegistryError> {
    let key = client_key(&invitation.public_key, &invitation.preshared_key(master)?, None);
    Ok(ClientConfig {
        info: ClientInfo {
            id: invitation.id,
            name: invitation.client_name.to_string().into(),
            operator: invitation.operator.to_string().into(),
            role: INVITED.into(),
            addresses: vec![address_of(&key.public).into()],
        },
        keys: vec![key],
        access: Access::Active { until: Some(millis(invitation.expires)) },
        kind: ClientKind::Invitation,
    })
}

fn client_key(public: &PublicKey, preshared: &PresharedKey, until: Option<Timestamp>) -> ClientKey {
    ClientKey {
        public: (*public.as_bytes()).into(),
        preshared: Some((*preshared.as_bytes()).into()),
        until: until.map(millis),
    }
}

fn warn(client: &Client, config: &Config, own: &[IpAddr]) {
    let outside = |address: &&IpAddr| !config.gateway.tunnel.iter().any(|range| range.contains(*address));
    if let Some(address) = client.addresses.iter().find(outside) {
        tracing::warn!(client = %client.name, %address, "the address is outside the configured tunnel ranges");
    }
    let taken: Vec<&IpAddr> = client.addresses.iter().filter(|address| own.contains(address)).collect();
    if !taken.is_empty() {
        tracing::error!(
            client = %client.name, ?taken,
            "a changed tunnel range makes the client's address the gateway's own: the client is shut out"
        );
    }
    if !config.roles.contains_key(&client.role) {
        tracing::warn!(client = %client.name, role = client.role, "the role is not configured: it reaches nothing");
    }
}

fn millis(time: Timestamp) -> u64 {
    u64::try_from(time.as_millisecond()).unwrap_or(0)
}
