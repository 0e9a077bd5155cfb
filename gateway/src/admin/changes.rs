//! What may be asked of a running gateway about another configuration: what it would change, and to take it now.

use std::sync::Arc;
use std::time::Duration;

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use vmsgate_config::{Config, ConfigErrors, Environment};
use vmsgate_tunnel::gateway::foresee::{Cut, Member};
use vmsgate_tunnel::policy::Policy;

use crate::difference::{Difference, compare};
use crate::http::{HttpError, json_body_up_to};
use crate::policy_build::build_policy;

/// The largest configuration, with every byte of it escaped.
const MAX_PROPOSAL_BYTES: usize = 6 << 20;
/// How long the run loop and the workers may take; they answer between two batches.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A file that is to be compared with the configuration in force.
#[derive(Debug, Serialize, Deserialize)]
pub struct Proposal {
    /// What to call it.
    pub file: String,
    pub text: String,
}

/// What came of a reload.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Whether the file is in force now.
    pub in_force: bool,
    /// Why not; the old configuration stays in force then.
    pub errors: Vec<String>,
    /// What it changed.
    pub difference: Option<Difference>,
}

/// The clients there are, and the flows that a policy cuts.
#[derive(Debug, Default)]
pub struct Foreseen {
    pub members: Vec<Member>,
    pub cuts: Vec<Cut>,
}

/// What the run loop says of a reload.
#[derive(Debug)]
pub enum Reloaded {
    InForce {
        before: Box<Config>,
        after: Box<Config>,
        seen: Foreseen,
    },
    Refused(ConfigErrors),
    /// The gateway was started without a file.
    NoFile,
}

/// A request to the run loop.
#[derive(Debug)]
pub enum ChangeRequest {
    /// Asks for the configuration in force, and what this policy would do.
    Foresee(Arc<Policy>, oneshot::Sender<(Config, Foreseen)>),
    Reload(oneshot::Sender<Reloaded>),
}

/// The run loop's end.
pub type ChangeRequests = mpsc::Receiver<ChangeRequest>;

#[derive(Debug, Clone)]
pub struct Changes(mpsc::Sender<ChangeRequest>);

/// Makes the two ends.
pub fn changes_channel() -> (Changes, ChangeRequests) {
    let (requests, receiver) = mpsc::channel(1);
    (Changes(requests), receiver)
}

pub fn router(changes: Changes) -> Router {
    Router::new()
        .route("/v1/configuration/difference", post(difference))
        .route("/v1/configuration/reload", post(reload))
        .with_state(changes)
}

/// The file is read as the gateway itself would read it, with the variables of the gateway's own environment.
async fn difference(
    State(changes): State<Changes>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Difference>, HttpError> {
    let Proposal { file, text } = json_body_up_to(MAX_PROPOSAL_BYTES, &headers, body).await?;
    let read = move || {
        let config = Config::from_str_with(&text, &file, &Environment::of_process())?;
        let policy = build_policy(&config);
        Ok::<_, ConfigErrors>((config, policy))
    };
    let (proposed, policy) = aside(read).await?.map_err(|errors| {
        HttpError::new(StatusCode::UNPROCESSABLE_ENTITY, "configuration-refused", errors.to_string())
    })?;
    let (in_force, seen) = changes.ask(|reply| ChangeRequest::Foresee(policy.into(), reply)).await?;
    let told = aside(move || compare(&in_force, &proposed, &seen.members, &seen.cuts)).await?;
    Ok(Json(told))
}

async fn reload(State(changes): State<Changes>) -> Result<Json<ReloadReport>, HttpError> {
    let report = match changes.ask(ChangeRequest::Reload).await? {
        Reloaded::InForce { before, after, seen } => {
            let told = aside(move || compare(&before, &after, &seen.members, &seen.cuts)).await?;
            ReloadReport { in_force: true, errors: Vec::new(), difference: Some(told) }
        }
        Reloaded::Refused(errors) => {
            let errors = errors.errors().map(ToString::to_string).collect();
            ReloadReport { in_force: false, errors, difference: None }
        }
        Reloaded::NoFile => {
            let message = "the gateway was started without a configuration file";
            return Err(HttpError::new(StatusCode::CONFLICT, "no-file", message));
        }
    };
    Ok(Json(report))
}

impl Changes {
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> ChangeRequest,
    ) -> Result<T, HttpError> {
        let unavailable =
            |code, message: &str| HttpError::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        let stopping = || unavailable("stopping", "the gateway is shutting down");
        let ask = async {
            let (reply, answer) = oneshot::channel();
            self.0.send(request(reply)).await.map_err(|_| stopping())?;
            answer.await.map_err(|_| stopping())
        };
        let stuck = |_| unavailable("stuck", "the event loop does not answer");
        tokio::time::timeout(ANSWER_LIMIT, ask).await.map_err(stuck)?
    }
}

/// Computes beside the run loop, which has other things to do.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, HttpError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| {
        HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", "the gateway could not compare them")
    })
}
