//! Requests to the gateway's control service, through the tunnel.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use vmsgate_cli::human::printable;
use vmsgate_pump::Stream;

use crate::site::{Site, SiteError};
use crate::tunnel::{Connections, DialError};

/// Where the gateway serves its control interface, inside the tunnel only.
const PORT: u16 = 80;
/// For the whole exchange, connecting included.
const LIMIT: Duration = Duration::from_secs(10);
/// A thousand servers with a dozen names each fit.
const MAX_BODY_BYTES: usize = 1 << 20;
const MAX_MESSAGE_CHARS: usize = 300;

/// Why the gateway's answer did not come, or is of no use.
#[derive(Debug, Error)]
pub enum ControlError {
    #[error("the gateway's control service at {1} does not answer: {0}")]
    Dial(DialError, SocketAddr),
    #[error("the gateway did not answer within {} s", LIMIT.as_secs())]
    TimedOut,
    #[error("the gateway's answer broke off")]
    Http(#[source] hyper::Error),
    #[error("the gateway's answer is longer than {MAX_BODY_BYTES} bytes or broke off")]
    Body,
    #[error("the gateway answered {status}: {message}")]
    Refused { status: StatusCode, code: String, message: String },
    #[error("the gateway's answer is not the document that was asked for")]
    NotADocument(#[source] serde_json::Error),
    #[error(transparent)]
    Unsound(#[from] SiteError),
}

impl ControlError {
    /// The code of the gateway's error document, if it sent one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

/// The control service as one client reaches it.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    connections: Connections,
    /// The gateway's addresses in the tunnel.
    addresses: Vec<IpAddr>,
}

struct Question {
    method: Method,
    path: &'static str,
    body: Bytes,
}

impl Control {
    pub(crate) fn new(connections: Connections, addresses: Vec<IpAddr>) -> Self {
        Self { connections: connections.of_small_packets(), addresses }
    }

    /// `GET /v1/profile`: what this client may reach.
    pub(crate) async fn site(&self) -> Result<Site, ControlError> {
        let question = Question { method: Method::GET, path: "/v1/profile", body: Bytes::new() };
        let document = self.ask(question).await?;
        Ok(Site::new(document, Timestamp::now())?)
    }

    pub(crate) async fn post<A: DeserializeOwned>(
        &self,
        path: &'static str,
        body: &impl Serialize,
    ) -> Result<A, ControlError> {
        let body = serde_json::to_vec(body).map_err(ControlError::NotADocument)?.into();
        self.ask(Question { method: Method::POST, path, body }).await
    }

    async fn ask<A: DeserializeOwned>(&self, question: Question) -> Result<A, ControlError> {
        let answer = tokio::time::timeout(LIMIT, self.exchange(question)).await;
        let body = answer.unwrap_or(Err(ControlError::TimedOut))?;
        serde_json::from_slice(&body).map_err(ControlError::NotADocument)
    }

    async fn exchange(&self, question: Question) -> Result<Bytes, ControlError> {
        let (stream, gateway) = self.dial().await?;
        send(stream, gateway, question).await
    }

    /// A connection to the first of the gateway's addresses that answers, and which one that is.
    pub(crate) async fn dial(&self) -> Result<(Stream, SocketAddr), ControlError> {
        let mut last = ControlError::TimedOut;
        for address in &self.addresses {
            let gateway = SocketAddr::new(*address, PORT);
            match self.connections.dial(&[gateway]).await {
                Ok(stream) => return Ok((stream, gateway)),
                Err(error) => last = ControlError::Dial(error, gateway),
            }
        }
        Err(last)
    }
}

async fn send(stream: Stream, gateway: SocketAddr, question: Question) -> Result<Bytes, ControlError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(ControlError::Http)?;
    let exchange = async move {
        let Question { method, path, body } = question;
        let mut request = Request::new(Full::new(body));
        *request.uri_mut() = hyper::Uri::from_static(path);
        if method == Method::POST {
            let json = header::HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        *request.method_mut() = method;
        if let Ok(host) = host_of(gateway).parse() {
            request.headers_mut().insert(header::HOST, host);
        }
        let response = sender.send_request(request).await.map_err(ControlError::Http)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
        Ok::<_, ControlError>((status, body.map_err(|_| ControlError::Body)?.to_bytes()))
    };
    // The connection's own result says nothing that the exchange's does not.
    let (answer, _) = tokio::join!(exchange, connection);
    let (status, body) = answer?;
    if status == StatusCode::OK { Ok(body) } else { Err(refusal(status, &body)) }
}

/// How a request names the gateway, which has no other name in the tunnel.
pub(crate) fn host_of(gateway: SocketAddr) -> String {
    match gateway.ip() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

/// The gateway's error document, with its text made harmless and short.
pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> ControlError {
    #[derive(Deserialize)]
    struct Document {
        error: Text,
    }
    #[derive(Deserialize)]
    struct Text {
        #[serde(default)]
        code: String,
        message: String,
    }
    let (code, message) = serde_json::from_slice(body).map_or_else(
        |_| (String::new(), "it does not say why".to_owned()),
        |document: Document| (document.error.code, document.error.message),
    );
    let message = printable(&message).chars().take(MAX_MESSAGE_CHARS).collect();
    ControlError::Refused { status, code, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateways_reason_is_shown_harmlessly() {
        let message = |body: &[u8]| match refusal(StatusCode::FORBIDDEN, body) {
            ControlError::Refused { code, message, .. } => (code, message),
            other => panic!("{other}"),
        };
        let told = message(br#"{"error":{"code":"x","message":"no \u001b[2J role"}}"#);
        assert_eq!(told, ("x".to_owned(), "no \\u{1b}[2J role".to_owned()));
        assert_eq!(message(b"<html>").1, "it does not say why");
        let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "x".repeat(10_000));
        assert_eq!(message(long.as_bytes()).1.len(), MAX_MESSAGE_CHARS);
    }
}
