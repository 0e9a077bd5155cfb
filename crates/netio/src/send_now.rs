//! Sending without asking tokio first.
//!
//! tokio takes a fresh socket for not writable until the first turn of its driver says otherwise, so `try_send` right
//! after `connect` sends nothing: the first datagram of every flow would be lost.

use std::io;

use socket2::SockRef;
use tokio::net::UdpSocket;

/// Sends one datagram on a connected socket, or answers [`io::ErrorKind::WouldBlock`] when the system has no room for
/// it now.
pub fn send_now(socket: &UdpSocket, datagram: &[u8]) -> io::Result<usize> {
    SockRef::from(socket).send(datagram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_datagram_of_a_fresh_socket_is_sent() {
        let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.set_nonblocking(true).unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let sender = UdpSocket::from_std(sender).unwrap();
        assert_eq!(send_now(&sender, b"first").unwrap(), 5);
        let mut buffer = [0; 16];
        assert_eq!(receiver.recv(&mut buffer).await.unwrap(), 5);
    }
}
