//! The task that keeps keys in order. One thing at a time: a rotation, an agreement and a move to another identity
//! would each invalidate what the others have begun.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use vmsgate_tunnel::client::ClientKeys;
use x25519_dalek::PublicKey;

use super::plan::{Facts, Plan, Step};
use super::rotate::{RotateError, Rotated};
use super::store::{Store, StoreError};
use crate::control::{Control, ControlError};
use crate::profile::Profile;
use crate::shim::Event;
use crate::site::Site;
use crate::tunnel::{InUse, Link, LinkState, Mover, Tunnel};

/// The wish to rotate now, and who waits for what becomes of it.
pub(crate) type Rotate = oneshot::Sender<Result<Rotated, RotateError>>;

/// What is told about keys beside what the link says.
#[derive(Debug, Default)]
pub(crate) struct KeyState {
    /// When the pre-shared key in use was agreed, if it was.
    pub(crate) agreed: Option<Timestamp>,
    /// When the key pair was last replaced in this run.
    pub(crate) rotated: Option<Timestamp>,
    /// The newest reason why a change did not come about, with what to do; none after a success.
    pub(crate) trouble: Option<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct Keeper {
    pub(super) control: Control,
    pub(super) link: watch::Receiver<Link>,
    pub(super) mover: Mover,
    pub(super) store: Option<Store>,
    pub(super) in_use: ClientKeys,
    /// Key pairs that may be registered instead of the one in use.
    pub(super) others: Vec<ClientKeys>,
    /// Whether the one in use is the profile's file's.
    pub(super) astray: bool,
    /// Whether the gateway was heard under the keys in the file, so that there are none from before.
    pub(super) confirmed: bool,
    pub(super) state: Rc<RefCell<KeyState>>,
    /// What the gateway told last.
    pub(super) site: watch::Receiver<Option<Site>>,
    /// Asks for it to be told again.
    pub(super) refresh: Rc<Notify>,
    commands: mpsc::Receiver<Rotate>,
    events: mpsc::UnboundedSender<Event>,
    plan: Plan,
}

impl Keeper {
    pub(crate) fn new(
        profile: &Profile,
        tunnel: &Tunnel,
        site: watch::Receiver<Option<Site>>,
        refresh: Rc<Notify>,
        commands: mpsc::Receiver<Rotate>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let store = profile.file.clone().map(Store::new);
        let in_use = profile.keys();
        let others = store.as_ref().and_then(Store::previous).map(|profile| profile.keys());
        let others = others.filter(|other| other.secret.as_bytes() != in_use.secret.as_bytes());
        Self {
            control: Control::new(tunnel.connections.clone(), profile.gateway_addresses.clone()),
            link: tunnel.link.clone(),
            mover: tunnel.mover.clone(),
            store,
            in_use,
            others: others.into_iter().collect(),
            astray: false,
            confirmed: false,
            state: Rc::default(),
            site,
            refresh,
            commands,
            events,
            plan: Plan::new(fastrand::u64(..)),
        }
    }

    pub(crate) fn state(&self) -> Rc<RefCell<KeyState>> {
        self.state.clone()
    }

    /// Runs until the tunnel ends. The link is published every half a second, so that is how often this looks.
    pub(crate) async fn run(mut self) {
        if let Some(Err(error)) = self.store.as_ref().map(Store::abandon) {
            tracing::debug!(%error, "what was left of a rotation stays");
        }
        loop {
            self.confirm();
            let facts = self.facts();
            if let Some(step) = self.plan.next(&facts, Instant::now()) {
                let succeeded = self.take(step).await;
                self.plan.done(step, succeeded, Instant::now());
                continue;
            }
            tokio::select! {
                changed = self.link.changed() => if changed.is_err() {
                    return;
                },
                Some(answer) = self.commands.recv() => {
                    let outcome = self.rotate().await;
                    self.plan.done(Step::Rotate, outcome.is_ok(), Instant::now());
                    let _ = answer.send(outcome);
                }
            }
        }
    }

    async fn take(&mut self, step: Step) -> bool {
        tracing::debug!(?step, "a change of keys is due");
        match step {
            Step::TryOther => self.try_other().await,
            Step::Move => self.follow_identity().await,
            Step::Rotate => self.rotate().await.is_ok(),
            Step::Agree => self.agree().await,
        }
    }

    /// The gateway may know another key pair: one from before a rotation, or after it.
    async fn try_other(&mut self) -> bool {
        if self.others.is_empty() {
            return false;
        }
        let other = self.others.remove(0);
        if !self.mover.to(other.clone()).await {
            self.others.push(other);
            return false;
        }
        tracing::info!("the gateway answers under another key than before");
        let before = std::mem::replace(&mut self.in_use, other);
        self.others.push(ClientKeys { agreed: None, ..before });
        self.astray = !self.astray;
        true
    }

    /// The gateway answers under the keys in the file: those before are over.
    fn confirm(&mut self) {
        if self.confirmed || self.astray || !self.link.borrow().is_connected() {
            return;
        }
        self.confirmed = true;
        self.others.clear();
        if let Some(Err(error)) = self.store.as_ref().map(Store::confirm) {
            self.note(&error.to_string(), &error.hint());
        }
    }

    fn facts(&mut self) -> Facts {
        let (connected, silent, in_use) = {
            let link = self.link.borrow_and_update();
            let silent = (link.state == LinkState::NoAnswer).then(|| since(link.since, Timestamp::now()));
            (link.is_connected(), silent, link.in_use)
        };
        self.notice_fallback(in_use);
        let agreed = self.state.borrow().agreed;
        let site = self.site.borrow();
        let rules = site.as_ref().map(|site| site.key_rules.clone()).unwrap_or_default();
        let now = Timestamp::now();
        // By the gateway's clock, which says when the key was made.
        let offset = site.as_ref().map(|site| site.clock_offset).unwrap_or_default();
        let rotated = self.state.borrow().rotated.and_then(|time| time.checked_add(offset).ok());
        let born = rules.created.max(rotated);
        let there = now.checked_add(offset).unwrap_or(now);
        Facts {
            connected,
            silent,
            has_other: !self.others.is_empty(),
            astray: self.astray,
            newer_identity: rules.identity.is_some_and(|identity| identity != self.in_use.gateway),
            key_age: born.map(|born| since(born, there)),
            max_age: rules.max_age,
            agreed_age: agreed.map(|agreed| since(agreed, now)),
            interval: rules.interval,
        }
    }

    /// The tunnel went back to the registered pre-shared key by itself: the gateway has lost the agreed one.
    fn notice_fallback(&mut self, in_use: Option<InUse>) {
        if in_use.is_some_and(|in_use| !in_use.post_quantum) {
            self.in_use.agreed = None;
            self.state.borrow_mut().agreed = None;
        }
    }

    pub(super) fn store(&self) -> Result<&Store, StoreError> {
        self.store.as_ref().ok_or(StoreError::NoFile)
    }

    /// Our public key.
    pub(super) fn public(&self) -> PublicKey {
        PublicKey::from(&self.in_use.secret)
    }

    pub(super) fn succeeded(&self) {
        self.state.borrow_mut().trouble = None;
    }

    /// Notes why a change did not come about.
    pub(super) fn note(&self, trouble: &str, hint: &str) {
        let trouble = (trouble.to_owned(), hint.to_owned());
        let before = self.state.borrow_mut().trouble.replace(trouble.clone());
        if before.as_ref() != Some(&trouble) {
            // Whoever started the shim may not be interested.
            let (message, hint) = trouble;
            let _ = self.events.send(Event::KeysNotChanged { message, hint });
        }
    }

    /// Notes that the gateway did not do its part; there will be another attempt.
    pub(super) fn note_refusal(&self, what: &str, error: &ControlError) {
        self.note(
            &format!("{what}: {error}"),
            "it is tried again by itself; tell your administrator if this stays",
        );
    }
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(then).try_into().unwrap_or_default()
}
