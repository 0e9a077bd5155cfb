//! A socket in a folder that only this user can enter.

use std::env;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use tokio::net::{UnixListener, UnixStream};

use super::InstanceError;

/// What to do where there is no place for the socket.
pub const PLACE_HINT: &str = "set XDG_RUNTIME_DIR to a folder that is yours alone";
const ENDING: &str = "sock";

/// The socket of this process; dropping it removes the file.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Listener {
    pub fn claim(profile: &str) -> Result<Self, InstanceError> {
        let folder = prepare_folder()?;
        let path = path_of(profile);
        let unusable = |source| InstanceError::Unusable { path: path.clone(), source };
        // Asking and taking are one step for others that start now.
        let lock = File::open(&folder).map_err(unusable)?;
        lock.lock().map_err(unusable)?;
        if is_running(profile) {
            return Err(InstanceError::AlreadyUp(profile.to_owned()));
        }
        // Left behind by one that was killed.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(error)),
            _ => {}
        }
        let socket = UnixListener::bind(&path).map_err(unusable)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(unusable)?;
        let inode = fs::symlink_metadata(&path).map_err(unusable)?.ino();
        Ok(Self { socket, path, inode })
    }

    pub async fn accept(&mut self) -> io::Result<UnixStream> {
        Ok(self.socket.accept().await?.0)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

pub async fn connect(profile: &str) -> io::Result<UnixStream> {
    UnixStream::connect(path_of(profile)).await
}

/// Whether somebody answers for the profile.
pub fn is_running(profile: &str) -> bool {
    std::os::unix::net::UnixStream::connect(path_of(profile)).is_ok()
}

/// The profiles that somebody answers for.
pub fn running() -> Vec<String> {
    let entries = fs::read_dir(folder()).into_iter().flatten().flatten().map(|entry| entry.path());
    let sockets = entries.filter(|path| path.extension().is_some_and(|ending| ending == ENDING));
    sockets.map(|path| super::name_of(&path)).filter(|profile| is_running(profile)).collect()
}

fn path_of(profile: &str) -> PathBuf {
    folder().join(format!("{profile}.{ENDING}"))
}

/// `$XDG_RUNTIME_DIR/vmsgate-shim`, or a folder of the user's own among the temporary files. `sudo` takes the variable
/// away, and a shim started by it serves the user all the same.
fn folder() -> PathBuf {
    let user = rustix::process::getuid().as_raw();
    let given = env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let usual = || {
        let usual = PathBuf::from(format!("/run/user/{user}"));
        usual.metadata().is_ok_and(|found| found.uid() == user).then_some(usual)
    };
    match given.or_else(usual) {
        Some(runtime) => runtime.join("vmsgate-shim"),
        None => env::temp_dir().join(format!("vmsgate-shim-{user}")),
    }
}

/// Makes the folder, or makes sure that the one that is there is ours: among temporary files anyone may have made it.
fn prepare_folder() -> Result<PathBuf, InstanceError> {
    let folder = folder();
    let unusable = |source| InstanceError::Unusable { path: folder.clone(), source };
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unusable(error)),
        _ => {}
    }
    let found = fs::symlink_metadata(&folder).map_err(unusable)?;
    let ours =
        found.is_dir() && found.uid() == rustix::process::getuid().as_raw() && found.mode() & 0o077 == 0;
    if ours { Ok(folder) } else { Err(InstanceError::NotPrivate(folder)) }
}
