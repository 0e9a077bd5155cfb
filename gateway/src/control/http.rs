//! The control interface over HTTP on port 80 of the gateway's tunnel addresses.
//!
//! Plain HTTP, because the tunnel has encrypted and authenticated it already; JSON, because people's scripts
//! read it too. A page in the client's browser must not: its site could point a host name at the tunnel
//! address (DNS rebinding) and read the answers, so a request must name the gateway by its address.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Extension, Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header, uri::Authority},
    routing::get,
};
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use vmsgate_config::profile::Profile;

use super::state::{Caller, ControlState};
use crate::http::{self, HttpError};

/// Serves one connection of `caller`.
pub async fn serve_http<S>(io: S, caller: Caller, state: Arc<ControlState>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    http::serve_connection(io, router(caller, state)).await;
}

fn router(caller: Caller, state: Arc<ControlState>) -> Router {
    let routes = Router::new().route("/v1/profile", get(profile));
    http::finish(routes.layer(Extension(caller)).with_state(state))
}

async fn profile(
    State(state): State<Arc<ControlState>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Json<Profile>, HttpError> {
    if !host(&headers).is_some_and(|host| state.addresses().contains(&host)) {
        let message = "ask by the gateway's tunnel address, not by a name";
        return Err(HttpError::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", message));
    }
    let role = caller.role.clone();
    state.profile(caller, Timestamp::now()).map(Json).ok_or_else(|| {
        let message = format!("the role `{role}` is not configured on this gateway; ask its administrator");
        HttpError::new(StatusCode::FORBIDDEN, "unknown-role", message)
    })
}

/// The address in the Host header, if it is one.
fn host(headers: &HeaderMap) -> Option<IpAddr> {
    let authority: Authority = headers.get(header::HOST)?.to_str().ok()?.parse().ok()?;
    authority.host().trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tower::ServiceExt;
    use vmsgate_config::Config;

    use super::*;

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
        Arc::new(ControlState::new(&config, vec!["KEY=".to_owned()]))
    }

    fn caller(role: &str) -> Caller {
        Caller {
            client: "anna-laptop".to_owned(),
            operator: "Anna Berg".to_owned(),
            role: role.to_owned(),
            expires: Some("2027-01-01T00:00:00Z".parse().unwrap()),
            addresses: vec!["10.99.0.2/32".parse().unwrap(), "fd00:99::2/128".parse().unwrap()],
        }
    }

    async fn ask(role: &str, host: &str) -> (StatusCode, Value) {
        let request = Request::get("/v1/profile").header("Host", host).body(Body::empty()).unwrap();
        let response = router(caller(role), state()).oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
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
                    "identities": ["KEY="],
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
        let rcode = |role: &str, label: &str| {
            answer(&query(label), state.zone(role), Transport::Udp).unwrap()[3] & 0xf
        };
        assert_eq!(rcode("narrow", "mgmt"), 0);
        assert_eq!(rcode("narrow", "sql"), 3);
        assert_eq!(rcode("gone", "mgmt"), 3);
    }

    #[tokio::test]
    async fn a_connection_is_served_without_a_multi_threaded_runtime() {
        let (mut peer, io) = tokio::io::duplex(16 * 1024);
        let local = tokio::task::LocalSet::new();
        local.spawn_local(serve_http(io, caller("narrow"), state()));
        local
            .run_until(async {
                peer.write_all(b"GET /v1/profile HTTP/1.1\r\nHost: 10.99.0.1\r\n\r\n").await.unwrap();
                let mut answer = String::new();
                peer.read_to_string(&mut answer).await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
            })
            .await;
    }
}
