//! What clients ask about their keys, and how often they may.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use tokio::sync::mpsc;
use uuid::Uuid;
use vmsgate_exchange::body::Enrolled;
use vmsgate_keys::PublicKey;
use vmsgate_tunnel::event::UnixMillis;

use super::{Core, SharedCore};
use crate::control::Caller;
use crate::control::ask::{Ask, KeyOffer, Reply};
use crate::http::HttpError;

/// Between two agreements with one client on a pre-shared key.
const AGREEMENT_INTERVAL: Duration = Duration::from_secs(5);
/// How many changes of the registry one client may cause within [`CHANGE_WINDOW`]: enough for somebody who tries
/// again, too few to keep the disk busy.
const CHANGES: u8 = 5;
const CHANGE_WINDOW: Duration = Duration::from_secs(10);

/// What a worker tells the main task.
#[derive(Debug)]
pub enum Call {
    Enrol {
        invitation: Uuid,
        client: String,
        from: SocketAddr,
        new: KeyOffer,
        reply: Reply<Enrolled>,
    },
    Offer {
        client: Uuid,
        name: String,
        new: KeyOffer,
        reply: Reply<()>,
    },
    /// A client is heard under other keys than before.
    Heard {
        client: Uuid,
        key: PublicKey,
        identity: PublicKey,
        post_quantum: bool,
        at: UnixMillis,
    },
}

/// When each client asked last. Remembers no longer than it needs to.
#[derive(Debug, Default)]
pub(super) struct AskLimits {
    agreements: HashMap<Uuid, Instant>,
    changes: HashMap<Uuid, (Instant, u8)>,
}

impl AskLimits {
    fn may_agree(&mut self, client: Uuid, now: Instant) -> bool {
        self.agreements.retain(|_, last| now.saturating_duration_since(*last) < AGREEMENT_INTERVAL);
        if self.agreements.contains_key(&client) {
            return false;
        }
        self.agreements.insert(client, now);
        true
    }

    fn may_change(&mut self, client: Uuid, now: Instant) -> bool {
        self.changes.retain(|_, (begun, _)| now.saturating_duration_since(*begun) < CHANGE_WINDOW);
        let (_, count) = self.changes.entry(client).or_insert((now, 0));
        *count += 1;
        *count <= CHANGES
    }
}

/// Answers what one connection asks, until it ends.
pub async fn take_asks(core: SharedCore, caller: Caller, mut asks: mpsc::Receiver<Ask>) {
    while let Some(ask) = asks.recv().await {
        core.borrow_mut().handle_ask(&caller, ask, Instant::now());
    }
}

impl Core {
    /// Nobody waits for an answer any more when the connection is gone: then it is dropped.
    fn handle_ask(&mut self, caller: &Caller, ask: Ask, now: Instant) {
        match ask {
            // A new key's comes with the key, which has a limit of its own.
            Ask::Agree { key, reply, .. }
                if key == caller.key && !self.ask_limits.may_agree(caller.id, now) =>
            {
                let _ = reply.send(Err(HttpError::too_often("asked", AGREEMENT_INTERVAL)));
            }
            Ask::Agree { key, preshared, reply } => {
                let _ = reply.send(if self.state.agree(caller.id, (*key.as_bytes()).into(), preshared) {
                    Ok(())
                } else {
                    let message =
                        "the tunnel does not run under this key any more; ask again through the new one";
                    Err(HttpError::new(StatusCode::CONFLICT, "moved-on", message))
                });
            }
            Ask::Enrol { reply, .. } if !self.ask_limits.may_change(caller.id, now) => {
                let _ = reply.send(Err(HttpError::too_often("asked", CHANGE_WINDOW)));
            }
            Ask::Offer { reply, .. } if !self.ask_limits.may_change(caller.id, now) => {
                let _ = reply.send(Err(HttpError::too_often("asked", CHANGE_WINDOW)));
            }
            Ask::Enrol { new, reply } => self.call(Call::Enrol {
                invitation: caller.id,
                client: caller.client.clone(),
                from: caller.source,
                new,
                reply,
            }),
            Ask::Offer { new, reply } => {
                self.call(Call::Offer { client: caller.id, name: caller.client.clone(), new, reply });
            }
        }
        self.turn(now);
    }

    /// Tells the main task. When it is too busy, whoever waits learns it by the loss of the reply; that a key was heard
    /// it finds out by itself.
    pub(super) fn call(&self, call: Call) {
        let _ = self.calls.try_send(call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_agrees_once_in_five_seconds_and_no_other_waits_for_it() {
        let (mut limits, now) = (AskLimits::default(), Instant::now());
        let (anna, bert) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert!(limits.may_agree(anna, now));
        assert!(!limits.may_agree(anna, now + AGREEMENT_INTERVAL / 2));
        assert!(limits.may_agree(bert, now + AGREEMENT_INTERVAL / 2));
        assert!(limits.may_agree(anna, now + AGREEMENT_INTERVAL));
    }

    #[test]
    fn changes_are_counted_for_a_while_and_then_forgotten() {
        let (mut limits, now) = (AskLimits::default(), Instant::now());
        let anna = Uuid::from_u128(1);
        let allowed = (0..2 * CHANGES).filter(|_| limits.may_change(anna, now)).count();
        assert_eq!(allowed, usize::from(CHANGES));
        assert!(limits.may_change(anna, now + CHANGE_WINDOW));
        assert!(limits.may_agree(anna, now));
        assert!(limits.may_change(Uuid::from_u128(2), now + 3 * CHANGE_WINDOW));
        assert_eq!(limits.changes.len(), 1, "nobody is remembered for longer than needed");
    }
}
