//! The control interface over HTTP on port 80 of the gateway's tunnel addresses.
//!
//! Plain HTTP, because the tunnel has encrypted and authenticated it already; JSON, because people's scripts
//! read it too. A page in the client's browser must not: its site could point a host name at the tunnel
//! address (DNS rebinding) and read the answers, so a request must name the gateway by its address.
//!
//! An invitation is served [`enroll`] alone, a device everything else.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header, uri::Authority},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use vmsgate_config::profile::Profile;
use vmsgate_tunnel::peer::ClientKind;

use super::ask::Asking;
use super::caller::Caller;
use super::exchange::{enroll, keys, psk};
use super::speed;
use super::state::ControlState;
use crate::http::{self, HttpError};

/// What one connection is served from.
pub(super) struct Exchange {
    pub(super) caller: Caller,
    pub(super) state: Arc<ControlState>,
    pub(super) asking: Asking,
}

/// Serves one connection of `caller`, whose requests about keys go to `asking`.
pub async fn serve_http<S>(io: S, caller: Caller, state: Arc<ControlState>, asking: Asking)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    http::serve_connection(io, router(Exchange { caller, state, asking })).await;
}

fn router(exchange: Exchange) -> Router {
    let exchange = Arc::new(exchange);
    let routes = match exchange.caller.kind {
        ClientKind::Device => http::finish(
            Router::new()
                .route("/v1/profile", get(profile))
                .route("/v1/keys", post(keys))
                .route("/v1/psk", post(psk))
                .route("/v1/speed", get(speed::download).post(speed::upload))
                .route("/v1/enroll", any(enrolled_already)),
        ),
        ClientKind::Invitation => {
            http::finish(Router::new().route("/v1/enroll", post(enroll))).fallback(enrol_first)
        }
    };
    routes.layer(from_fn_with_state(exchange.clone(), named_by_address)).with_state(exchange)
}

async fn named_by_address(State(exchange): State<Arc<Exchange>>, request: Request, next: Next) -> Response {
    if host(request.headers()).is_some_and(|host| exchange.state.is_own(host)) {
        return next.run(request).await;
    }
    let message = "ask by the gateway's tunnel address, not by a name";
    HttpError::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", message).into_response()
}

async fn enrolled_already() -> HttpError {
    let message = "this client is enrolled; it gets a new key by POST /v1/keys";
    HttpError::new(StatusCode::FORBIDDEN, "enrolled", message)
}

async fn enrol_first() -> HttpError {
    let message = "an invitation reaches POST /v1/enroll and nothing else";
    HttpError::new(StatusCode::FORBIDDEN, "invitation", message)
}

async fn profile(State(exchange): State<Arc<Exchange>>) -> Result<Json<Profile>, HttpError> {
    let Exchange { caller, state, .. } = &*exchange;
    state.profile(caller, Timestamp::now()).map(Json).ok_or_else(|| {
        let role = &caller.role;
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
mod tests;
