//! How fast bytes get through the tunnel, both ways, to the gateway itself: no server takes part.

use std::future::pending;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use vmsgate_cli::human;

use super::finding::{Finding, Id, Verdict};
use crate::control::{Control, ControlError, host_of, refusal};

/// For a first idea of the rate.
const FIRST_BYTES: u64 = 256 << 10;
/// The gateway's limit for one request.
const MAX_BYTES: u64 = 8 << 20;
/// How long the second, larger measurement is meant to take.
const SECONDS: f64 = 2.0;
/// How long one may take; what is through by then tells the rate.
const LIMIT: Duration = Duration::from_secs(15);
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// Bits per second. Planning values for H.264: 640x360 takes 1 to 1.5 Mbit/s, 1080p at 20 to 30 frames 4, and nine tiles of
/// 3 Mbit/s together 27.
const ONE_SMALL_STREAM: f64 = 1e6;
const ONE_STREAM: f64 = 4e6;
const NINE_TILES: f64 = 27e6;
/// What acknowledges that: a segment of 1380 bytes in two, with a datagram of about 100 bytes.
const ACKNOWLEDGED_STREAM: f64 = 0.15e6;
const ACKNOWLEDGED_TILES: f64 = 1e6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Down,
    Up,
}

/// Measures one way: bits per second.
pub(super) async fn measure(control: &Control, way: Way) -> Result<f64, ControlError> {
    let first = exchange(control, way, FIRST_BYTES).await?;
    let bytes = (first * SECONDS / 8.0) as u64;
    if bytes <= FIRST_BYTES {
        return Ok(first);
    }
    exchange(control, way, bytes.min(MAX_BYTES)).await
}

async fn exchange(control: &Control, way: Way, bytes: u64) -> Result<f64, ControlError> {
    let (stream, gateway) = control.dial().await?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(ControlError::Http)?;
    let mut request = match way {
        Way::Down => Request::new(Full::default()),
        Way::Up => Request::new(Full::new(Bytes::from(vec![0; usize::try_from(bytes).unwrap_or_default()]))),
    };
    let headers = request.headers_mut();
    if let Ok(host) = host_of(gateway).parse() {
        headers.insert(header::HOST, host);
    }
    if way == Way::Up {
        let media_type = header::HeaderValue::from_static("application/octet-stream");
        headers.insert(header::CONTENT_TYPE, media_type);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = hyper::Uri::from_static("/v1/speed");
    } else if let Ok(uri) = format!("/v1/speed?bytes={bytes}").parse() {
        *request.uri_mut() = uri;
    }
    let exchange = async {
        let begun = Instant::now();
        let deadline = tokio::time::sleep(LIMIT);
        tokio::pin!(deadline);
        let response = tokio::select! {
            response = sender.send_request(request) => response.map_err(ControlError::Http)?,
            // It was slower than this.
            () = &mut deadline => return Ok(rate(bytes, LIMIT)),
        };
        let mut response = accepted(response).await?;
        if way == Way::Up {
            return Ok(rate(bytes, begun.elapsed()));
        }
        let mut received = 0;
        loop {
            tokio::select! {
                frame = response.body_mut().frame() => match frame {
                    Some(frame) => {
                        let frame = frame.map_err(ControlError::Http)?;
                        received += frame.data_ref().map_or(0, |data| data.len() as u64);
                    }
                    None => break,
                },
                () = &mut deadline => break,
            }
        }
        Ok::<_, ControlError>(rate(received, begun.elapsed()))
    };
    // The connection's own result says nothing that the exchange's does not.
    let carry = async {
        let _ = connection.await;
        pending::<()>().await;
    };
    tokio::select! {
        outcome = exchange => outcome,
        () = carry => Err(ControlError::TimedOut),
    }
}

async fn accepted(response: Response<Incoming>) -> Result<Response<Incoming>, ControlError> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response);
    }
    let body = Limited::new(response.into_body(), MAX_REFUSAL_BYTES).collect().await;
    Err(refusal(status, &body.map(|body| body.to_bytes()).unwrap_or_default()))
}

fn rate(bytes: u64, time: Duration) -> f64 {
    bytes as f64 * 8.0 / time.as_secs_f64().max(1e-6)
}

pub(super) fn judge(way: Way, measured: &Result<f64, ControlError>) -> Finding {
    let (id, name) = match way {
        Way::Down => (Id::PathGoodputDown, "down_bits_per_second"),
        Way::Up => (Id::PathGoodputUp, "up_bits_per_second"),
    };
    let rate = match measured {
        Ok(rate) => *rate,
        Err(ControlError::Refused { status: StatusCode::NOT_FOUND, .. }) => {
            return Finding::skipped(id, "this gateway is older than the measurement");
        }
        Err(ControlError::Refused { status: StatusCode::TOO_MANY_REQUESTS, .. }) => {
            return Finding::skipped(id, "measured too often; try again in a minute");
        }
        Err(error) => {
            return Finding::new(id, Verdict::Problem, format!("nothing gets through: {error}"))
                .advise("look at path.mtu and path.loss first");
        }
    };
    let (verdict, enough) = match way {
        Way::Down if rate < ONE_SMALL_STREAM => {
            (Verdict::Problem, "too little for a single small video stream")
        }
        Way::Down if rate < ONE_STREAM => {
            (Verdict::Warning, "too little for a single 1080p stream (4 Mbit/s)")
        }
        Way::Down if rate < NINE_TILES => {
            (Verdict::Note, "enough for single streams, not for nine tiles (27 Mbit/s)")
        }
        Way::Down => (Verdict::Ok, "enough for nine tiles and more"),
        Way::Up if rate < ACKNOWLEDGED_STREAM => {
            (Verdict::Problem, "too little to acknowledge a single video stream")
        }
        Way::Up if rate < ACKNOWLEDGED_TILES => {
            (Verdict::Warning, "too little to acknowledge nine tiles (1 Mbit/s)")
        }
        Way::Up => (Verdict::Ok, "enough for what operators send"),
    };
    let message = format!("{}: {enough}", human::bit_rate(rate));
    let finding = Finding::new(id, verdict, message).measured(name, rate.round());
    if verdict < Verdict::Warning {
        return finding;
    }
    finding.advise("look at path.loss and path.round-trip; else another connection of this machine, or fewer streams in a view")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_judged_by_the_streams_that_it_carries() {
        for (way, mbit, verdict) in [
            (Way::Down, 100.0, Verdict::Ok),
            (Way::Down, 27.0, Verdict::Ok),
            (Way::Down, 26.9, Verdict::Note),
            (Way::Down, 3.9, Verdict::Warning),
            (Way::Down, 0.9, Verdict::Problem),
            (Way::Up, 1.0, Verdict::Ok),
            (Way::Up, 0.9, Verdict::Warning),
            (Way::Up, 0.1, Verdict::Problem),
        ] {
            let finding = judge(way, &Ok(mbit * 1e6));
            assert_eq!((mbit, finding.verdict), (mbit, verdict), "{finding:?}");
            assert_eq!(finding.advice.is_some(), verdict >= Verdict::Warning);
        }
        assert_eq!(judge(Way::Up, &Ok(2.5e6)).measured["up_bits_per_second"], 2_500_000.0);
    }

    #[test]
    fn a_gateway_that_does_not_measure_is_no_problem_and_silence_is() {
        let refused = |status, code: &str| {
            let (code, message) = (code.to_owned(), String::new());
            judge(Way::Down, &Err(ControlError::Refused { status, code, message })).verdict
        };
        assert_eq!(refused(StatusCode::NOT_FOUND, "not-found"), Verdict::Skipped);
        assert_eq!(refused(StatusCode::TOO_MANY_REQUESTS, "too-often"), Verdict::Skipped);
        assert_eq!(judge(Way::Down, &Err(ControlError::TimedOut)).verdict, Verdict::Problem);
    }
}
