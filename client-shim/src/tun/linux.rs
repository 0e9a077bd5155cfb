//! Linux: a TUN interface, made while this process has the rights for it, and the process that keeps them.

mod helper;
mod resolver;
mod routes;

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ipnet::IpNet;
use rustix::process::geteuid;
use thiserror::Error;
use vmsgate_netio::{TunDevice, TunError, TunQueueFd};
use vmsgate_netsetup::{
    CapabilityError, SetupError, become_user, bring_up, drop_capabilities, has_ipv6, has_net_admin,
};

use super::keeper::Parts;
use crate::profile::Profile;
use crate::tunnel::Device;

pub use helper::{HelperError, keep_routes};
pub(super) use routes::Routes;

/// The kernel puts the next free number in the place of `%d`.
const NAME: &str = "vmsgate%d";
const DEVICE: &str = "/dev/net/tun";
/// This program, whatever has happened to its file since.
const PROGRAM: &str = "/proc/self/exe";
/// The subcommand that [`keep_routes`] is.
const HELPER: &str = "keep-routes";

/// Why there is no interface.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("--mode tun needs {}", .0.join(" and "))]
    Missing(Vec<&'static str>),
    #[error(transparent)]
    Tun(#[from] TunError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("the profile has IPv6 tunnel addresses alone, and IPv6 is off on this machine")]
    NoFamily,
    #[error("cannot start the process that keeps the routes")]
    Helper(#[source] io::Error),
    #[error(transparent)]
    Capability(#[from] CapabilityError),
}

impl OpenError {
    /// What the user can do; `command` is how the program was called.
    #[must_use]
    pub fn hint(&self, command: &str) -> String {
        match self {
            Self::Missing(_) | Self::Tun(TunError::Forbidden { .. }) | Self::Setup(SetupError::MissingCapability) => {
                format!(
                    "run `sudo {command}`, or once `sudo setcap cap_net_admin+ep $(command -v vmsgate-shim)`; in a \
                     container `--cap-add NET_ADMIN --device {DEVICE}`; --mode loopback and --mode socks need nothing"
                )
            }
            Self::Tun(TunError::NameInUse { .. }) => "leave --interface out, or choose another name".to_owned(),
            Self::Tun(error) => error.hint().to_owned(),
            Self::NoFamily => {
                "switch IPv6 on (`sysctl net.ipv6.conf.default.disable_ipv6=0`), or ask your administrator for a \
                 profile with an IPv4 address"
                    .to_owned()
            }
            Self::Capability(error) => error.hint().to_owned(),
            Self::Setup(_) | Self::Helper(_) => {
                "see the kernel's log (`dmesg`); --mode loopback does without an interface".to_owned()
            }
        }
    }
}

/// The interface, and the process that keeps its routes. Both end with this process, however it ends.
#[derive(Debug)]
pub struct Adapter {
    /// What the interface is called.
    pub name: String,
    /// Of the tunnel, those whose family this machine has.
    pub addresses: Vec<IpAddr>,
    pub mtu: u16,
    queue: TunQueueFd,
    helper: Helper,
}

/// The process that keeps the routes. It ends when our end of the socket is closed.
#[derive(Debug)]
struct Helper {
    child: Child,
    socket: Option<UnixStream>,
}

impl Adapter {
    /// Makes the interface, starts the process that keeps the routes, and gives up all rights for good; run by root,
    /// it becomes the user whose profile it is. To be called before there is another thread.
    ///
    /// # Errors
    /// When something that is needed is missing, or the kernel refuses. Nothing is left behind.
    pub fn open(profile: &Profile, interface: Option<&str>) -> Result<Self, OpenError> {
        check()?;
        let device = TunDevice::create(interface.unwrap_or(NAME), 1)?;
        let name = device.name;
        let usable = |address: &IpAddr| address.is_ipv4() || has_ipv6(&name);
        let addresses: Vec<IpAddr> = profile.addresses.iter().copied().filter(usable).collect();
        if addresses.is_empty() {
            return Err(OpenError::NoFamily);
        }
        bring_up(&name, profile.mtu.into(), addresses.iter().copied().map(IpNet::from).collect())?;
        let helper = Helper::start(&name).map_err(OpenError::Helper)?;
        become_owner(profile)?;
        drop_capabilities()?;
        let queue = device.queues.into_iter().next().ok_or(OpenError::Missing(vec![DEVICE]))?;
        Ok(Self { name, addresses, mtu: profile.mtu, queue, helper })
    }

    /// Takes it over within a tokio runtime.
    pub(super) fn into_parts(self) -> io::Result<Parts> {
        let Self { name, addresses, mtu, queue, helper } = self;
        let device = Device::new(queue.into_async()?);
        Ok(Parts { name, addresses, mtu, device, routes: Routes::new(helper)? })
    }
}

impl Helper {
    fn start(interface: &str) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let child = Command::new(PROGRAM)
            .args([HELPER, interface])
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs.try_clone()?)))
            .stdout(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            // Ctrl-C is for us; it ends by itself after us.
            .process_group(0)
            .env_clear()
            .spawn()?;
        Ok(Self { child, socket: Some(ours) })
    }

    /// Wishes go in, outcomes come out, a line each.
    fn take_socket(&mut self) -> Option<UnixStream> {
        self.socket.take()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.socket = None;
        let _ = self.child.wait();
    }
}

/// Everything that is missing is named at once.
fn check() -> Result<(), OpenError> {
    let mut missing = Vec::new();
    if !has_net_admin() {
        missing.push("the right to configure the network (CAP_NET_ADMIN)");
    }
    if !Path::new(DEVICE).exists() {
        missing.push("the device /dev/net/tun");
    }
    if missing.is_empty() { Ok(()) } else { Err(OpenError::Missing(missing)) }
}

/// Without the rights of root, root may not even read other people's files, and the profile is rewritten with each new
/// key.
fn become_owner(profile: &Profile) -> Result<(), OpenError> {
    let Some(found) = profile.file.as_ref().and_then(|file| file.metadata().ok()) else { return Ok(()) };
    if geteuid().is_root() && found.uid() != 0 {
        become_user(found.uid(), found.gid())?;
    }
    Ok(())
}
