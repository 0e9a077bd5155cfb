//! Changes of keys that clients ask for. Each is a transaction of its own beside the main loop, which goes on; when it
//! is done, the loop applies it and only then answers: whoever has the answer can use the key.

use std::net::SocketAddr;

use axum::http::StatusCode;
use ipnet::IpNet;
use tokio::task::JoinSet;
use uuid::Uuid;
use vmsgate_cli::human;
use vmsgate_config::Config;
use vmsgate_exchange::body::{Enrolled, SCHEMA_VERSION, code};
use vmsgate_keys::{Actor, Client, Identity, MasterKey, Registry, RegistryError};

use super::clients::ClientSource;
use crate::control::ask::{KeyOffer, Reply};
use crate::http::HttpError;

/// Changes under way at once: they take turns in the registry anyway.
const MAX_UNDER_WAY: usize = 16;

/// Changes under way.
#[derive(Default)]
pub struct KeyChanges(JoinSet<Outcome>);

/// What came of a change. It is not applied yet.
pub enum Outcome {
    Enrolled { result: Result<Box<Client>, HttpError>, reply: Reply<Enrolled> },
    Offered { result: Result<(), HttpError>, reply: Reply<()> },
}

/// Where changes are made, and who makes them.
#[derive(Clone)]
struct Desk {
    registry: Registry,
    master: MasterKey,
    gateway: String,
}

impl Desk {
    fn of(source: &ClientSource, gateway: &str) -> Desk {
        let (registry, master) = (source.registry().clone(), source.master().clone());
        Desk { registry, master, gateway: gateway.to_owned() }
    }
}

impl KeyChanges {
    pub fn enrol(
        &mut self,
        (source, gateway): (&ClientSource, &str),
        who: Invited,
        new: KeyOffer,
        reply: Reply<Enrolled>,
    ) {
        if self.0.len() >= MAX_UNDER_WAY {
            let _ = reply.send(Err(busy()));
            return;
        }
        let desk = Desk::of(source, gateway);
        self.0.spawn(async move {
            let result = enrol(&desk, &who, &new).await.map(Box::new);
            Outcome::Enrolled { result, reply }
        });
    }

    pub fn offer(
        &mut self,
        (source, gateway): (&ClientSource, &str),
        (client, name): (Uuid, String),
        new: KeyOffer,
        reply: Reply<()>,
    ) {
        if self.0.len() >= MAX_UNDER_WAY {
            let _ = reply.send(Err(busy()));
            return;
        }
        let desk = Desk::of(source, gateway);
        self.0.spawn(async move {
            let result = offer(&desk, client, &name, &new).await.map_err(|error| refusal(&error));
            Outcome::Offered { result, reply }
        });
    }

    /// The next change that is done. Waits for ever when none is under way.
    pub async fn done(&mut self) -> Outcome {
        loop {
            match self.0.join_next().await {
                Some(Ok(outcome)) => return outcome,
                // It panicked: whoever waits learns it by the loss of the reply.
                Some(Err(error)) => tracing::error!(%error, "a change of keys failed"),
                None => std::future::pending().await,
            }
        }
    }
}

/// Who wants to be enrolled.
pub struct Invited {
    pub invitation: Uuid,
    pub client: String,
    pub from: SocketAddr,
}

async fn enrol(desk: &Desk, who: &Invited, new: &KeyOffer) -> Result<Client, HttpError> {
    match try_enrol(desk, who, new).await {
        Err(error @ RegistryError::InvitationUsed { .. }) => {
            tracing::warn!(
                client = who.client, from = %who.from,
                "somebody else tried an invitation that had been used: the token was seen by others. If the enrolled \
                 device is not the right one, revoke the client"
            );
            report_reuse(desk, who).await.map_err(|error| refusal(&error))?;
            Err(refusal(&error))
        }
        result => result.map_err(|error| refusal(&error)),
    }
}

async fn try_enrol(desk: &Desk, who: &Invited, new: &KeyOffer) -> Result<Client, RegistryError> {
    let mut change = desk.registry.change(&Actor::client(&who.client, &desk.gateway)).await?;
    let client = change.enroll(who.invitation, new.public_key, &new.preshared, &desk.master).await?;
    change.commit().await?;
    Ok(client)
}

async fn report_reuse(desk: &Desk, who: &Invited) -> Result<(), RegistryError> {
    let mut change = desk.registry.change(&Actor::client(&who.client, &desk.gateway)).await?;
    change.invitation_reused(who.invitation, who.from).await?;
    change.commit().await
}

async fn offer(desk: &Desk, client: Uuid, name: &str, new: &KeyOffer) -> Result<(), RegistryError> {
    let mut change = desk.registry.change(&Actor::client(name, &desk.gateway)).await?;
    change.offer_key(client, new.public_key, &new.preshared, &desk.master).await?;
    change.commit().await
}

/// All that the enrolled device needs to open its tunnel, but for the ciphertext.
pub fn enrolled(client: &Client, config: &Config, identities: &[Identity]) -> Result<Enrolled, HttpError> {
    let newest = identities.last().ok_or_else(unreadable)?;
    let reachable = config.roles.get(&client.role).map(|role| role.addresses()).unwrap_or_default();
    Ok(Enrolled {
        schema_version: SCHEMA_VERSION,
        ciphertext: String::new(),
        client: client.name.to_string(),
        operator: client.operator.to_string(),
        role: client.role.clone(),
        expires: client.expires.map(|expires| format!("{expires:.3}")),
        addresses: client.addresses.clone(),
        gateway_name: config.gateway.name.clone(),
        gateway_key: newest.public_key.to_string(),
        endpoints: config.gateway.endpoints.iter().map(ToString::to_string).collect(),
        gateway_addresses: config.gateway.tunnel_addresses(),
        dns_suffix: config.dns.suffix.clone(),
        reachable: reachable.into_iter().map(IpNet::from).collect(),
        mtu: config.gateway.mtu,
    })
}

/// The registry was changed, but could not be read back.
pub fn unreadable() -> HttpError {
    let message = "the gateway cannot read its registry now; try again later";
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, code::UNAVAILABLE, message)
}

fn busy() -> HttpError {
    let message = "many clients change their keys now; try again later";
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, code::UNAVAILABLE, message)
}

/// What the client learns. Nothing of the gateway's inside, and nothing of other clients.
fn refusal(error: &RegistryError) -> HttpError {
    let (status, code, message) = match error {
        RegistryError::InvitationUsed { at, .. } => {
            let message = format!(
                "another device used it at {}; if that was not you, tell your administrator at once: somebody else has \
                 seen the invitation",
                human::time(*at)
            );
            return HttpError::new(StatusCode::CONFLICT, code::INVITATION_USED, message);
        }
        RegistryError::InvitationExpired { .. } | RegistryError::NoSuchInvitation => {
            (StatusCode::GONE, code::INVITATION_EXPIRED, "the invitation is over; ask for a new one")
        }
        RegistryError::Revoked { .. } | RegistryError::NoSuchClient { .. } => {
            (StatusCode::FORBIDDEN, "revoked", "the client was revoked; ask the administrator")
        }
        RegistryError::KeyTaken { .. } | RegistryError::GatewayKey(_) => {
            (StatusCode::CONFLICT, "key-taken", "this key is in use already; make a new key pair")
        }
        RegistryError::Database(_) | RegistryError::Audit(_) => {
            tracing::warn!(%error, "a client could not change its key");
            let message = "the gateway cannot write its registry now; nothing was changed; try again later";
            (StatusCode::SERVICE_UNAVAILABLE, code::UNAVAILABLE, message)
        }
        _ => {
            tracing::error!(%error, "a client could not change its key");
            let message = "the gateway could not do it; its log says why; ask the administrator";
            (StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
        }
    };
    HttpError::new(status, code, message)
}
