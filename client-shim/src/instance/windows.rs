//! A named pipe that only this user can reach, and beside it an empty file, because pipes cannot be listed everywhere.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use tokio::net::windows::named_pipe::{NamedPipeClient, NamedPipeServer};
use vmsgate_windows::Channel;

use super::InstanceError;

/// What to do where there is no place for the channel.
pub const PLACE_HINT: &str = "is the folder that %LOCALAPPDATA% names there, and yours?";
const ENDING: &str = "pipe";

/// The pipe of this process; dropping it removes the file.
#[derive(Debug)]
pub struct Listener {
    pipe: Channel,
    file: PathBuf,
}

impl Listener {
    pub fn claim(profile: &str) -> Result<Self, InstanceError> {
        let folder = folder();
        let file = folder.join(format!("{profile}.{ENDING}"));
        let unusable = |source| InstanceError::Unusable { path: file.clone(), source };
        fs::create_dir_all(&folder).map_err(unusable)?;
        // Wine lets several processes make the first end of one pipe; Windows, where two start at once, only one.
        if is_running(profile) {
            return Err(InstanceError::AlreadyUp(profile.to_owned()));
        }
        let pipe = match Channel::open(&channel(profile)) {
            Err(_) if is_running(profile) => return Err(InstanceError::AlreadyUp(profile.to_owned())),
            opened => opened.map_err(unusable)?,
        };
        File::create(&file).map_err(unusable)?;
        Ok(Self { pipe, file })
    }

    pub async fn accept(&mut self) -> io::Result<NamedPipeServer> {
        self.pipe.accept().await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

pub async fn connect(profile: &str) -> io::Result<NamedPipeClient> {
    vmsgate_windows::connect(&channel(profile)).await
}

/// Whether somebody answers for the profile.
pub fn is_running(profile: &str) -> bool {
    vmsgate_windows::is_open(&channel(profile))
}

/// The profiles that somebody answers for.
pub fn running() -> Vec<String> {
    let entries = fs::read_dir(folder()).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = entries.filter(|path| path.extension().is_some_and(|ending| ending == ENDING));
    files.map(|path| super::name_of(&path)).filter(|profile| is_running(profile)).collect()
}

fn channel(profile: &str) -> String {
    format!("vmsgate-shim-{profile}")
}

fn folder() -> PathBuf {
    let local = env::var_os("LOCALAPPDATA").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    local.unwrap_or_else(env::temp_dir).join("Vmsgate").join("running")
}
