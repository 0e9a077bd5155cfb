//! Asks the running gateway through `control.sock` in its data directory.

use std::{io, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use vmsgate_cli::{CliError, OrFail, WithHint, human};
use vmsgate_keys::DataDir;

/// How long the gateway may take to answer; it gives up before that itself.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// Enough for a session each of 50,000 clients.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
const FAILED: &str = "the control socket gave no usable answer";

/// Sends one request, with a JSON document if the path takes one.
pub(super) async fn ask<T: DeserializeOwned>(
    data: &DataDir,
    method: Method,
    path: &str,
    document: Option<Vec<u8>>,
) -> Result<T, CliError> {
    let (status, body) = answer(data, method, path, document, ANSWER_LIMIT).await?;
    match status {
        StatusCode::OK => serde_json::from_slice(&body)
            .or_unexpected("the gateway's answer is not one that this program understands")
            .hint("use the `vmsgate` of the same version as the running gateway"),
        StatusCode::UNPROCESSABLE_ENTITY => Err(CliError::user(refusal(&body))
            .context("the gateway would refuse the file")
            .hint("variables of the gateway's own environment take the place of values of the file")),
        StatusCode::NOT_FOUND => Err(CliError::user("the running gateway cannot answer this")
            .hint("use the `vmsgate` of the same version as the running gateway")),
        _ => Err(CliError::unexpected(refusal(&body)).context("the gateway gave no answer")),
    }
}

/// The answer as it is, whatever its status, within `limit`.
pub(super) async fn answer(
    data: &DataDir,
    method: Method,
    path: &str,
    document: Option<Vec<u8>>,
    limit: Duration,
) -> Result<(StatusCode, Bytes), CliError> {
    let answer = tokio::time::timeout(limit, exchange(data, method, path, document));
    answer.await.map_err(|_| {
        let seconds = limit.as_secs();
        CliError::unexpected(format!("the gateway did not answer within {seconds} s"))
            .hint("look at its log; if it stays so, restart it")
    })?
}

async fn exchange(
    data: &DataDir,
    method: Method,
    path: &str,
    document: Option<Vec<u8>>,
) -> Result<(StatusCode, Bytes), CliError> {
    let stream =
        UnixStream::connect(data.control_socket()).await.map_err(|error| not_reached(data, error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.or_unexpected(FAILED)?;
    let request = Request::builder().method(method).uri(path).header("Host", "gateway");
    let request = match &document {
        Some(_) => request.header("Content-Type", "application/json"),
        None => request,
    };
    let request = request.body(Full::new(Bytes::from(document.unwrap_or_default())));
    let exchange = async {
        let response = sender.send_request(request.or_unexpected(FAILED)?).await.or_unexpected(FAILED)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| CliError::unexpected(error).context(FAILED))?.to_bytes();
        Ok::<_, CliError>((status, body))
    };
    // The connection ends with the exchange; its own error has been told there.
    let (answer, _) = tokio::join!(exchange, connection);
    answer
}

fn not_reached(data: &DataDir, error: io::Error) -> CliError {
    let data = data.path().display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => CliError::user(format!(
            "no gateway is running with the data directory `{data}`"
        ))
        .hint("start it with `vmsgate run`, or name the directory of the running one with `--data DIR`"),
        io::ErrorKind::PermissionDenied => CliError::user(error)
            .context(format!("cannot open the control socket in `{data}`"))
            .hint("run this as the gateway's own user"),
        _ => CliError::unexpected(error).context(format!("cannot open the control socket in `{data}`")),
    }
}

/// The message of an error answer, or the answer itself.
fn refusal(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let message = value.pointer("/error/message").and_then(serde_json::Value::as_str);
    human::printable(message.unwrap_or(&String::from_utf8_lossy(body)))
}
