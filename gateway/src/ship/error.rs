//! Why a receiver is not being served.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hyper::StatusCode;
use vmsgate_audit::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    #[error("the audit log cannot be read or its cursor not be moved")]
    Store(#[from] StoreError),
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("no connection within {} s", .0.as_secs())]
    ConnectTimeout(Duration),
    #[error(
        "this host has no certificate authorities: install its package `ca-certificates`, or the site's own"
    )]
    NoAuthorities,
    #[error("TLS cannot be set up")]
    Tls(#[from] tokio_rustls::rustls::Error),
    #[error("`{0}` cannot be the name in a certificate")]
    CertificateName(String),
    #[error("cannot read the headers in {}", .path.display())]
    HeadersFile { path: PathBuf, source: io::Error },
    #[error("line {line} of {} is not a header like `Authorization: Bearer ...`", .path.display())]
    Header { path: PathBuf, line: usize },
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error("the receiver closed the connection")]
    Closed,
    #[error("the receiver took nothing for {} s", .0.as_secs())]
    Stalled(Duration),
    #[error("the HTTP exchange failed")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be written")]
    Request(#[from] hyper::http::Error),
    #[error("the receiver answered {status}{}", said(.text))]
    Refused { status: StatusCode, text: String, retry_after: Option<Duration> },
}

impl ShipError {
    /// How long the receiver itself asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The message with its causes.
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        vmsgate_cli::human::printable(&text)
    }
}

fn said(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}
