//! What a profile says of keys, and what it warns of.

use jiff::SignedDuration;

use super::*;

const CREATED: &str = "2026-05-01T12:00:00.000Z";

async fn profile_of(caller: Caller, facts: Facts) -> Profile {
    let config = Config::from_str(CONFIG, "gateway.toml").unwrap();
    let state =
        Arc::new(ControlState::new(&config, vec![IDENTITY.to_owned()], facts, KeyRequests::default()));
    let request = Request::get("/v1/profile").header("Host", "10.99.0.1").body(Body::empty()).unwrap();
    let (status, body) = respond(caller, state, request).await;
    assert_eq!(status, StatusCode::OK);
    serde_json::from_value(body).unwrap()
}

#[tokio::test]
async fn the_age_is_that_of_the_key_in_use() {
    let facts = Facts::default();
    let (own, offered) = (caller("narrow").key, PublicKey::from_bytes([8; 32]));
    let keys = vec![(own, CREATED.parse().unwrap()), (offered, Timestamp::now())];
    facts.set_keys(Uuid::from_u128(1), keys);
    let profile = profile_of(caller("narrow"), facts).await;
    assert_eq!(profile.keys.unwrap().created, CREATED);
    assert_eq!(profile.warnings, [""; 0]);
}

#[tokio::test]
async fn a_session_under_an_agreed_key_is_told_so() {
    let profile = profile_of(Caller { post_quantum: true, ..caller("narrow") }, Facts::default()).await;
    assert!(profile.post_quantum.unwrap().in_force);
}

#[tokio::test]
async fn whoever_loses_access_soon_is_warned_for_a_fortnight() {
    let now = Timestamp::now();
    for (days, warned) in [(13, true), (15, false)] {
        let expires = Some(now + SignedDuration::from_hours(24 * days));
        let profile = profile_of(Caller { expires, ..caller("narrow") }, Facts::default()).await;
        assert_eq!(profile.warnings.iter().any(|text| text.starts_with("access ends")), warned, "{days}");
    }
}

#[tokio::test]
async fn a_leaked_invitation_and_an_old_identity_are_told() {
    let facts = Facts::default();
    facts.set_invitation_reused(Uuid::from_u128(1), CREATED.parse().unwrap());
    facts.set_invitation_reused(Uuid::from_u128(2), CREATED.parse().unwrap());
    let old = PublicKey::from_bytes([4; 32]);
    let profile = profile_of(Caller { identity: old, ..caller("narrow") }, facts).await;
    let [leaked, identity] = &profile.warnings[..] else { panic!("{:?}", profile.warnings) };
    assert!(leaked.contains("invitation on 2026-05-01"), "{leaked}");
    assert!(identity.contains(&old.fingerprint().to_string()), "{identity}");
}
