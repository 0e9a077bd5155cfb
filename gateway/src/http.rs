//! What the gateway's small HTTP servers have in common: limits against slow and greedy peers, and errors
//! as JSON.
//!
//! One connection carries one request: nothing here is asked often enough for keep-alive to pay, and a
//! connection that ends by itself cannot be held open. The body of a GET is never read, that of a POST by
//! [`json_body`] up to [`MAX_REQUEST_BYTES`], or counted and dropped as it comes, so a request takes little memory. Whatever a peer does, it is
//! done with after [`CONNECTION_LIMIT`].

use std::time::Duration;

use axum::{
    Json, Router,
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncWrite};
use vmsgate_exchange::body::{MAX_REQUEST_BYTES, code};

/// Request line and headers together; also the size of the read buffer. 8 KiB is hyper's minimum.
const MAX_HEADER_BYTES: usize = 8 * 1024;
const MAX_HEADERS: usize = 32;
/// How long a peer may take to send its headers.
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// How long a whole exchange may take, however slowly the peer reads.
const CONNECTION_LIMIT: Duration = Duration::from_secs(30);

/// Serves one request on `io` and closes it. What goes wrong on one connection concerns its peer alone, so
/// nothing is returned.
pub async fn serve_connection<S>(io: S, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
    match tokio::time::timeout(CONNECTION_LIMIT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "HTTP connection failed"),
        Err(_) => tracing::debug!("HTTP connection cut: too slow"),
    }
}

/// Adds the JSON answers for unknown paths and wrong methods.
pub fn finish<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .fallback(|| async {
            HttpError::new(StatusCode::NOT_FOUND, "not-found", "there is nothing at this path")
        })
        .method_not_allowed_fallback(|| async {
            HttpError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "this path is not served with that method; the header Allow names the right one",
            )
        })
}

/// Reads the body of a POST. It must be said to be JSON: a page in a browser cannot say so to another site without
/// asking first, which is refused here.
pub async fn json_body<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, HttpError> {
    json_body_up_to(MAX_REQUEST_BYTES, headers, body).await
}

/// The same with a limit of its own.
pub async fn json_body_up_to<T: DeserializeOwned>(
    limit: usize,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, HttpError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next()).map(str::trim);
    if !media_type.is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json")) {
        let message = "send JSON, with the header `content-type: application/json`";
        return Err(HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", message));
    }
    let read = Limited::new(body, limit).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            let message = format!("the body of a request has at most {limit} bytes");
            HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
        } else {
            HttpError::new(StatusCode::BAD_REQUEST, "malformed", "the body did not arrive whole")
        }
    })?;
    serde_json::from_slice(&read.to_bytes()).map_err(|error| {
        let message = format!("the body is not the document that this path takes: {error}");
        HttpError::new(StatusCode::BAD_REQUEST, "malformed", message)
    })
}

/// An error as every HTTP client of the gateway sees it: `{"error":{"code":…,"message":…}}`.
#[derive(Debug, Clone)]
pub struct HttpError {
    status: StatusCode,
    /// When it may be asked again.
    retry_after: Option<Duration>,
    body: ErrorBody,
}

#[derive(Debug, Clone, Serialize)]
struct ErrorBody {
    error: ErrorText,
}

#[derive(Debug, Clone, Serialize)]
struct ErrorText {
    code: &'static str,
    message: String,
}

impl HttpError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let body = ErrorBody { error: ErrorText { code, message: message.into() } };
        Self { status, retry_after: None, body }
    }

    /// A client did something more often than it may; `what` is a participle.
    pub fn too_often(what: &str, wait: Duration) -> Self {
        let message = format!("{what} too often; try again in {} s", wait.as_secs());
        let retry_after = Some(wait);
        Self { retry_after, ..Self::new(StatusCode::TOO_MANY_REQUESTS, code::TOO_OFTEN, message) }
    }

    pub fn code(&self) -> &'static str {
        self.body.error.code
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let wait = self.retry_after.map(|wait| AppendHeaders([(header::RETRY_AFTER, wait.as_secs())]));
        (self.status, wait, Json(self.body)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    fn router() -> Router {
        finish(Router::new().route("/here", get(|| async { "x".repeat(64 * 1024) })))
    }

    /// Serves one end of a pipe; the other end is the peer.
    fn connect(pipe_bytes: usize) -> (DuplexStream, tokio::task::JoinHandle<()>) {
        let (peer, io) = tokio::io::duplex(pipe_bytes);
        (peer, tokio::spawn(serve_connection(io, router())))
    }

    async fn answer(request: &[u8]) -> String {
        let (mut peer, served) = connect(128 * 1024);
        peer.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).await.unwrap();
        served.await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn unknown_path_and_wrong_method_answer_json() {
        let missing = answer(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(missing.starts_with("HTTP/1.1 404 "), "{missing}");
        assert!(
            missing.ends_with(r#"{"error":{"code":"not-found","message":"there is nothing at this path"}}"#)
        );
        let wrong = answer(b"DELETE /here HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(wrong.starts_with("HTTP/1.1 405 "), "{wrong}");
        assert!(wrong.to_ascii_lowercase().contains("\r\nallow: get"), "{wrong}");
        assert!(wrong.contains(r#""code":"method-not-allowed""#), "{wrong}");
    }

    #[tokio::test]
    async fn whoever_asks_too_often_is_told_when_to_ask_again() {
        let busy = HttpError::too_often("asked", Duration::from_secs(7)).into_response();
        assert_eq!(busy.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(busy.headers()[header::RETRY_AFTER], "7");
        let body = busy.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(
            body,
            r#"{"error":{"code":"too-often","message":"asked too often; try again in 7 s"}}"#.as_bytes()
        );
        let other = HttpError::new(StatusCode::NOT_FOUND, "not-found", "").into_response();
        assert!(!other.headers().contains_key(header::RETRY_AFTER));
    }

    #[tokio::test]
    async fn a_connection_serves_one_request_and_closes() {
        let twice = b"GET /here HTTP/1.1\r\nHost: x\r\n\r\nGET /here HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(answer(twice).await.matches("HTTP/1.1 200").count(), 1);
    }

    #[tokio::test]
    async fn too_many_or_too_long_headers_are_refused() {
        let many = format!("GET /here HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS));
        assert!(answer(many.as_bytes()).await.starts_with("HTTP/1.1 431 "));
        let long = format!("GET /here HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(2 * MAX_HEADER_BYTES));
        assert!(answer(long.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    }

    #[tokio::test]
    async fn an_announced_body_is_not_waited_for() {
        let request = b"GET /here HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n";
        assert!(answer(request).await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_trickles_its_headers_is_cut() {
        let (mut peer, served) = connect(1024);
        let trickle = async {
            for byte in b"GET /here HTTP/1.1\r\nHost: never-to-end".iter().cycle() {
                if peer.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::time::timeout(2 * HEADER_LIMIT, trickle).await.expect("the connection is cut");
        served.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_sends_nothing_is_cut() {
        let (peer, served) = connect(1024);
        tokio::time::timeout(2 * HEADER_LIMIT, served).await.expect("the connection is cut").unwrap();
        drop(peer);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_reads_its_answer_is_cut() {
        let (mut peer, served) = connect(1024);
        peer.write_all(b"GET /here HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        tokio::time::timeout(2 * CONNECTION_LIMIT, served).await.expect("the connection is cut").unwrap();
    }

    #[tokio::test]
    async fn garbage_never_panics() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..500 {
            let mut bytes: Vec<u8> = (0..random.usize(1..400)).map(|_| random.u8(..)).collect();
            if random.bool() {
                bytes.splice(0..0, *b"GET /here HTTP/1.1\r\n");
            }
            let (mut peer, served) = connect(128 * 1024);
            let _ = peer.write_all(&bytes).await;
            drop(peer);
            served.await.unwrap();
        }
    }
}
