//! `GET /v1/profile`: asks the gateway, through the tunnel, what this client may reach.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde::Deserialize;
use thiserror::Error;
use vmsgate_cli::human::printable;
use vmsgate_pump::Stream;

use crate::site::{Site, SiteError};
use crate::tunnel::{Connections, DialError};

/// Where the gateway serves its control interface, inside the tunnel only.
const PORT: u16 = 80;
const PATH: &str = "/v1/profile";
/// For the whole exchange, connecting included.
const LIMIT: Duration = Duration::from_secs(10);
/// A thousand servers with a dozen names each fit.
const MAX_BODY_BYTES: usize = 1 << 20;
const MAX_MESSAGE_CHARS: usize = 300;

/// Why the gateway's answer did not come, or is of no use.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error("the gateway's control service at {1} does not answer: {0}")]
    Dial(DialError, SocketAddr),
    #[error("the gateway did not answer within {} s", LIMIT.as_secs())]
    TimedOut,
    #[error("the gateway's answer broke off")]
    Http(#[source] hyper::Error),
    #[error("the gateway's answer is longer than {MAX_BODY_BYTES} bytes or broke off")]
    Body,
    #[error("the gateway answered {0}: {1}")]
    Refused(StatusCode, String),
    #[error("the gateway's answer is no profile document")]
    NotADocument(#[source] serde_json::Error),
    #[error(transparent)]
    Unsound(#[from] SiteError),
}

/// Asks the first of the gateway's `addresses` that answers.
pub(crate) async fn fetch(connections: &Connections, addresses: &[IpAddr]) -> Result<Site, FetchError> {
    tokio::time::timeout(LIMIT, exchange(connections, addresses)).await.unwrap_or(Err(FetchError::TimedOut))
}

async fn exchange(connections: &Connections, addresses: &[IpAddr]) -> Result<Site, FetchError> {
    let mut last = FetchError::TimedOut;
    for address in addresses {
        let gateway = SocketAddr::new(*address, PORT);
        match connections.dial(&[gateway]).await {
            Ok(stream) => return ask(stream, gateway).await,
            Err(error) => last = FetchError::Dial(error, gateway),
        }
    }
    Err(last)
}

async fn ask(stream: Stream, gateway: SocketAddr) -> Result<Site, FetchError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(FetchError::Http)?;
    let host = match gateway.ip() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    let exchange = async move {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = hyper::Uri::from_static(PATH);
        if let Ok(host) = host.parse() {
            request.headers_mut().insert(header::HOST, host);
        }
        let response = sender.send_request(request).await.map_err(FetchError::Http)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
        Ok::<_, FetchError>((status, body.map_err(|_| FetchError::Body)?.to_bytes()))
    };
    // The connection's own result says nothing that the exchange's does not.
    let (answer, _) = tokio::join!(exchange, connection);
    let (status, body) = answer?;
    if status != StatusCode::OK {
        return Err(FetchError::Refused(status, message(&body)));
    }
    let document = serde_json::from_slice(&body).map_err(FetchError::NotADocument)?;
    Ok(Site::new(document, Timestamp::now())?)
}

/// The text of the gateway's error document, harmless and short.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Document {
        error: Text,
    }
    #[derive(Deserialize)]
    struct Text {
        message: String,
    }
    let text = serde_json::from_slice(body)
        .map_or_else(|_| "it does not say why".to_owned(), |document: Document| document.error.message);
    printable(&text).chars().take(MAX_MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateways_reason_is_shown_harmlessly() {
        assert_eq!(message(br#"{"error":{"code":"x","message":"no \u001b[2J role"}}"#), "no \\u{1b}[2J role");
        assert_eq!(message(b"<html>"), "it does not say why");
        let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "x".repeat(10_000));
        assert_eq!(message(long.as_bytes()).len(), MAX_MESSAGE_CHARS);
    }
}
