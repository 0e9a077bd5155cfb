//! A named pipe that only the user who made it can reach, from this machine alone.

use std::io;
use std::ptr::null_mut;
use std::time::Duration;

use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions};
use windows_sys::Win32::Foundation::ERROR_PIPE_BUSY;
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES};

use crate::user::{owner_sid, user_sid};
use crate::{Lent, check, wide};

/// Between two attempts at a pipe whose end is just being taken: Windows tells nobody when the next is there.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// The listening side of a channel. Its name is free again when it and what it accepted are dropped.
#[derive(Debug)]
pub struct Channel {
    name: String,
    sid: String,
    /// The end that the next who connects gets.
    next: NamedPipeServer,
}

impl Channel {
    /// Takes the channel of this user with this name. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] when somebody has it, or when Windows cannot make it.
    pub fn open(name: &str) -> io::Result<Self> {
        let sid = user_sid()?;
        let name = path(&sid, name);
        let next = make(&name, &sid, true)?;
        Ok(Self { name, sid, next })
    }

    /// Waits for somebody to connect. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When Windows cannot make another end of the pipe.
    pub async fn accept(&mut self) -> io::Result<NamedPipeServer> {
        self.next.connect().await?;
        let next = make(&self.name, &self.sid, false)?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}

/// Connects to the channel of this user with this name.
///
/// # Errors
/// When nobody has it, or somebody else took the name.
pub async fn connect(name: &str) -> io::Result<NamedPipeClient> {
    let sid = user_sid()?;
    let name = path(&sid, name);
    let client = loop {
        match ClientOptions::new().open(&name) {
            Err(error) if is_busy(&error) => tokio::time::sleep(BUSY_PAUSE).await,
            opened => break opened?,
        }
    };
    if owner_sid(&client)? == sid { Ok(client) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// Whether somebody has the channel of this user with this name.
#[must_use]
pub fn is_open(name: &str) -> bool {
    let Ok(sid) = user_sid() else { return false };
    match std::fs::File::options().read(true).write(true).open(path(&sid, name)) {
        Ok(pipe) => owner_sid(&pipe).is_ok_and(|owner| owner == sid),
        Err(error) => is_busy(&error),
    }
}

fn path(sid: &str, name: &str) -> String {
    format!(r"\\.\pipe\{name}-{sid}")
}

fn is_busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ERROR_PIPE_BUSY.cast_signed())
}

#[expect(unsafe_code, reason = "calls of the Win32 interface")]
fn make(name: &str, sid: &str, first: bool) -> io::Result<NamedPipeServer> {
    // Owned by the user, open to the user and nobody else, whatever would be inherited.
    let text = wide(format!("O:{sid}D:P(A;;GA;;;{sid})"));
    let mut descriptor: PSECURITY_DESCRIPTOR = null_mut();
    // SAFETY: `text` ends with a zero and outlives the call, which fills `descriptor` or fails.
    check(unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            text.as_ptr(),
            SDDL_REVISION_1,
            &raw mut descriptor,
            null_mut(),
        )
    })?;
    let descriptor = Lent(descriptor);
    let mut attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor.0,
        bInheritHandle: 0,
    };
    let mut options = ServerOptions::new();
    options.first_pipe_instance(first);
    // SAFETY: `attributes` is whole, and it and the descriptor outlive the call.
    unsafe { options.create_with_security_attributes_raw(name, (&raw mut attributes).cast()) }
}
