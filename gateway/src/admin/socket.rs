//! The control socket: how `vmsgate status` asks the gateway that runs on the same data directory.
//!
//! Access is the file's mode, 0600, and it holds from the first moment: the socket is bound under a
//! temporary name, closed to others, and only then renamed into place. A socket left behind by a
//! gateway that died is replaced; one that still answers belongs to a running gateway and is a reason
//! not to start. The lock on the data directory makes the question and the replacement one step, and
//! holds as long as the gateway runs.

use std::{
    fs::{self, File, Permissions, TryLockError},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{Json, Router, extract::State, routing::get};
use tokio::net::{UnixListener, UnixStream};
use vmsgate_keys::DataDir;

use crate::{
    admin::{
        probes,
        status::{SCHEMA_VERSION, StatusClient, StatusReport},
    },
    health::Health,
    http::{self, HttpError},
};

/// A bound control socket; dropping it removes the file.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file that is ours: never remove a successor's.
    identity: (u64, u64),
    _lock: File,
}

/// Why the control socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("another gateway is running with the data directory `{}`", .0.display())]
    Running(PathBuf),
    #[error("`{}` exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    #[error("cannot open the data directory `{}`", path.display())]
    DataDirectory { path: PathBuf, source: io::Error },
    #[error("cannot create the control socket `{}`", path.display())]
    Create { path: PathBuf, source: io::Error },
}

impl ControlSocket {
    /// Takes the data directory for this process and binds the socket in it. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`SocketError::Running`] when another gateway has the directory, the others when the file system
    /// refuses.
    pub async fn bind(data: &DataDir) -> Result<Self, SocketError> {
        let lock = lock(data.path())?;
        let path = data.control_socket();
        clear_stale(data.path(), &path).await?;
        let create = |source| SocketError::Create { path: path.clone(), source };
        let temporary = path.with_added_extension(std::process::id().to_string());
        let listener = UnixListener::bind(&temporary).map_err(create)?;
        let publish = || {
            fs::set_permissions(&temporary, Permissions::from_mode(0o600))?;
            fs::rename(&temporary, &path)?;
            fs::symlink_metadata(&path)
        };
        let metadata = publish().map_err(|error| {
            let _ = fs::remove_file(&temporary);
            create(error)
        })?;
        Ok(Self { listener, identity: (metadata.dev(), metadata.ino()), path, _lock: lock })
    }

    /// Answers requests until the task is dropped.
    pub async fn serve(self, status: StatusClient, health: Health) {
        let router = router(status, health);
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(http::serve_connection(stream, router.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "control socket cannot accept a connection");
                    // Out of file descriptors: the condition lasts, so do not spin on it.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Takes the advisory lock on the directory itself, so that no extra file is needed.
fn lock(data: &Path) -> Result<File, SocketError> {
    let failed = |source| SocketError::DataDirectory { path: data.to_owned(), source };
    let directory = File::open(data).map_err(failed)?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(SocketError::Running(data.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Refuses a path that is in use or not ours to replace. What passes is replaced by the rename.
async fn clear_stale(data: &Path, path: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(file) if !file.file_type().is_socket() => Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) => match UnixStream::connect(path).await {
            Ok(_) => Err(SocketError::Running(data.to_owned())),
            Err(_) => Ok(()),
        },
    }
}

fn router(status: StatusClient, health: Health) -> Router {
    let reports = Router::new().route("/v1/status", get(read_status)).with_state(status);
    http::finish(reports.merge(probes::routes(health)))
}

async fn read_status(State(client): State<StatusClient>) -> Result<Json<StatusReport>, HttpError> {
    let status = client.status().await?;
    Ok(Json(StatusReport { schema_version: SCHEMA_VERSION, status }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::status::{example, status_channel};
    use std::time::Instant;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A data directory that goes away with the first of the two.
    fn data() -> (tempfile::TempDir, DataDir) {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::new(directory.path());
        (directory, data)
    }

    async fn ask(path: &Path) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: gateway\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_socket_is_the_owners_alone_and_goes_with_its_owner() {
        let (_directory, data) = data();
        let socket = ControlSocket::bind(&data).await.unwrap();
        let path = data.control_socket();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1, "no temporary file stays");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced() {
        let (_directory, data) = data();
        let path = data.control_socket();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let _socket = ControlSocket::bind(&data).await.unwrap();
        assert!(UnixStream::connect(&path).await.is_ok());
    }

    #[tokio::test]
    async fn a_socket_that_answers_is_left_alone() {
        let (_directory, data) = data();
        let path = data.control_socket();
        let _stranger = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let error = ControlSocket::bind(&data).await.unwrap_err();
        assert!(matches!(error, SocketError::Running(_)), "{error}");
        assert!(UnixStream::connect(&path).await.is_ok());
    }

    #[tokio::test]
    async fn one_data_directory_has_one_gateway() {
        let (_directory, data) = data();
        let _first = ControlSocket::bind(&data).await.unwrap();
        let error = ControlSocket::bind(&data).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("another gateway is running with the data directory `{}`", data.path().display())
        );
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_not_replaced() {
        let (_directory, data) = data();
        let path = data.control_socket();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(ControlSocket::bind(&data).await, Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_successors_socket_is_not_removed() {
        let (_directory, data) = data();
        let path = data.control_socket();
        let socket = ControlSocket::bind(&data).await.unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "somebody else's").unwrap();
        drop(socket);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn status_is_the_run_loops_answer_or_says_why_not() {
        let (_directory, data) = data();
        let socket = ControlSocket::bind(&data).await.unwrap();
        let (client, mut requests) = status_channel();
        let server = tokio::spawn(socket.serve(client, Health::new(Instant::now(), 1)));
        let run_loop = async {
            let _ = requests.recv().await.unwrap().send(example());
        };
        let path = data.control_socket();
        let (answer, ()) = tokio::join!(ask(&path), run_loop);
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let expected = StatusReport { schema_version: SCHEMA_VERSION, status: example() };
        assert_eq!(serde_json::from_str::<StatusReport>(body).unwrap(), expected);
        drop(requests);
        let answer = ask(&path).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(
            answer.ends_with(r#"{"error":{"code":"stopping","message":"the gateway is shutting down"}}"#)
        );
        server.abort();
    }
}
