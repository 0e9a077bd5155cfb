use axum::{body::Body, http::Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tower::ServiceExt;
use uuid::Uuid;
use vmsgate_config::Config;
use vmsgate_keys::PublicKey;

use super::*;
use crate::control::facts::Facts;
use crate::control::requests::KeyRequests;

mod exchange;
mod speed;
mod warnings;

const CONFIG: &str = r#"
    [gateway]
    name = "gw-1"
    listen = "0.0.0.0:51820"
    endpoint = "vpn.example.org:51820"
    tunnel = ["10.99.0.0/16", "fd00:99::/64"]
    data = "/var/lib/vmsgate"

    [dns]
    suffix = "vms.local"

    [[server]]
    name = "mgmt"
    address = "192.168.10.10"
    services = ["management-server", "log-server"]

    [[server]]
    name = "sql"
    address = "192.168.10.30"
    services = ["log-server"]

    [role.narrow]
    allow = ["mgmt:management-server"]
"#;

fn state() -> Arc<ControlState> {
    let config = Config::from_str(CONFIG, "gateway.toml").unwrap();
    Arc::new(ControlState::new(&config, vec![IDENTITY.to_owned()], Facts::default(), KeyRequests::default()))
}

/// 32 bytes of 3.
const IDENTITY: &str = "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";

fn caller(role: &str) -> Caller {
    Caller {
        id: Uuid::from_u128(1),
        kind: ClientKind::Device,
        client: "anna-laptop".to_owned(),
        operator: "Anna Berg".to_owned(),
        role: role.to_owned(),
        expires: Some("2027-01-01T00:00:00Z".parse().unwrap()),
        addresses: vec!["10.99.0.2/32".parse().unwrap(), "fd00:99::2/128".parse().unwrap()],
        key: PublicKey::from_bytes([2; 32]),
        identity: PublicKey::from_bytes([3; 32]),
        registered: [1; 32].into(),
        post_quantum: false,
        source: "198.51.100.7:4000".parse().unwrap(),
    }
}

fn invited() -> Caller {
    Caller { kind: ClientKind::Invitation, ..caller("invitation") }
}

/// Asks; what the interface asks for in turn is answered by nobody.
async fn respond(caller: Caller, state: Arc<ControlState>, request: Request<Body>) -> (StatusCode, Value) {
    let (asking, _) = mpsc::channel(1);
    answered(Exchange { caller, state, asking }, request).await
}

async fn answered(exchange: Exchange, request: Request<Body>) -> (StatusCode, Value) {
    let response = router(exchange).oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn ask(role: &str, host: &str) -> (StatusCode, Value) {
    let request = Request::get("/v1/profile").header("Host", host).body(Body::empty()).unwrap();
    respond(caller(role), state(), request).await
}

#[tokio::test]
async fn a_profile_lists_what_the_role_may_reach_and_nothing_else() {
    let (status, mut body) = ask("narrow", "10.99.0.1").await;
    assert_eq!(status, StatusCode::OK);
    let time = body["gateway"]["server_time"].take();
    let age = Timestamp::now().duration_since(time.as_str().unwrap().parse().unwrap());
    assert!(age.as_secs().abs() < 60, "{time}");
    assert_eq!(
        body,
        json!({
            "schema_version": 1,
            "client": "anna-laptop",
            "operator": "Anna Berg",
            "role": "narrow",
            "expires": "2027-01-01T00:00:00.000Z",
            "addresses": ["10.99.0.2/32", "fd00:99::2/128"],
            "gateway": {
                "name": "gw-1",
                "server_time": null,
                "endpoints": ["vpn.example.org:51820"],
                "identities": [IDENTITY],
                "addresses": ["10.99.0.1", "fd00:99::1"],
                "mtu": 1420,
                "dns_suffix": "vms.local",
            },
            "servers": [{
                "name": "mgmt",
                "hostnames": ["mgmt", "mgmt.vms.local"],
                "addresses": ["192.168.10.10"],
                "services": [{
                    "name": "management-server",
                    "protocol": "tcp",
                    "ports": [{"first": 80, "last": 80}, {"first": 443, "last": 443}],
                }],
            }],
            "post_quantum": {"interval_seconds": 3600, "required": false, "in_force": false},
            "warnings": [],
        })
    );
}

#[tokio::test]
async fn the_shim_can_read_it() {
    let (_, body) = ask("narrow", "[fd00:99::1]:80").await;
    let profile: Profile = serde_json::from_value(body).unwrap();
    assert_eq!(profile.servers.len(), 1);
}

#[tokio::test]
async fn a_role_that_is_gone_is_said() {
    let (status, body) = ask("gone", "10.99.0.1").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(body["error"]["code"], "unknown-role");
    assert_eq!(
        body["error"]["message"],
        "the role `gone` is not configured on this gateway; ask its administrator"
    );
}

#[tokio::test]
async fn a_host_name_pointed_at_the_gateway_reads_nothing() {
    for host in ["evil.example.org", "10.99.0.2", "", "localhost:80"] {
        assert_eq!(ask("narrow", host).await.0, StatusCode::MISDIRECTED_REQUEST, "{host}");
    }
}

#[tokio::test]
async fn names_of_other_roles_servers_do_not_exist() {
    use crate::control::dns::{Transport, answer};
    let state = state();
    let query = |label: &str| {
        let mut bytes = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0".to_vec();
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
        bytes.extend(b"\0\0\x01\0\x01");
        bytes
    };
    let rcode =
        |role: &str, label: &str| answer(&query(label), state.zone(role), Transport::Udp).unwrap()[3] & 0xf;
    assert_eq!(rcode("narrow", "mgmt"), 0);
    assert_eq!(rcode("narrow", "sql"), 3);
    assert_eq!(rcode("gone", "mgmt"), 3);
}

#[tokio::test]
async fn a_connection_is_served_without_a_multi_threaded_runtime() {
    let (mut peer, io) = tokio::io::duplex(16 * 1024);
    let local = tokio::task::LocalSet::new();
    let (asking, _asks) = mpsc::channel(1);
    local.spawn_local(serve_http(io, caller("narrow"), state(), asking));
    local
        .run_until(async {
            peer.write_all(b"GET /v1/profile HTTP/1.1\r\nHost: 10.99.0.1\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            peer.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        })
        .await;
}
