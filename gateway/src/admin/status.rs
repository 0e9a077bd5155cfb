//! What a running gateway says about itself: the body of `GET /v1/status` on the control socket.
//!
//! Plain data that the run loop fills on request. Numbers count from the start of the process unless
//! they say otherwise, bytes and packets are those inside the tunnel, and "received" means from the client.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::ProcessStatus;
use crate::{health::Condition, http::HttpError, ship::ShipStatus};

/// The version of this document; raised when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// How long the run loop may take to answer. It answers between two batches, so a wait this long means
/// that it is stuck.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The document: a [`Status`] with the version of its form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    pub schema_version: u32,
    #[serde(flatten)]
    pub status: Status,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub gateway: String,
    /// The program's version.
    pub version: String,
    /// Start of the process (RFC 3339).
    pub started: String,
    pub uptime_seconds: u64,
    /// The version of the policy in force, as audit records name it.
    pub policy_version: String,
    pub egress: String,
    /// Threads that move packets.
    pub workers: u8,
    /// The UDP addresses that the internet sees.
    pub listen: Vec<SocketAddr>,
    /// The gateway's own addresses in the tunnel.
    pub tunnel_addresses: Vec<IpAddr>,
    pub clients: u64,
    pub conditions: Vec<Condition>,
    pub audit: AuditStatus,
    /// The receivers of the audit log.
    #[serde(default)]
    pub shipping: Vec<ShipStatus>,
    pub totals: Totals,
    /// How busy each worker is, in their order.
    #[serde(default)]
    pub loads: Vec<WorkerLoad>,
    /// Changes of keys that wait for the registry, and how many may.
    #[serde(default)]
    pub key_changes: QueueStatus,
    #[serde(default)]
    pub process: ProcessStatus,
    /// The gateway's key pairs that answer, the newest last.
    #[serde(default)]
    pub identities: Vec<IdentityStatus>,
    /// Clients whose access ends within 14 days, with their validity or with the key on their device; the next first.
    #[serde(default)]
    pub expiring: Vec<Expiring>,
    /// How many clients' validity is over, without those suspended or revoked.
    #[serde(default)]
    pub expired: u64,
    /// When the next client loses its access.
    #[serde(default)]
    pub next_end: Option<Timestamp>,
    /// How often clients asked `enroll`, `keys` and `psk`, by result: `ok`, or the code of the error.
    #[serde(default)]
    pub key_requests: BTreeMap<String, BTreeMap<String, u64>>,
    /// Open sessions, oldest first.
    pub sessions: Vec<SessionStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityStatus {
    /// Of the public key, as in `vmsgate-keys gateway show`.
    pub fingerprint: String,
    /// `active` or `retiring`.
    pub state: String,
    /// Open sessions that use it.
    pub sessions: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiring {
    pub client: String,
    /// When (RFC 3339).
    pub expires: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditStatus {
    /// Whether new flows may be opened.
    pub accepting: bool,
    /// One sentence for people: `ok`, or what is wrong.
    pub text: String,
    pub queued: u64,
    pub queue_limit: u64,
    /// How long the oldest record that was taken from the queue has waited for the disk.
    #[serde(default)]
    pub behind_ms: u64,
    #[serde(default)]
    pub written: u64,
    /// Records that were lost; each loss is told by an `audit.gap` record.
    #[serde(default)]
    pub lost: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStatus {
    pub queued: u64,
    pub limit: u64,
}

/// One worker's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerLoad {
    /// Time that it was not waiting.
    pub busy_seconds: f64,
    /// Parcels that other workers have for it.
    pub handover: QueueStatus,
    /// Flows whose record is not on disk yet.
    pub unrecorded_flows: u64,
    /// Bytes that its UDP sockets did not take at once.
    pub send_bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub flows_open: u64,
    pub flows_opened: u64,
    /// By the reason that denial records give.
    pub flows_refused: BTreeMap<String, u64>,
    /// Flows to the recording network that are over, by the reason that their records give.
    #[serde(default)]
    pub flows_closed: BTreeMap<String, u64>,
    /// Refused flows by role, then by the service that was asked for.
    #[serde(default)]
    pub denials: BTreeMap<String, BTreeMap<String, u64>>,
    /// What passed to and from each server.
    #[serde(default)]
    pub servers: BTreeMap<String, Traffic>,
    pub handshakes_accepted: u64,
    pub handshakes_rejected: BTreeMap<String, u64>,
    pub traffic: Traffic,
    /// Packets dropped without an answer, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Times that a connection waited for its turn within its client's bandwidth; nothing was dropped.
    #[serde(default)]
    pub bandwidth_waits: u64,
}

/// What passed through the tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_packets: u64,
    pub tx_packets: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// The identifier that audit records carry.
    pub session: String,
    pub client: String,
    pub operator: String,
    pub role: String,
    pub tunnel_addresses: Vec<IpAddr>,
    /// Where the client's datagrams come from now.
    pub endpoint: Option<SocketAddr>,
    /// First authenticated handshake (RFC 3339).
    pub since: String,
    pub last_handshake: Option<String>,
    /// Last authenticated packet (RFC 3339).
    pub last_seen: Option<String>,
    pub flows: u64,
    pub traffic: Traffic,
    /// Fingerprint of the gateway's key that the client uses.
    #[serde(default)]
    pub identity: String,
    /// Whether the session is under a pre-shared key agreed with ML-KEM-768.
    #[serde(default)]
    pub post_quantum: bool,
}

/// Asks the run loop for its [`Status`].
#[derive(Debug, Clone)]
pub struct StatusClient(mpsc::Sender<oneshot::Sender<Status>>);

/// The run loop's end: answer each sender that arrives.
pub type StatusRequests = mpsc::Receiver<oneshot::Sender<Status>>;

/// Why there is no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    #[error("the gateway is shutting down")]
    Stopping,
    #[error("the event loop did not answer within {} s", ANSWER_LIMIT.as_secs())]
    Stuck,
}

impl From<StatusError> for HttpError {
    fn from(error: StatusError) -> Self {
        let code = match error {
            StatusError::Stopping => "stopping",
            StatusError::Stuck => "stuck",
        };
        HttpError::new(StatusCode::SERVICE_UNAVAILABLE, code, error.to_string())
    }
}

/// Makes the two ends.
pub fn status_channel() -> (StatusClient, StatusRequests) {
    // A few readers at once wait in line; the run loop never piles up more than this.
    let (requests, receiver) = mpsc::channel(4);
    (StatusClient(requests), receiver)
}

impl StatusClient {
    pub async fn status(&self) -> Result<Status, StatusError> {
        let ask = async {
            let (reply, answer) = oneshot::channel();
            self.0.send(reply).await.map_err(|_| StatusError::Stopping)?;
            answer.await.map_err(|_| StatusError::Stopping)
        };
        tokio::time::timeout(ANSWER_LIMIT, ask).await.unwrap_or(Err(StatusError::Stuck))
    }
}

#[cfg(test)]
pub(crate) fn example() -> Status {
    Status {
        gateway: "gw-1".to_owned(),
        version: "0.1.0".to_owned(),
        started: "2026-01-02T03:04:05.000Z".to_owned(),
        uptime_seconds: 3_723,
        policy_version: "a1b2c3d4".to_owned(),
        egress: "proxy".to_owned(),
        workers: 2,
        listen: vec![SocketAddr::from(([0, 0, 0, 0], 51_820))],
        tunnel_addresses: vec![IpAddr::from([10, 99, 0, 1])],
        clients: 12,
        conditions: Vec::new(),
        audit: AuditStatus {
            accepting: true,
            text: "ok".to_owned(),
            queued: 0,
            queue_limit: 65_536,
            ..AuditStatus::default()
        },
        shipping: Vec::new(),
        totals: Totals {
            flows_open: 2,
            flows_opened: 10,
            flows_refused: BTreeMap::from([("not-in-role".to_owned(), 3)]),
            handshakes_accepted: 4,
            drops: BTreeMap::from([("spoofed-source".to_owned(), 1)]),
            traffic: Traffic { rx_bytes: 1_000, tx_bytes: 2_000_000, rx_packets: 10, tx_packets: 2_000 },
            ..Totals::default()
        },
        loads: Vec::new(),
        key_changes: QueueStatus { queued: 0, limit: 1024 },
        process: ProcessStatus::default(),
        identities: Vec::new(),
        expiring: Vec::new(),
        expired: 0,
        next_end: None,
        key_requests: BTreeMap::new(),
        sessions: vec![SessionStatus {
            session: "01890000-0000-7000-8000-000000000000".to_owned(),
            client: "anna-laptop".to_owned(),
            operator: "Anna Berg".to_owned(),
            role: "smart-client".to_owned(),
            tunnel_addresses: vec![IpAddr::from([10, 99, 0, 2])],
            endpoint: Some(SocketAddr::from(([203, 0, 113, 7], 40_000))),
            since: "2026-01-02T03:05:00.000Z".to_owned(),
            last_handshake: Some("2026-01-02T04:05:00.000Z".to_owned()),
            last_seen: Some("2026-01-02T04:06:00.000Z".to_owned()),
            flows: 2,
            traffic: Traffic { rx_bytes: 1_000, tx_bytes: 2_000_000, rx_packets: 10, tx_packets: 2_000 },
            identity: "0123456789abcdef".to_owned(),
            post_quantum: true,
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_run_loop_answers_each_request() {
        let (client, mut requests) = status_channel();
        let run_loop = tokio::spawn(async move {
            while let Some(reply) = requests.recv().await {
                let _ = reply.send(example());
            }
        });
        assert_eq!(client.status().await, Ok(example()));
        assert_eq!(client.status().await, Ok(example()));
        drop(client);
        run_loop.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_run_loop_is_said_and_not_waited_for() {
        let (client, _requests) = status_channel();
        assert_eq!(client.status().await, Err(StatusError::Stuck));
    }

    #[tokio::test]
    async fn a_stopped_run_loop_is_said() {
        let (client, requests) = status_channel();
        drop(requests);
        assert_eq!(client.status().await, Err(StatusError::Stopping));
    }
}
