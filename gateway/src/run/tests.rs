//! A gateway with a real registry and real sockets, whose loop is turned by hand.

use std::net::UdpSocket;

use tokio::sync::oneshot;
use uuid::Uuid;
use vmsgate_audit::Chain;
use vmsgate_exchange::body::{Enrolled, code};
use vmsgate_keys::registry::{Invitee, NewClient, Settings};
use vmsgate_keys::{
    Actor, DataDir, IdentityState, Installation, Passphrase, PresharedKey, PrivateKey, PublicKey,
    TunnelRanges,
};
use vmsgate_tunnel::client::{ClientKeys, ClientSettings, ClientState};
use vmsgate_tunnel::sink::DatagramQueue;

use super::*;
use crate::admin::changes::{ChangeRequest, Reloaded};
use crate::control::ask::KeyOffer;
use crate::difference::compare;
use crate::http::HttpError;

const PASSPHRASE: &[u8] = b"a passphrase for tests";

struct World {
    folder: tempfile::TempDir,
    site: Installation,
    ranges: TunnelRanges,
    gateway: Gateway,
}

impl World {
    async fn new() -> World {
        World::with(false).await
    }

    /// The gateway has its configuration from a file, or from nowhere.
    async fn with(file: bool) -> World {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "[gateway]\nname = \"gw-1\"\nlisten = \"127.0.0.1:0\"\nendpoint = \"vpn.example.org:51820\"\n\
             tunnel = [\"10.99.0.0/16\"]\ndata = {:?}\nworkers = 1\n\
             [[server]]\nname = \"mgmt\"\naddress = \"192.168.10.10\"\nservices = [\"management-server\"]\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n",
            folder.path().join("data")
        );
        let config = Config::from_str(&text, "gateway.toml").unwrap();
        let data = DataDir::new(folder.path().join("data"));
        let ranges = TunnelRanges::new(config.gateway.tunnel.clone()).unwrap();
        let settings = Settings {
            name: config.gateway.name.clone(),
            endpoints: config.gateway.endpoints.clone(),
            tunnel: ranges.clone(),
        };
        let passphrase = || Passphrase::new(PASSPHRASE).unwrap();
        let site = data.initialise(&passphrase(), &settings, &Actor::current()).await.unwrap();
        let config_path = file.then(|| folder.path().join("gateway.toml"));
        std::fs::write(folder.path().join("gateway.toml"), &text).unwrap();
        let start = Start { config, config_path, data, passphrase: passphrase(), actor: Actor::current() };
        let gateway = Gateway::start(start).await.unwrap();
        World { folder, site, ranges, gateway }
    }

    /// Invites a new client; the invitation's identifier.
    async fn invite(&mut self) -> Uuid {
        let mut change = self.site.registry.change(&Actor::current()).await.unwrap();
        let (name, operator) = ("anna-laptop".parse().unwrap(), "Anna Berg".parse().unwrap());
        let who = Invitee::New { name, operator, role: "smart-client".to_owned(), expires: None };
        let expires = Timestamp::now() + Duration::from_secs(3600);
        let (key, psk) = (PrivateKey::generate().public_key(), PresharedKey::generate());
        let invited = change.invite(who, expires, key, &psk, &self.site.master, &self.ranges).await;
        let (_, invitation) = invited.unwrap();
        change.commit().await.unwrap();
        assert!(self.gateway.apply_registry().await.unwrap());
        invitation.id
    }

    async fn enrol(&mut self, invitation: Uuid, key: PublicKey) -> Result<Enrolled, HttpError> {
        let new = KeyOffer { public_key: key, preshared: PresharedKey::generate() };
        let (reply, answer) = oneshot::channel();
        let (client, from) = ("anna-laptop".to_owned(), "198.51.100.7:4000".parse().unwrap());
        self.gateway.take_call(Call::Enrol { invitation, client, from, new, reply });
        let outcome = self.gateway.key_changes.done().await;
        self.gateway.finish(outcome).await.unwrap();
        answer.await.unwrap()
    }

    async fn add_client(&mut self, private: &PrivateKey, preshared_key: PresharedKey) {
        let mut change = self.site.registry.change(&Actor::current()).await.unwrap();
        let new = NewClient {
            name: "bert-laptop".parse().unwrap(),
            operator: "Bert Carl".parse().unwrap(),
            role: "smart-client".to_owned(),
            expires: None,
            public_key: private.public_key(),
            preshared_key,
        };
        change.add_client(new, &self.ranges, &self.site.master).await.unwrap();
        change.commit().await.unwrap();
        assert!(self.gateway.apply_registry().await.unwrap());
    }

    fn states(&self) -> Vec<IdentityState> {
        self.gateway.identities.iter().map(|identity| identity.state).collect()
    }
}

impl World {
    async fn asked(&mut self, request: impl FnOnce(oneshot::Sender<Reloaded>) -> ChangeRequest) -> Reloaded {
        let (reply, answer) = oneshot::channel();
        self.gateway.answer_about_changes(request(reply)).await.unwrap();
        answer.await.unwrap()
    }
}

/// An initiation of a client to one identity of the gateway.
fn initiation(world: &World, private: &PrivateKey, preshared: &PresharedKey, identity: PublicKey) -> Vec<u8> {
    let keys = ClientKeys {
        secret: private.to_secret(),
        gateway: (*identity.as_bytes()).into(),
        preshared: Some((*preshared.as_bytes()).into()),
        agreed: None,
    };
    let settings = ClientSettings { keys, addresses: Vec::new(), persistent_keepalive: None };
    let (now, mut sent) = (Instant::now(), DatagramQueue::default());
    let seed = u64::from_le_bytes(identity.as_bytes()[..8].try_into().unwrap());
    ClientState::new(settings, world.gateway.listening[0], now, seed).connect(now, &mut sent);
    sent.datagrams.pop().unwrap().1
}

/// Whether the answer is to this initiation, by the index that the initiator gave itself.
fn answers(response: &[u8], initiation: &[u8]) -> bool {
    response[0] == 2 && response[8..12] == initiation[4..8]
}

#[tokio::test]
async fn a_reload_that_is_asked_for_answers_with_what_it_changed_and_the_watch_does_not_repeat_it() {
    let mut world = World::with(true).await;
    world.add_client(&PrivateKey::generate(), PresharedKey::generate()).await;
    let file = world.folder.path().join("gateway.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}[role.smart-client]\nallow = [\"mgmt:*\"]\nicmp = false\n"))
        .unwrap();

    let Reloaded::InForce { before, after, seen } = world.asked(ChangeRequest::Reload).await else {
        panic!("refused");
    };
    let told = compare(&before, &after, &seen.members, &seen.cuts);
    let [role] = &told.roles[..] else { panic!("{told:?}") };
    assert_eq!((role.role.as_str(), &role.clients[..]), ("smart-client", &["bert-laptop".to_owned()][..]));
    assert!(role.changes.iter().any(|change| change.protocol == "icmp"), "{role:?}");
    assert!(!world.gateway.watch.as_mut().unwrap().has_changed(), "it would be taken once more");

    std::fs::write(&file, format!("{text}nonsense = 1\n")).unwrap();
    let Reloaded::Refused(errors) = world.asked(ChangeRequest::Reload).await else { panic!("taken") };
    assert!(errors.to_string().contains("nonsense"), "{errors}");
    assert_eq!(world.gateway.config.version, after.version, "the old one stays");
}

#[tokio::test]
async fn an_invitation_lets_one_device_in_and_tells_on_whoever_comes_second() {
    let mut world = World::new().await;
    let invitation = world.invite().await;
    let (device, thief) = (PrivateKey::generate().public_key(), PrivateKey::generate().public_key());

    let enrolled = world.enrol(invitation, device).await.unwrap();
    let identity = world.gateway.identities[0].public_key.to_string();
    assert_eq!((enrolled.client.as_str(), enrolled.gateway_key), ("anna-laptop", identity));
    assert_eq!(enrolled.reachable, ["192.168.10.10/32".parse().unwrap()]);
    assert!(
        world.gateway.clients.is_unheard(&device),
        "the workers know the key before the device may use it"
    );

    assert!(world.enrol(invitation, device).await.is_ok(), "the answer may have been lost");
    let before = world.site.registry.client("anna-laptop").await.unwrap();
    let refused = world.enrol(invitation, thief).await.unwrap_err();
    assert_eq!(refused.code(), code::INVITATION_USED);
    let invitations = world.site.registry.invitations().await.unwrap();
    let used = vmsgate_cli::human::time(invitations[0].used.unwrap().at);
    assert!(format!("{refused:?}").contains(&used), "{refused:?}");
    let after = world.site.registry.client("anna-laptop").await.unwrap();
    assert_eq!(after.keys.len(), before.keys.len());
    let invitations = world.site.registry.invitations().await.unwrap();
    assert!(invitations[0].reused.is_some(), "it is on record");
    assert!(world.gateway.facts.of(after.id).invitation_reused.is_some(), "the device will be told");
}

#[tokio::test]
async fn a_key_that_was_heard_is_noted_and_its_client_is_present() {
    let mut world = World::new().await;
    let (private, identity) = (PrivateKey::generate(), world.gateway.identities[0].public_key);
    let key = private.public_key();
    world.add_client(&private, PresharedKey::generate()).await;
    let client = world.site.registry.client("bert-laptop").await.unwrap();
    assert!(world.gateway.clients.is_unheard(&key));

    world.gateway.take_call(Call::Heard {
        client: client.id,
        key,
        identity,
        post_quantum: true,
        at: unix_now(),
    });
    let World { folder, site, gateway, .. } = world;
    gateway.end("test").await.unwrap();
    let client = site.registry.client("bert-laptop").await.unwrap();
    assert!(client.keys[0].heard.is_some());
    let presence = site.registry.presence().await.unwrap();
    let seen = &presence[0];
    assert_eq!((seen.gateway.as_str(), seen.presence.client), ("gw-1", client.id));
    assert_eq!((seen.presence.key, seen.presence.identity), (key, identity));
    assert!(seen.presence.post_quantum);
    drop(folder);
}

#[tokio::test]
async fn status_tells_whose_access_ends_and_when_by_validity_and_by_key() {
    let mut world = World::new().await;
    world.add_client(&PrivateKey::generate(), PresharedKey::generate()).await;
    let ends = |status: &crate::admin::status::Status| {
        (status.expiring.len(), status.expired, status.next_end.map(|end| end.as_second()))
    };
    assert_eq!(ends(&world.gateway.status().await.unwrap()), (0, 0, None));
    let now = Timestamp::now();
    let days = |days: i64| now + jiff::SignedDuration::from_hours(24 * days);
    for (expires, expected) in [
        (Some(days(20)), (0, 0, Some(days(20).as_second()))),
        (Some(days(13)), (1, 0, Some(days(13).as_second()))),
        (Some(days(-1)), (0, 1, None)),
        (None, (0, 0, None)),
    ] {
        let mut change = world.site.registry.change(&Actor::current()).await.unwrap();
        change.set_expiry("bert-laptop", expires).await.unwrap();
        change.commit().await.unwrap();
        assert!(world.gateway.apply_registry().await.unwrap());
        assert_eq!(ends(&world.gateway.status().await.unwrap()), expected);
    }
    let mut change = world.site.registry.change(&Actor::current()).await.unwrap();
    let (key, preshared) = (PrivateKey::generate().public_key(), PresharedKey::generate());
    let overlap = jiff::SignedDuration::from_hours(24);
    let client =
        change.rotate_client("bert-laptop", key, &preshared, overlap, &world.site.master).await.unwrap();
    change.commit().await.unwrap();
    assert!(world.gateway.apply_registry().await.unwrap());
    let end = client.keys[0].valid_until.map(|end| end.as_second());
    assert_eq!(ends(&world.gateway.status().await.unwrap()), (1, 0, end), "until it moves to the new one");
}

#[tokio::test]
async fn an_invitation_that_is_over_or_never_was_is_told_so() {
    let mut world = World::new().await;
    let key = PrivateKey::generate().public_key();
    assert_eq!(world.enrol(Uuid::from_u128(7), key).await.unwrap_err().code(), code::INVITATION_EXPIRED);
    let invitation = world.invite().await;
    let mut change = world.site.registry.change(&Actor::current()).await.unwrap();
    change.revoke("anna-laptop", None).await.unwrap();
    change.commit().await.unwrap();
    assert_eq!(world.enrol(invitation, key).await.unwrap_err().code(), "revoked");
}

#[tokio::test]
async fn both_identities_answer_until_the_old_one_is_retired() {
    let mut world = World::new().await;
    let (private, preshared) = (PrivateKey::generate(), PresharedKey::generate());
    world.add_client(&private, preshared.clone()).await;
    let old = world.gateway.identities[0].public_key;

    let mut change = world.site.registry.change(&Actor::current()).await.unwrap();
    let overlap = jiff::SignedDuration::from_hours(1);
    let new = change.rotate_gateway(overlap, &world.site.master).await.unwrap().public_key;
    change.commit().await.unwrap();
    assert!(world.gateway.apply_registry().await.unwrap());
    assert_eq!(world.states(), [IdentityState::Retiring, IdentityState::Active]);

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.connect(world.gateway.listening[0]).unwrap();
    let mut room = [0; 2048];
    for identity in [old, new] {
        let sent = initiation(&world, &private, &preshared, identity);
        socket.send(&sent).unwrap();
        let length = socket.recv(&mut room).unwrap();
        assert!(answers(&room[..length], &sent), "{identity:?}");
    }

    let mut change = world.site.registry.change(&Actor::current()).await.unwrap();
    change.retire_gateway(None).await.unwrap();
    change.commit().await.unwrap();
    assert!(world.gateway.apply_registry().await.unwrap());
    assert_eq!(world.states(), [IdentityState::Active]);
    let [silent, heard] = [old, new].map(|identity| initiation(&world, &private, &preshared, identity));
    socket.send(&silent).unwrap();
    socket.send(&heard).unwrap();
    let length = socket.recv(&mut room).unwrap();
    assert!(answers(&room[..length], &heard), "the old identity is silent");
}

#[tokio::test]
async fn a_revocation_is_proved_in_the_registry_and_in_the_log() {
    let mut world = World::new().await;
    world.add_client(&PrivateKey::generate(), PresharedKey::generate()).await;
    let mut change = world.site.registry.change(&Actor::current()).await.unwrap();
    let applied = change.revoke("bert-laptop", None).await.unwrap();
    change.commit().await.unwrap();
    assert!(world.gateway.apply_registry().await.unwrap());
    let World { folder, site, gateway, .. } = world;
    gateway.end("test").await.unwrap();

    let cuts = site.registry.cuts(applied.client.id, applied.revision).await.unwrap();
    assert_eq!(cuts.len(), 1, "{cuts:?}");
    assert_eq!((cuts[0].gateway.as_str(), cuts[0].sessions, cuts[0].last_forwarded), ("gw-1", 0, None));
    let gateways = site.registry.gateways(Timestamp::now()).await.unwrap();
    assert!(gateways.is_empty(), "it stopped in order: {gateways:?}");
    let entries = vmsgate_audit::entries(site.registry.database(), &Chain::gateway("gw-1"), 0, 100).await;
    let cut = entries.unwrap().into_iter().find(|entry| entry.text.contains("\"kind\":\"admin.client.cut\""));
    let cut = cut.expect("the log has it too").text;
    assert!(cut.contains("\"object\":\"bert-laptop\"") && cut.contains("\"requested\":"), "{cut}");
    drop(folder);
}
