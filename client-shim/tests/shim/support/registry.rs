//! What outlives the gateway's process: keys, identities, the invitation. And what the gateway is told to do with them.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use vmsgate_exchange::body::{Answer, Enrolled, NewKey, NewPresharedKey, SCHEMA_VERSION, code};
use vmsgate_exchange::{Binding, InvitationKeys, Purpose, answer};
use vmsgate_tunnel::peer::Access;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{CLIENT, GATEWAY, ip};

pub struct Registry {
    /// The preferred one first.
    pub identities: Vec<StaticSecret>,
    /// The client's key pairs with their pre-shared keys.
    pub keys: Vec<(PublicKey, [u8; 32])>,
    pub invitation: Option<InvitationKeys>,
    /// Who used it.
    pub used: Option<PublicKey>,
    /// Seconds.
    pub interval: Option<u64>,
    pub max_age: Option<u64>,
    pub expires: Option<jiff::Timestamp>,
    /// How far its clock is ahead.
    pub clock_offset: jiff::SignedDuration,
    /// Named first, and not answering yet.
    pub newer_identity: Option<PublicKey>,
    pub role_is_gone: bool,
    pub created: jiff::Timestamp,
    /// How many answers to POST are still to be lost on the way.
    pub lose: usize,
    /// How many agreements are still to be refused, as too many.
    pub busy: usize,
    /// Paths of POST requests, with the public key that they named.
    pub asked: Vec<(String, String)>,
    pub endpoints: Vec<String>,
    /// Whether the client may connect.
    pub access: Access,
}

pub type Shared = Arc<Mutex<Registry>>;

/// What the gateway's loop does for others.
pub enum Command {
    /// Brings the gateway in line with the registry.
    Apply(oneshot::Sender<()>),
    Agree(PublicKey, [u8; 32], oneshot::Sender<()>),
}

/// Under which key and identity the client was heard last.
pub type Heard = (PublicKey, PublicKey);

impl Registry {
    fn preshared(&self, key: &PublicKey) -> [u8; 32] {
        self.keys.iter().find(|(known, _)| known == key).unwrap().1
    }
}

/// Answers one POST: status and body; nothing for an answer that is to be lost.
pub async fn post(
    path: &str,
    body: &[u8],
    registry: &Shared,
    heard: Option<Heard>,
    commands: &mpsc::UnboundedSender<Command>,
) -> Option<(u16, String)> {
    let result = match path {
        "/v1/enroll" => enroll(body, registry),
        "/v1/keys" => offer(body, registry, heard.unwrap()),
        "/v1/psk" => {
            let request: NewPresharedKey = serde_json::from_slice(body).unwrap();
            let (key, identity) = heard.unwrap();
            let (ciphertext, agreed) = {
                let mut registry = registry.lock().unwrap();
                registry.asked.push((path.to_owned(), String::new()));
                if registry.busy > 0 {
                    registry.busy -= 1;
                    let code = code::TOO_OFTEN;
                    return Some((429, format!(r#"{{"error":{{"code":"{code}","message":"wait"}}}}"#)));
                }
                let carrier = registry.preshared(&key);
                agree(&request.encapsulation_key, Purpose::Renewal, &carrier, &key, &identity)
            };
            let (done, is_done) = oneshot::channel();
            commands.send(Command::Agree(key, agreed, done)).ok().unwrap();
            is_done.await.unwrap();
            (200, text(&Answer { schema_version: SCHEMA_VERSION, ciphertext }))
        }
        _ => (404, r#"{"error":{"code":"not-found","message":"nothing here"}}"#.to_owned()),
    };
    let (done, is_done) = oneshot::channel();
    commands.send(Command::Apply(done)).ok().unwrap();
    is_done.await.unwrap();
    let mut registry = registry.lock().unwrap();
    if registry.lose > 0 {
        registry.lose -= 1;
        return None;
    }
    Some(result)
}

fn enroll(body: &[u8], registry: &Shared) -> (u16, String) {
    let (public, offer) = new_key(body);
    let mut registry = registry.lock().unwrap();
    registry.asked.push(("/v1/enroll".to_owned(), STANDARD.encode(public.as_bytes())));
    if registry.used.is_some_and(|used| used != public) {
        let code = code::INVITATION_USED;
        return (409, format!(r#"{{"error":{{"code":"{code}","message":"at 2026-11-25 10:00:00 UTC"}}}}"#));
    }
    registry.used = Some(public);
    let carrier = *registry.invitation.as_ref().unwrap().preshared;
    let identity = PublicKey::from(&registry.identities[0]);
    let (ciphertext, preshared) = agree(&offer, Purpose::Enrolment, &carrier, &public, &identity);
    registry.keys = vec![(public, preshared)];
    let enrolled = Enrolled {
        schema_version: SCHEMA_VERSION,
        ciphertext,
        client: "anna-laptop".to_owned(),
        operator: "Anna Berg".to_owned(),
        role: "smart-client".to_owned(),
        expires: None,
        addresses: CLIENT.map(ip).to_vec(),
        gateway_name: "gw-test".to_owned(),
        gateway_key: STANDARD.encode(identity.as_bytes()),
        endpoints: registry.endpoints.clone(),
        gateway_addresses: GATEWAY.map(ip).to_vec(),
        dns_suffix: None,
        reachable: vec!["192.168.10.0/24".parse().unwrap()],
        mtu: 1420,
    };
    (200, text(&enrolled))
}

/// Registers a key beside those that are there.
fn offer(body: &[u8], registry: &Shared, (key, identity): Heard) -> (u16, String) {
    let (public, offer) = new_key(body);
    let mut registry = registry.lock().unwrap();
    registry.asked.push(("/v1/keys".to_owned(), STANDARD.encode(public.as_bytes())));
    let carrier = registry.preshared(&key);
    let (ciphertext, preshared) = agree(&offer, Purpose::Rotation, &carrier, &public, &identity);
    registry.keys.push((public, preshared));
    registry.created = jiff::Timestamp::now();
    (200, text(&Answer { schema_version: SCHEMA_VERSION, ciphertext }))
}

fn new_key(body: &[u8]) -> (PublicKey, String) {
    let request: NewKey = serde_json::from_slice(body).unwrap();
    let bytes: [u8; 32] = STANDARD.decode(&request.public_key).unwrap().try_into().unwrap();
    (bytes.into(), request.encapsulation_key)
}

fn agree(
    offer: &str,
    purpose: Purpose,
    carrier: &[u8; 32],
    client: &PublicKey,
    gateway: &PublicKey,
) -> (String, [u8; 32]) {
    let binding = Binding { purpose, carrier, client: client.as_bytes(), gateway: gateway.as_bytes() };
    let (ciphertext, key): (String, Zeroizing<[u8; 32]>) = answer(offer, &binding).unwrap();
    (ciphertext, *key)
}

fn text(document: &impl Serialize) -> String {
    serde_json::to_string(document).unwrap()
}
