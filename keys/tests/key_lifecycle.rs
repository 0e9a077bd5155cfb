//! The life of keys in the registry: offered, heard, ended; invited, enrolled, tried again by somebody else; a gateway's
//! identity beside another, and its end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::net::SocketAddr;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use support::{Installation as Site, PASSPHRASE, Run};
use tokio::task::block_in_place;
use uuid::Uuid;
use vmsgate_keys::{
    Actor, Change, Client, ClientState, Cut, Identity, IdentityState, Invitee, Keystore, MasterKey,
    Passphrase, Presence, PresharedKey, PrivateKey, PublicKey, Registry, RegistryError, Revision,
    TunnelRanges,
};

const GRACE: SignedDuration = SignedDuration::from_secs(30);

/// An installation, and its registry opened beside the program as a gateway has it.
struct Fixture {
    site: Site,
    registry: Registry,
    master: MasterKey,
    ranges: TunnelRanges,
}

impl Fixture {
    /// With the client `anna`, whose key was not heard yet.
    async fn new() -> Self {
        let site = block_in_place(|| Site::with_clients(&["anna"]));
        let passphrase = Passphrase::new(PASSPHRASE.as_bytes()).unwrap();
        let keystore = Keystore::read(&site.data().join("keystore")).unwrap();
        let registry = Registry::open(&site.database()).await.unwrap();
        let ranges = registry.settings().await.unwrap().tunnel;
        Self { master: keystore.open(&passphrase).unwrap(), site, registry, ranges }
    }

    async fn change(&self) -> Change {
        self.registry.change(&Actor::client("anna", "gw-1")).await.unwrap()
    }

    async fn anna(&self) -> Client {
        self.registry.client("anna").await.unwrap()
    }

    async fn offer(&self, key: PublicKey) -> Result<Client, RegistryError> {
        let mut change = self.change().await;
        let client = self.registry.client("anna").await?.id;
        let offered = change.offer_key(client, key, &PresharedKey::generate(), &self.master).await?;
        change.commit().await?;
        Ok(offered)
    }

    async fn hear(&self, key: PublicKey) -> Option<Client> {
        let client = self.anna().await.id;
        let mut change = self.change().await;
        let confirmed = change.confirm_key(client, &key, GRACE).await.unwrap();
        change.commit().await.unwrap();
        confirmed
    }

    async fn invite(&self, expires: Timestamp) -> Uuid {
        let mut change = self.change().await;
        let who = Invitee::New {
            name: "dora".parse().unwrap(),
            operator: "Dora".parse().unwrap(),
            role: "smart-client".to_owned(),
            expires: None,
        };
        let (public, preshared) = (key(), PresharedKey::generate());
        let invited = change.invite(who, expires, public, &preshared, &self.master, &self.ranges).await;
        change.commit().await.unwrap();
        invited.unwrap().1.id
    }

    async fn enroll(&self, invitation: Uuid, key: PublicKey) -> Result<Client, RegistryError> {
        let mut change = self.change().await;
        let client = change.enroll(invitation, key, &PresharedKey::generate(), &self.master).await?;
        change.commit().await?;
        Ok(client)
    }

    /// A gateway heard anna with this identity.
    async fn saw_anna_with(&self, identity: &Identity, last_seen: Timestamp) {
        let anna = self.anna().await;
        let key = anna.keys[0].public_key;
        let identity = identity.public_key;
        let seen = Presence { client: anna.id, key, identity, last_seen, post_quantum: false };
        self.registry.report_presence("gw-1", &[seen]).await.unwrap();
    }

    /// The kinds on record, the oldest first.
    fn kinds(&self) -> Vec<String> {
        self.records().into_iter().map(|(kind, _)| kind).collect()
    }

    fn records(&self) -> Vec<(String, Value)> {
        block_in_place(|| self.site.admin_records())
    }

    fn run(&self, arguments: &[&str]) -> Run {
        block_in_place(|| self.site.run(arguments))
    }
}

fn key() -> PublicKey {
    PrivateKey::generate().public_key()
}

fn in_a_week() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(7 * 24)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offered_key_takes_over_when_it_is_heard_and_the_old_one_ends_soon_after() {
    let fixture = Fixture::new().await;
    let old = fixture.anna().await.keys[0].public_key;
    assert!(fixture.hear(old).await.is_some());
    let new = key();

    fixture.offer(new).await.unwrap();
    let (offered, now) = (fixture.anna().await, Timestamp::now());
    assert_eq!(offered.current_key(now).unwrap().public_key, old, "an offer alone changes nothing");
    assert_eq!(offered.offered_key(now).unwrap().public_key, new);
    assert_eq!(offered.keys[0].valid_until, None);

    fixture.hear(new).await.unwrap();
    let (heard, now) = (fixture.anna().await, Timestamp::now());
    assert_eq!(heard.current_key(now).unwrap().public_key, new);
    assert!(heard.offered_key(now).is_none());
    let end = heard.keys[0].valid_until.unwrap();
    assert!(heard.keys[0].is_valid(now) && !heard.keys[0].is_valid(now + GRACE), "{end}");
    assert!(fixture.hear(new).await.is_none(), "hearing it again is no news");
    assert_eq!(
        fixture.kinds()[2..],
        ["admin.client.key-confirmed", "admin.client.offer-key", "admin.client.key-confirmed"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_offer_before_the_first_was_heard_takes_its_place() {
    let fixture = Fixture::new().await;
    let old = fixture.anna().await.keys[0].public_key;
    fixture.hear(old).await;
    let (first, second) = (key(), key());

    fixture.offer(first).await.unwrap();
    fixture.offer(second).await.unwrap();
    let (client, now) = (fixture.anna().await, Timestamp::now());
    let valid: Vec<_> =
        client.keys.iter().filter(|key| key.is_valid(now)).map(|key| key.public_key).collect();
    assert_eq!(valid, [old, second]);
    assert_eq!(client.offered_key(now).unwrap().public_key, second);
    assert!(fixture.hear(first).await.is_none(), "it ended before it was heard");

    // The answer was lost: the same key again gets another pre-shared key, and no second row.
    let before = preshared(&fixture, second).await;
    fixture.offer(second).await.unwrap();
    assert_ne!(preshared(&fixture, second).await, before);
    assert_eq!(fixture.anna().await.keys.len(), 3);
    let taken = fixture.offer(old).await.unwrap_err();
    assert!(matches!(taken, RegistryError::KeyTaken { .. }), "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rotations_by_an_administrator_leave_the_device_its_present_key_and_the_newer_profile() {
    let fixture = Fixture::new().await;
    let old = fixture.anna().await.keys[0].public_key;
    fixture.hear(old).await;
    let rotate = async |overlap: i64| {
        let (new, mut change) = (key(), fixture.change().await);
        let overlap = SignedDuration::from_hours(overlap);
        let preshared = PresharedKey::generate();
        change.rotate_client("anna", new, &preshared, overlap, &fixture.master).await.unwrap();
        change.commit().await.unwrap();
        new
    };

    let first = rotate(24).await;
    let second = rotate(48).await;

    let (client, now) = (fixture.anna().await, Timestamp::now());
    let valid =
        |key: PublicKey, at| client.keys.iter().any(|known| known.public_key == key && known.is_valid(at));
    let hours = SignedDuration::from_hours;
    assert!(valid(old, now) && valid(old, now + hours(47)) && !valid(old, now + hours(49)));
    assert!(!valid(first, now) && valid(second, now + hours(1000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_open_then_used_and_its_device_s_key_is_confirmed_when_heard() {
    let fixture = Fixture::new().await;
    let invitation = fixture.invite(in_a_week()).await;
    let find = async || {
        let invitations = fixture.registry.invitations().await.unwrap();
        invitations.into_iter().find(|known| known.id == invitation).unwrap()
    };
    assert!(find().await.is_open(Timestamp::now()));
    let device = key();

    let client = fixture.enroll(invitation, device).await.unwrap();
    assert_eq!(client.keys.iter().map(|key| key.public_key).collect::<Vec<_>>(), [device]);
    assert_eq!((client.keys[0].heard, find().await.used.unwrap().public_key), (None, device));
    fixture.enroll(invitation, device).await.expect("the answer was lost: the same device may ask again");

    let mut change = fixture.change().await;
    change.confirm_key(client.id, &device, GRACE).await.unwrap().unwrap();
    change.commit().await.unwrap();
    let again = fixture.enroll(invitation, device).await.unwrap_err();
    assert!(
        matches!(again, RegistryError::InvitationUsed { .. }),
        "it was heard, so nothing was lost: {again}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_device_is_refused_and_recorded_once_and_changes_nothing() {
    let fixture = Fixture::new().await;
    let invitation = fixture.invite(in_a_week()).await;
    let device = key();
    fixture.enroll(invitation, device).await.unwrap();
    let before = fixture.registry.client("dora").await.unwrap();

    let refused = fixture.enroll(invitation, key()).await.unwrap_err();
    let at = fixture.registry.invitations().await.unwrap()[0].used.unwrap().at;
    assert!(
        matches!(&refused, RegistryError::InvitationUsed { client, at: used } if client == "dora" && *used == at)
    );
    let source: SocketAddr = "192.0.2.7:4711".parse().unwrap();
    for _ in 0..2 {
        let mut change = fixture.change().await;
        change.invitation_reused(invitation, source).await.unwrap();
        change.commit().await.unwrap();
    }

    let after = fixture.registry.client("dora").await.unwrap();
    assert_eq!(serde_json::to_value(&after).unwrap(), serde_json::to_value(&before).unwrap());
    let records = fixture.records();
    let reused: Vec<_> =
        records.iter().filter(|(kind, _)| kind == "admin.client.invitation-reused").collect();
    assert_eq!(reused.len(), 1, "{records:?}");
    assert_eq!(
        (&reused[0].1["object"], &reused[0].1["after"]["source"]),
        (&"dora".into(), &"192.0.2.7:4711".into())
    );
    let list = fixture.run(&["client", "list"]).succeeded();
    assert!(list.stderr.contains("the invitation of `dora` was USED TWICE"), "{}", list.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_that_ended_enrols_nobody() {
    let fixture = Fixture::new().await;
    let expired = fixture.invite(Timestamp::now() - SignedDuration::from_secs(1)).await;
    let error = fixture.enroll(expired, key()).await.unwrap_err();
    assert!(matches!(error, RegistryError::InvitationExpired { .. }), "{error}");

    let mut change = fixture.change().await;
    let (public, preshared) = (key(), PresharedKey::generate());
    let who = Invitee::Known("dora".to_owned());
    let invited = change.invite(who, in_a_week(), public, &preshared, &fixture.master, &fixture.ranges).await;
    let open = invited.unwrap().1.id;
    change.commit().await.unwrap();
    fixture.run(&["client", "revoke", "dora"]).succeeded();
    let error = fixture.enroll(open, key()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Revoked { .. }), "{error}");
    let unknown = fixture.enroll(Uuid::now_v7(), key()).await.unwrap_err();
    assert!(matches!(unknown, RegistryError::NoSuchInvitation), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_not_retired_while_somebody_lately_seen_uses_it() {
    let fixture = Fixture::new().await;
    fixture.run(&["gateway", "retire"]).refused("no gateway identity is retiring");
    let old = fixture.registry.identities().await.unwrap().remove(0);
    fixture.run(&["gateway", "rotate"]).succeeded();
    fixture.run(&["gateway", "rotate"]).refused("a rotation is under way");
    fixture.saw_anna_with(&old, Timestamp::now() - SignedDuration::from_hours(24)).await;

    let refused = fixture.run(&["gateway", "retire"]);
    refused.refused("still use the retiring identity: anna");
    assert_eq!(fixture.registry.identities().await.unwrap().len(), 2, "nothing was changed");

    // Somebody who was seen long ago, or may not connect any more, is no obstacle; a suspended one is.
    let mut change = fixture.change().await;
    let an_hour_ago = Timestamp::now() - SignedDuration::from_hours(1);
    change.retire_gateway(Some(an_hour_ago)).await.unwrap();
    drop(change);
    for (command, obstacle) in [("suspend", true), ("revoke", false)] {
        fixture.run(&["client", command, "anna"]).succeeded();
        let mut change = fixture.change().await;
        let retired = change.retire_gateway(Some(Timestamp::MIN)).await;
        assert_eq!(matches!(retired, Err(RegistryError::IdentityInUse { .. })), obstacle, "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn force_retires_an_identity_in_use_and_its_private_key_is_nowhere_in_the_files() {
    let fixture = Fixture::new().await;
    let old = fixture.registry.identities().await.unwrap().remove(0);
    let sql = "SELECT sealed_private_key FROM registry_identity";
    let sealed: String = sqlx::query_scalar(sql).fetch_one(fixture.registry.database().pool()).await.unwrap();
    fixture.run(&["gateway", "rotate"]).succeeded();
    fixture.saw_anna_with(&old, Timestamp::now()).await;
    assert!(in_the_files(&fixture.site, sealed.as_bytes()), "the search finds what is there");

    // The registry stays open, as a gateway has it.
    fixture.run(&["gateway", "retire", "--force"]).succeeded();

    assert!(!in_the_files(&fixture.site, sealed.as_bytes()));
    let all = fixture.registry.all_identities().await.unwrap();
    let states: Vec<_> = all.iter().map(|identity| identity.state).collect();
    assert_eq!(states, [IdentityState::Retired, IdentityState::Active]);
    assert!(all[0].public_key == old.public_key && all[0].private_key(&fixture.master).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_done_when_no_gateway_runs_or_every_one_has_confirmed() {
    let fixture = Fixture::new().await;
    let alone = fixture.run(&["client", "revoke", "anna", "--json"]).succeeded().json();
    assert_eq!((&alone["changed"], &alone["gateways"]), (&true.into(), &serde_json::json!([])));

    block_in_place(|| fixture.site.add("bert")).succeeded();
    let bert = fixture.registry.client("bert").await.unwrap();
    let beating = async || {
        fixture.registry.heartbeat("gw-1", Revision::NONE, Timestamp::now()).await.unwrap();
    };
    beating().await;
    // A silent gateway: the revocation stands, and the exit status says that nobody confirmed it.
    let silent = fixture.run(&["client", "revoke", "bert", "--wait", "1s"]);
    assert_eq!(silent.status, 1, "{silent:?}");
    assert!(silent.stderr.contains("gw-1 did not confirm within 1s"), "{}", silent.stderr);
    let revoked = fixture.registry.client("bert").await.unwrap();
    assert_eq!(revoked.state, ClientState::Revoked);

    beating().await;
    let cut = Cut {
        gateway: "gw-1".to_owned(),
        client: bert.id,
        revision: revoked.revision,
        applied: Timestamp::now(),
        last_forwarded: None,
        flows: 3,
        sessions: 1,
    };
    fixture.registry.report_cut(&cut).await.unwrap();
    let confirmed = fixture.run(&["client", "revoke", "bert", "--json"]).succeeded().json();
    let proof = &confirmed["gateways"][0];
    assert_eq!((&confirmed["changed"], &proof["confirmed"]), (&false.into(), &true.into()), "{confirmed}");
    assert_eq!((&proof["gateway"], &proof["flows_cut"]), (&"gw-1".into(), &3.into()), "{confirmed}");
}

/// The text of the pre-shared key that goes with one of anna's keys.
async fn preshared(fixture: &Fixture, key: PublicKey) -> String {
    let anna = fixture.anna().await;
    let key = anna.keys.iter().find(|known| known.public_key == key).unwrap();
    key.preshared_key(&fixture.master).unwrap().to_base64().to_string()
}

/// In the database, its write-ahead log, or anything else beside it.
fn in_the_files(site: &Site, secret: &[u8]) -> bool {
    let files =
        std::fs::read_dir(site.data()).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let found = files.map(|bytes| bytes.windows(secret.len()).any(|window| window == secret));
    found.fold(false, |any, found| any | found)
}
