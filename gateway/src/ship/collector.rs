//! OTLP over HTTP: one request per batch, and the answer says whether it was taken.
//!
//! A batch that is refused is sent again until it is taken, whatever the status: evidence is not given up because a
//! token has expired or a path was mistyped. What the receiver took but did not keep (partial success) is not
//! sent again, as the protocol wants it; it is counted and logged.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use vmsgate_config::Receiver;
use zeroize::Zeroizing;

use super::connect::Connection;
use super::error::ShipError;
use super::otlp;
use super::record::Outgoing;

/// How long a receiver may take for a batch.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// More than any answer has a reason to be.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How much of an answer is repeated in an error.
const MAX_QUOTED_CHARS: usize = 200;
/// The longest wait that a receiver can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

pub struct Collector {
    requests: SendRequest<Full<Bytes>>,
    to: Receiver,
    headers: HeaderMap,
    gateway: String,
    taken: usize,
}

impl Collector {
    pub async fn open(to: &Receiver, headers: Option<&Path>, gateway: &str) -> Result<Self, ShipError> {
        let headers = match headers {
            Some(path) => read_headers(path).await?,
            None => HeaderMap::new(),
        };
        let connection = Connection::open(&to.endpoint, to.transport.is_encrypted()).await?;
        let (requests, exchange) = http1::handshake(TokioIo::new(connection)).await?;
        // Its error is also that of the request it happens to.
        tokio::spawn(exchange);
        Ok(Self { requests, to: to.clone(), headers, gateway: gateway.to_owned(), taken: 0 })
    }

    /// Sends a batch and returns how many of its records the receiver did not keep.
    pub async fn send(&mut self, records: &[Outgoing]) -> Result<u64, ShipError> {
        if records.is_empty() {
            self.taken += 1;
            return Ok(0);
        }
        let body = otlp::request(records, &self.gateway, SystemTime::now().into());
        let exchange = tokio::time::timeout(ANSWER_LIMIT, self.exchange(body)).await;
        let answer = exchange.map_err(|_| ShipError::Stalled(ANSWER_LIMIT))??;
        self.taken += 1;
        let Some(rejected) = otlp::rejected(&answer) else { return Ok(0) };
        let reason = vmsgate_cli::human::printable(&rejected.reason);
        tracing::warn!(
            records = rejected.records,
            reason,
            "the receiver of the audit log did not keep all records"
        );
        Ok(rejected.records)
    }

    /// How many batches more were taken.
    pub fn received(&mut self) -> usize {
        std::mem::take(&mut self.taken)
    }

    /// Whether the receiver has closed the connection, as it may between two requests.
    pub fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    async fn exchange(&mut self, body: String) -> Result<Bytes, ShipError> {
        let mut request = Request::post(self.to.path.as_str())
            .header(HOST, self.to.endpoint.to_string())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("vmsgate/", env!("CARGO_PKG_VERSION")))
            .body(Full::from(body))?;
        request.headers_mut().extend(self.headers.clone());
        self.requests.ready().await?;
        let response = self.requests.send_request(request).await?;
        let (status, retry_after) = (response.status(), retry_after(response.headers(), Timestamp::now()));
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        // An answer that is too long or breaks off does not change what the status said.
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }
        let text = String::from_utf8_lossy(&body).chars().take(MAX_QUOTED_CHARS).collect();
        Err(ShipError::Refused { status, text, retry_after })
    }
}

/// Without the headers, which may be secret.
impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("to", &self.to).finish_non_exhaustive()
    }
}

/// Seconds, or the time when to come again (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => rfc2822::parse(text).ok()?.timestamp().duration_since(now).try_into().ok()?,
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

async fn read_headers(path: &Path) -> Result<HeaderMap, ShipError> {
    let unreadable = |source| ShipError::HeadersFile { path: path.to_owned(), source };
    let text = Zeroizing::new(tokio::fs::read_to_string(path).await.map_err(unreadable)?);
    parse_headers(&text).map_err(|line| ShipError::Header { path: PathBuf::from(path), line })
}

/// Reads a header per line, or says which line is none. The error quotes nothing: the text may be secret.
fn parse_headers(text: &str) -> Result<HeaderMap, usize> {
    let mut headers = HeaderMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let header = || {
            let (name, value) = line.split_once(':')?;
            let mut value = HeaderValue::from_str(value.trim()).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::from_str(name.trim()).ok()?, value))
        };
        let (name, value) = header().ok_or(index + 1)?;
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_may_ask_for_a_wait_in_seconds_or_by_date_but_for_no_endless_one() {
        let now = "2026-11-06T08:49:30Z".parse().unwrap();
        let asked = |text: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        for (text, wait) in [
            ("7", Some(7)),
            ("Fri, 06 Nov 2026 08:49:37 GMT", Some(7)),
            ("Fri, 06 Nov 2026 08:49:20 GMT", None),
            ("999999999", Some(300)),
            ("Fri, 06 Nov 2099 08:49:37 GMT", Some(300)),
            ("-7", None),
            ("soon", None),
        ] {
            assert_eq!(asked(text), wait, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_header_per_line_is_read_and_never_shown() {
        let headers = parse_headers("Authorization: Bearer s3cret\r\n\nX-Team: cctv\n").unwrap();
        assert_eq!(headers["authorization"], "Bearer s3cret");
        assert_eq!(headers["x-team"], "cctv");
        assert!(!format!("{headers:?}").contains("s3cret"));
        for (text, line) in [("Authorization", 1), ("A: b\nB c: d", 2), ("A: b\u{7}", 1)] {
            assert_eq!(parse_headers(text).unwrap_err(), line, "{text:?}");
        }
    }
}
