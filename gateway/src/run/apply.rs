//! What the registry says, put in force; and what was seen, told to the registry.

use std::collections::HashMap;
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;
use vmsgate_audit::event::{Admin, Event};
use vmsgate_audit::{Label, Record, Snapshot};
use vmsgate_cli::CliError;
use vmsgate_keys::registry::{Cut, Presence};
use vmsgate_keys::{Client, Identity, PublicKey, RegistryError};
use vmsgate_tunnel::peer::SessionStatus;

use super::clients::News;
use super::keys::{Invited, Outcome, enrolled, unreadable};
use super::{Gateway, configuration, now, policy_label, unseal, worker_error};
use crate::health::ConditionCode;
use crate::worker::{Call, Ended, Report};

/// Who was heard since the last report.
#[derive(Debug, Default)]
pub(super) struct Present(HashMap<Uuid, Presence>);

impl Gateway {
    /// Takes over what changed in the registry, and answers whether it could be read. An unreadable registry leaves
    /// everybody as they are.
    pub(super) async fn apply_registry(&mut self) -> Result<bool, CliError> {
        match self.take_over().await {
            Ok(()) => {
                self.health.report(ConditionCode::RegistryReadable, true, "the registry was read");
                Ok(true)
            }
            Err(NotApplied::Worker(error)) => Err(error),
            Err(NotApplied::Registry(error)) => {
                tracing::warn!(%error, "the registry cannot be read");
                let text = format!("the registry cannot be read: {error}");
                self.health.report(ConditionCode::RegistryReadable, false, text);
                Ok(false)
            }
        }
    }

    async fn take_over(&mut self) -> Result<(), NotApplied> {
        let News { clients, blocked, identities, revision } = self.clients.news(&self.config).await?;
        if revision == self.clients.revision() {
            return Ok(());
        }
        if let Some(identities) = identities {
            self.answer_as(identities).await?;
        }
        let ended = if clients.is_empty() { Vec::new() } else { self.workers.set_clients(clients).await? };
        let applied = Timestamp::now();
        self.clients.applied(revision);
        let cuts = blocked.iter().map(|client| self.record_cut(client, &ended, applied)).collect();
        self.reports.applied(revision, cuts);
        Ok(())
    }

    /// The secrets are opened for the workers alone, and wiped here when they have them.
    async fn answer_as(&mut self, identities: Vec<Identity>) -> Result<(), NotApplied> {
        let secrets = unseal(&identities, self.clients.master())?;
        let control = configuration::control(&self.config, &identities, &self.facts, &self.key_requests);
        self.workers.set_identities(&secrets, &control).await?;
        let names: Vec<String> = identities.iter().map(|i| i.public_key.fingerprint().to_string()).collect();
        tracing::info!(identities = names.join(", "), "the gateway answers as");
        self.identities = identities;
        Ok(())
    }

    /// Records how a client was cut off, and says it for the registry.
    fn record_cut(&self, client: &Client, ended: &[Ended], applied: Timestamp) -> Cut {
        let mine = || ended.iter().filter(|ended| ended.client == client.id);
        let cut = Cut {
            gateway: self.config.gateway.name.clone(),
            client: client.id,
            revision: client.revision,
            applied,
            last_forwarded: mine().filter_map(|ended| ended.last_forwarded).max().map(timestamp),
            flows: mine().map(|ended| ended.flows_cut).sum(),
            sessions: mine().count() as u64,
        };
        #[derive(Serialize)]
        struct How<'a> {
            standing: &'static str,
            operator: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            requested: Option<Timestamp>,
            applied: Timestamp,
            #[serde(skip_serializing_if = "Option::is_none")]
            last_forwarded: Option<Timestamp>,
            flows: u64,
            sessions: u64,
        }
        let how = How {
            standing: client.standing(applied).as_str(),
            operator: client.operator.as_str(),
            requested: requested(client),
            applied,
            last_forwarded: cut.last_forwarded,
            flows: cut.flows,
            sessions: cut.sessions,
        };
        let event = Event::Admin(Admin {
            act: Label::new("client.cut"),
            actor: Label::new(&format!("gateway {}", cut.gateway)),
            object: Label::new(client.name.as_str()),
            before: None,
            // A description that is too long is worth less than the record.
            after: Snapshot::of(&how).ok(),
        });
        self.recording
            .audit
            .append(Record::new(now(), event).under_policy(policy_label(&self.config.version)));
        cut
    }

    pub(super) fn take_call(&mut self, call: Call) {
        let place = (&self.clients, self.config.gateway.name.as_str());
        match call {
            Call::Enrol { invitation, client, from, new, reply } => {
                self.key_changes.enrol(place, Invited { invitation, client, from }, new, reply);
            }
            Call::Offer { client, name, new, reply } => {
                self.key_changes.offer(place, (client, name), new, reply);
            }
            Call::Heard { client, key, identity, post_quantum, at } => {
                self.heard(Presence { client, key, identity, last_seen: timestamp(at), post_quantum });
            }
        }
    }

    /// Applies a change of keys, and only then answers: whoever has the answer can use the key.
    pub(super) async fn finish(&mut self, outcome: Outcome) -> Result<(), CliError> {
        let applied = self.apply_registry().await?;
        // Nobody waits for an answer any more when the connection is gone.
        match outcome {
            Outcome::Enrolled { result, reply } => {
                let answer = result.and_then(|client| enrolled(&client, &self.config, &self.identities));
                let _ = reply.send(if applied { answer } else { answer.and(Err(unreadable())) });
            }
            Outcome::Offered { result, reply } => {
                let _ = reply.send(if applied { result } else { result.and(Err(unreadable())) });
            }
        }
        Ok(())
    }

    /// Notes who is there, for `gateway status` and everything else that asks the registry.
    pub(super) async fn report_presence(&mut self) -> Result<(), CliError> {
        let Report { sessions, at, .. } = self.workers.report().await.map_err(worker_error)?;
        sessions.iter().for_each(|session| self.heard(presence(session, at)));
        self.report_news();
        Ok(())
    }

    /// Notes who came or moved to other keys since: a retirement that is asked for now must know of them.
    pub(super) fn report_news(&mut self) {
        if !self.present.0.is_empty() {
            self.reports.present(std::mem::take(&mut self.present).0);
        }
    }

    fn heard(&mut self, seen: Presence) {
        let Some(name) = self.clients.name(seen.client) else { return };
        if self.clients.is_unheard(&seen.key) {
            self.reports.heard(seen.key, seen.client, name.to_owned());
        }
        self.present.0.insert(seen.client, seen);
    }
}

/// Why a change of the registry is not in force.
enum NotApplied {
    /// It stays as it was until the next attempt.
    Registry(RegistryError),
    /// Nothing works any more.
    Worker(CliError),
}

impl From<RegistryError> for NotApplied {
    fn from(error: RegistryError) -> Self {
        NotApplied::Registry(error)
    }
}

impl From<crate::worker::WorkerError> for NotApplied {
    fn from(error: crate::worker::WorkerError) -> Self {
        NotApplied::Worker(worker_error(error))
    }
}

/// When somebody asked for the end of a client, as far as the registry tells: a revocation ends its keys.
fn requested(client: &Client) -> Option<Timestamp> {
    let revoked = client.state == vmsgate_keys::ClientState::Revoked;
    client.keys.iter().filter(|_| revoked).filter_map(|key| key.valid_until).max()
}

fn presence(session: &SessionStatus, at: Instant) -> Presence {
    let ago = at.saturating_duration_since(session.last_seen);
    Presence {
        client: session.info.client.id,
        key: PublicKey::from_bytes(session.info.key.to_bytes()),
        identity: PublicKey::from_bytes(session.info.identity.to_bytes()),
        last_seen: Timestamp::now().checked_sub(ago).unwrap_or(Timestamp::MIN),
        post_quantum: session.info.post_quantum,
    }
}

fn timestamp(unix: u64) -> Timestamp {
    i64::try_from(unix).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}
