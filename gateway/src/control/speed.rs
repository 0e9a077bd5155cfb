//! `GET` and `POST /v1/speed`: bytes through the tunnel and nothing behind it, so that a client can tell how fast its way
//! to the gateway is.
//!
//! They come from memory and go nowhere: no server is reached, nothing is stored, and there is nothing to record. What a
//! client can cause with it is bounded: bytes in a request, bytes in a while, one request at a time, and a few of all
//! clients together.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::http::Exchange;
use crate::http::HttpError;

/// In one request: two seconds at 32 Mbit/s, an operator with a wall of nine cameras.
const MAX_BYTES: u64 = 8 << 20;
/// Of one client within [`WINDOW`], both ways together: a doctor with all its attempts, twice.
const BUDGET_BYTES: u64 = 48 << 20;
const WINDOW: Duration = Duration::from_secs(60);
/// Requests of all clients at once: a worker's core is for video.
const AT_ONCE: usize = 4;
/// Only this type: a page in a browser cannot send it to another site without asking first, which is refused.
const MEDIA_TYPE: &str = "application/octet-stream";

static ZEROS: [u8; 16 << 10] = [0; 16 << 10];

/// What clients have used up. Remembers no longer than it needs to.
#[derive(Debug, Clone, Default)]
pub(super) struct SpeedLimits(Arc<Mutex<HashMap<Uuid, Used>>>);

#[derive(Debug)]
struct Used {
    since: Instant,
    bytes: u64,
    is_running: bool,
}

/// A request that goes on; dropping it ends it.
#[derive(Debug)]
struct Running {
    limits: SpeedLimits,
    client: Uuid,
}

impl SpeedLimits {
    /// Lets a request begin, if its client may move so many bytes more.
    fn begin(&self, client: Uuid, bytes: u64, now: Instant) -> Result<Running, HttpError> {
        let mut all = self.lock();
        all.retain(|_, used| used.is_running || now.saturating_duration_since(used.since) < WINDOW);
        let running = all.values().filter(|used| used.is_running).count();
        let used = all.entry(client).or_insert(Used { since: now, bytes: 0, is_running: false });
        if now.saturating_duration_since(used.since) >= WINDOW {
            (used.since, used.bytes) = (now, 0);
        }
        let total = used.bytes.saturating_add(bytes);
        if used.is_running || running >= AT_ONCE || total > BUDGET_BYTES {
            return Err(HttpError::too_often("measured", WINDOW));
        }
        (used.bytes, used.is_running) = (total, true);
        Ok(Running { limits: self.clone(), client })
    }

    /// A panic elsewhere cannot have left half of a change.
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Used>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(used) = self.limits.lock().get_mut(&self.client) {
            used.is_running = false;
        }
    }
}

/// How much is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    bytes: u64,
}

/// `GET /v1/speed?bytes=N`: N bytes.
pub(super) async fn download(
    State(exchange): State<Arc<Exchange>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, HttpError> {
    let wanted =
        wanted.map(|Query(wanted)| wanted.bytes).ok().filter(|bytes| (1..=MAX_BYTES).contains(bytes));
    let Some(bytes) = wanted else {
        let message = format!("ask for ?bytes=N, N from 1 to {MAX_BYTES}");
        return Err(HttpError::new(StatusCode::BAD_REQUEST, "malformed", message));
    };
    let running = exchange.state.speed.begin(exchange.caller.id, bytes, Instant::now())?;
    let body = Body::new(Zeros { left: bytes, _running: running });
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response())
}

/// What arrived.
#[derive(Debug, Serialize)]
pub(super) struct Arrived {
    bytes: u64,
}

/// `POST /v1/speed`: takes bytes, and says how many.
pub(super) async fn upload(
    State(exchange): State<Arc<Exchange>>,
    headers: HeaderMap,
    mut body: Body,
) -> Result<Json<Arrived>, HttpError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(header::CONTENT_TYPE) != Some(MEDIA_TYPE) {
        let message = format!("send bytes, with the header `content-type: {MEDIA_TYPE}`");
        return Err(HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", message));
    }
    let announced = text(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let Some(announced) = announced.filter(|bytes| *bytes <= MAX_BYTES) else {
        let message =
            format!("say how much comes, with the header `content-length`: at most {MAX_BYTES} bytes");
        return Err(HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message));
    };
    let _running = exchange.state.speed.begin(exchange.caller.id, announced, Instant::now())?;
    // HTTP ends the body after what was announced.
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let broken =
            |_| HttpError::new(StatusCode::BAD_REQUEST, "malformed", "the body did not arrive whole");
        bytes += frame.map_err(broken)?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(Json(Arrived { bytes }))
}

/// So many bytes of nothing.
struct Zeros {
    left: u64,
    _running: Running,
}

impl hyper::body::Body for Zeros {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(ZEROS.len());
        self.left -= len as u64;
        let (some, _) = ZEROS.split_at(len);
        Poll::Ready((len > 0).then(|| Ok(Frame::data(Bytes::from_static(some)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_measures_once_at_a_time_and_within_its_budget() {
        let (limits, now) = (SpeedLimits::default(), Instant::now());
        let anna = Uuid::from_u128(1);
        let first = limits.begin(anna, MAX_BYTES, now).unwrap();
        assert_eq!(limits.begin(anna, 1, now).unwrap_err().code(), "too-often");
        drop(first);
        let whole =
            (1..BUDGET_BYTES / MAX_BYTES).filter(|_| limits.begin(anna, MAX_BYTES, now).is_ok()).count();
        assert_eq!(whole as u64, BUDGET_BYTES / MAX_BYTES - 1);
        assert!(limits.begin(anna, 1, now).is_err());
        assert!(limits.begin(Uuid::from_u128(2), MAX_BYTES, now).is_ok(), "no other waits for it");
        assert!(limits.begin(anna, MAX_BYTES, now + WINDOW).is_ok());
        assert!(limits.begin(Uuid::from_u128(3), 1, now + 3 * WINDOW).is_ok());
        assert_eq!(limits.lock().len(), 1, "nobody is remembered for longer than needed");
    }

    #[test]
    fn a_few_clients_measure_at_once() {
        let (limits, now) = (SpeedLimits::default(), Instant::now());
        let mut running: Vec<_> =
            (0..AT_ONCE).map(|n| limits.begin(Uuid::from_u128(n as u128), 1, now).unwrap()).collect();
        let late = Uuid::from_u128(99);
        assert!(limits.begin(late, 1, now).is_err());
        running.pop();
        assert!(limits.begin(late, 1, now).is_ok());
    }
}
