//! How much of what was written to a TCP connection has arrived.

use std::{io, os::fd::AsRawFd};

/// Bytes that were written and that the other end's kernel has not acknowledged yet.
///
/// A write that succeeded has only reached this host's send buffer. When the connection breaks, what is left there is
/// lost, and this tells how much that would be.
#[expect(unsafe_code, reason = "no safe crate offers this request (tcp(7), SIOCOUTQ)")]
pub fn unacknowledged(connection: &impl AsRawFd) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open as long as `connection` is borrowed, and the kernel writes one int to `bytes`.
    let result = unsafe { libc::ioctl(connection.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn bytes_count_until_the_other_end_has_them() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        assert_eq!(unacknowledged(&sender).unwrap(), 0);
        // More than both buffers hold together, so that some must wait at the sender.
        sender.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(bytes) = sender.write(&[0; 65_536]) {
            written += bytes;
        }
        assert!(unacknowledged(&sender).unwrap() > 0);
        let mut everything = vec![0; written];
        receiver.read_exact(&mut everything).unwrap();
        while unacknowledged(&sender).unwrap() > 0 {
            std::thread::yield_now();
        }
    }
}
