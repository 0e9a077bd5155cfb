//! Making a TUN interface. It lives as long as one of its queues is open.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use libc::{c_int, c_short, c_uint};
use thiserror::Error;

use super::batch::UdpTrains;
use super::queue::TunQueue;

const CONTROL: &str = "/dev/net/tun";

/// Kernel's `IFNAMSIZ`: a name and its terminating zero.
const NAME_BYTES: usize = 16;

const TCP_OFFLOADS: c_uint = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
const UDP_OFFLOADS: c_uint = libc::TUN_F_USO4 | libc::TUN_F_USO6;

/// Why there is no TUN interface.
#[derive(Debug, Error)]
pub enum TunError {
    #[error("`{name}` cannot be the name of a network interface")]
    BadName { name: String },
    #[error("this system has no TUN interfaces: {CONTROL} is missing")]
    Unavailable { source: io::Error },
    #[error("this process may not make the TUN interface `{name}`")]
    Forbidden { name: String, source: io::Error },
    #[error("another program has made an interface `{name}`")]
    NameInUse { name: String },
    #[error("cannot make queue {queue} of the TUN interface `{name}`")]
    Other { name: String, queue: usize, source: io::Error },
}

impl TunError {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::BadName { .. } => "use 1 to 15 letters, digits, `-` and `_`",
            Self::Unavailable { .. } => {
                "load the kernel module `tun`; a container also needs the device (`--device /dev/net/tun`)"
            }
            Self::Forbidden { .. } => {
                "give it the capability NET_ADMIN (systemd: `AmbientCapabilities=CAP_NET_ADMIN`, containers: \
                 `--cap-add NET_ADMIN`) and access to /dev/net/tun"
            }
            Self::NameInUse { .. } => "end that program, or choose another name",
            Self::Other { .. } => {
                "the kernel must have TUN with `IFF_VNET_HDR`, and takes at most 256 queues"
            }
        }
    }
}

/// A new TUN interface: without addresses, and down.
#[derive(Debug)]
pub struct TunDevice {
    /// As the kernel gave it: a `%d` in the name asked for has become a number.
    pub name: String,
    /// One for each worker. The interface vanishes with the last of them.
    pub queues: Vec<TunQueueFd>,
}

/// A queue that no runtime waits for yet, to be moved to its thread.
#[derive(Debug)]
pub struct TunQueueFd {
    file: File,
    udp: UdpTrains,
}

impl TunDevice {
    /// Makes the interface `name` with as many queues as asked for, at least one.
    pub fn create(name: &str, queues: usize) -> Result<Self, TunError> {
        let mut request = Request::named(name).ok_or_else(|| TunError::BadName { name: name.to_owned() })?;
        // A single queue spares the kernel the choice among them.
        let several = if queues > 1 { libc::IFF_MULTI_QUEUE } else { 0 };
        let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR | several;

        // The first must not join an interface that somebody else has made.
        let first = open(&mut request, flags | libc::IFF_TUN_EXCL).map_err(|e| classify(name, 1, e))?;
        let name = request.name();
        let mut opened = vec![first];
        for queue in 2..=queues {
            opened.push(open(&mut request, flags).map_err(|e| classify(&name, queue, e))?);
        }
        Ok(Self { name, queues: opened })
    }
}

impl TunQueueFd {
    /// Hands the queue to the tokio runtime within which this is called.
    pub fn into_async(self) -> io::Result<TunQueue> {
        TunQueue::new(self.file, self.udp)
    }
}

/// `struct ifreq` as `TUNSETIFF` uses it.
#[repr(C)]
struct Request {
    name: [u8; NAME_BYTES],
    flags: c_short,
    unused: [u8; 22],
}

const _: () = assert!(size_of::<Request>() == size_of::<libc::ifreq>());

impl Request {
    fn named(name: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
        if name.is_empty() || name == "." || name == ".." || !name.bytes().all(allowed) {
            return None;
        }
        let mut bytes = [0; NAME_BYTES];
        bytes.get_mut(..NAME_BYTES - 1)?.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Some(Self { name: bytes, flags: 0, unused: [0; 22] })
    }

    fn name(&self) -> String {
        let name = self.name.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }
}

fn open(request: &mut Request, flags: c_int) -> io::Result<TunQueueFd> {
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(CONTROL)?;
    // All flags are bits of the 16 that the kernel reads.
    request.flags = flags as c_short;
    set_interface(&file, request)?;
    let udp = match set_offload(&file, TCP_OFFLOADS | UDP_OFFLOADS) {
        Ok(()) => UdpTrains::Taken,
        Err(_) => {
            set_offload(&file, TCP_OFFLOADS)?;
            UdpTrains::Refused
        }
    };
    Ok(TunQueueFd { file, udp })
}

#[expect(unsafe_code, reason = "ioctl")]
fn set_interface(file: &File, request: &mut Request) -> io::Result<()> {
    // SAFETY: the descriptor is open, and TUNSETIFF reads and writes one `struct ifreq`, whose size `Request` has.
    check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, std::ptr::from_mut(request)) })
}

#[expect(unsafe_code, reason = "ioctl")]
fn set_offload(file: &File, offloads: c_uint) -> io::Result<()> {
    // SAFETY: the descriptor is open, and TUNSETOFFLOAD takes its argument by value.
    check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offloads)) })
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn classify(name: &str, queue: usize, source: io::Error) -> TunError {
    let name = name.to_owned();
    match source.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => TunError::Unavailable { source },
        Some(libc::EPERM | libc::EACCES) => TunError::Forbidden { name, source },
        Some(libc::EBUSY | libc::EEXIST) => TunError::NameInUse { name },
        _ => TunError::Other { name, queue, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_interface_can_have_are_refused_before_the_kernel_sees_them() {
        for name in ["", ".", "..", "a b", "a/b", "a:1", "a\0", "sixteen-letters-", "zwölf"] {
            assert!(matches!(TunDevice::create(name, 1), Err(TunError::BadName { .. })), "{name:?}");
        }
        assert_eq!(Request::named("fifteen-letters").map(|r| r.name()).as_deref(), Some("fifteen-letters"));
    }
}
