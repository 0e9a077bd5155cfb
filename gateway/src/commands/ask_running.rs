//! A question to the gateway that runs on a data directory, through its control socket.

use std::{io, time::Duration};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use vmsgate_cli::{CliError, OrFail};
use vmsgate_keys::DataDir;

/// How long the gateway may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Enough for a session each of 50,000 clients.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// The answer to a GET of `path`.
///
/// # Errors
/// When no gateway runs there, it may not be asked, or it does not answer in time.
pub async fn ask_running(data: &DataDir, path: &str) -> Result<(StatusCode, Bytes), CliError> {
    let answer = tokio::time::timeout(ANSWER_LIMIT, ask(data, path));
    answer.await.map_err(|_| {
        let seconds = ANSWER_LIMIT.as_secs();
        CliError::unexpected(format!("the gateway did not answer within {seconds} s"))
            .hint("look at its log; if it stays so, restart it")
    })?
}

async fn ask(data: &DataDir, path: &str) -> Result<(StatusCode, Bytes), CliError> {
    let stream =
        UnixStream::connect(data.control_socket()).await.map_err(|error| not_reached(data, error))?;
    let failed = "the control socket gave no usable answer";
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.or_unexpected(failed)?;
    let request = Request::get(path).header("Host", "gateway").body(Empty::<Bytes>::new());
    let exchange = async {
        let response = sender.send_request(request.or_unexpected(failed)?).await.or_unexpected(failed)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| CliError::unexpected(error).context(failed))?.to_bytes();
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
