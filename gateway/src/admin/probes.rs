//! `/healthz` and `/readyz` for whoever watches the process: an orchestrator, a load balancer, a person.

use std::time::{Duration, Instant};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::{metrics, status::StatusClient};
use crate::{
    health::{Condition, Health},
    http,
};

/// Serves the probes and `/metrics` on `listener` until the task is dropped.
pub async fn serve_probes(listener: TcpListener, health: Health, status: StatusClient) {
    let router = router(health, status);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(http::serve_connection(stream, router.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "admin listener cannot accept a connection");
                // Out of file descriptors: the condition lasts, so do not spin on it.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn router(health: Health, status: StatusClient) -> Router {
    http::finish(routes(health).merge(metrics::router(status)))
}

/// Both probes; the control socket has them too.
pub(super) fn routes(health: Health) -> Router {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).with_state(health)
}

/// What both answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct HealthReport {
    pub ok: bool,
    pub conditions: Vec<Condition>,
}

async fn healthz(State(health): State<Health>) -> Response {
    answer(vec![health.event_loop(Instant::now())])
}

async fn readyz(State(health): State<Health>) -> Response {
    answer(health.conditions(Instant::now()))
}

fn answer(conditions: Vec<Condition>) -> Response {
    let ok = conditions.iter().all(|condition| condition.ok);
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(HealthReport { ok, conditions })).into_response()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;
    use crate::admin::status::status_channel;
    use crate::health::{ConditionCode, HEARTBEAT_LIMIT};

    async fn ask(health: &Health, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router(health.clone(), status_channel().0).oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_starting_gateway_is_alive_but_not_ready() {
        let health = Health::new(Instant::now(), 1);
        let (status, body) = ask(&health, "/healthz").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            body,
            json!({"ok": true, "conditions": [
                {"code": "event-loop", "ok": true, "text": "the event loop turns"}
            ]})
        );
        let (status, body) = ask(&health, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body["ok"], false);
        let codes: Vec<_> =
            body["conditions"].as_array().unwrap().iter().map(|c| c["code"].clone()).collect();
        let expected = [
            "event-loop",
            "udp-bound",
            "registry-readable",
            "audit-accepting",
            "audit-shipping",
            "configuration-in-force",
        ];
        assert_eq!(codes, expected);
    }

    #[tokio::test]
    async fn ready_says_which_condition_is_broken_and_recovers() {
        let health = Health::new(Instant::now(), 1);
        health.report(ConditionCode::UdpBound, true, "0.0.0.0:51820");
        health.report(ConditionCode::RegistryReadable, true, "revision 7");
        health.report(ConditionCode::ConfigurationInForce, true, "policy a1b2");
        health.report(ConditionCode::AuditShipping, true, "not shipped");
        health.report(ConditionCode::AuditAccepting, false, "the disk is full");
        let (status, body) = ask(&health, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            body["conditions"][3],
            json!({"code": "audit-accepting", "ok": false, "text": "the disk is full"})
        );
        health.report(ConditionCode::AuditAccepting, true, "ok");
        assert_eq!(ask(&health, "/readyz").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_stuck_event_loop_fails_both_probes() {
        let long_ago =
            Instant::now().checked_sub(HEARTBEAT_LIMIT).expect("a machine that has run for a while");
        let health = Health::new(long_ago, 1);
        assert_eq!(ask(&health, "/healthz").await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ask(&health, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn probes_are_served_over_tcp() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve_probes(listener, Health::new(Instant::now(), 1), status_channel().0));
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        server.abort();
    }
}
