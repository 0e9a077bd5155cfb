//! Questions to the kernel and its answers.
//!
//! A netlink socket carries datagrams of one or more messages. The kernel works through a datagram inside the call
//! that sends it, and then has its answers ready: for each message an error, an acknowledgement (error 0), or, for a
//! dump, many messages and an end mark. All share the sequence number of the message that they answer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_REQUEST, NetlinkBuffer, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, recv, send,
    socket_with,
};

/// The kernel cuts a dump into datagrams of at most 32 KiB (`netlink_dump` in af_netlink.c).
const RECEIVE_BYTES: usize = 64 << 10;
/// Message types below are netlink's own (`NLMSG_MIN_TYPE`).
const FIRST_INNER_TYPE: u16 = 16;
/// Answers are there at once; this only turns a kernel bug into an error.
const PATIENCE: Duration = Duration::from_secs(5);

/// The kernel's address.
const KERNEL: SocketAddrNetlink = SocketAddrNetlink::new(0, 0);

/// A socket connected to one part of the kernel.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    next_sequence: u32,
}

impl Netlink {
    /// Interfaces, addresses and routes.
    pub(crate) fn route() -> io::Result<Self> {
        Self::open(None)
    }

    /// Packet filters and address translation.
    pub(crate) fn netfilter() -> io::Result<Self> {
        Self::open(Some(NETFILTER))
    }

    /// No protocol is `NETLINK_ROUTE`, whose number is 0.
    fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        // From here on the socket takes nothing from other processes.
        connect(&socket, &KERNEL)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket, next_sequence: 1 })
    }

    /// Sends one message and gives what the kernel tells in return to `each`.
    ///
    /// `flags` are in addition to those of every request.
    pub(crate) fn request<M>(&mut self, message: M, flags: u16, each: impl FnMut(M)) -> io::Result<()>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        self.exchange(vec![(message, flags | NLM_F_ACK)], each)
    }

    /// Sends the messages in one datagram and waits until the kernel has answered each that carries `NLM_F_ACK`.
    /// The first error ends it.
    pub(crate) fn exchange<M>(&mut self, messages: Vec<(M, u16)>, mut each: impl FnMut(M)) -> io::Result<()>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        let first = self.next_sequence;
        let mut unanswered = messages.iter().filter(|(_, flags)| flags & NLM_F_ACK != 0).count();
        let datagram = self.datagram(messages);
        retry_on_intr(|| send(&self.socket, &datagram, SendFlags::empty()))?;
        let mut buffer = vec![0; RECEIVE_BYTES];
        while unanswered > 0 {
            let (length, _) =
                retry_on_intr(|| recv(&self.socket, buffer.as_mut_slice(), RecvFlags::empty()))?;
            let mut rest = buffer.get(..length).unwrap_or_default();
            while !rest.is_empty() {
                let (answer, next) = split(rest)?;
                rest = next;
                // An earlier exchange may have ended before its last answer.
                if NetlinkBuffer::new(answer).sequence_number() < first {
                    continue;
                }
                match decode(answer)? {
                    Answer::Message(message) => each(message),
                    Answer::End => unanswered = unanswered.saturating_sub(1),
                    Answer::Unknown => {}
                }
            }
        }
        Ok(())
    }

    fn datagram<M: NetlinkSerializable>(&mut self, messages: Vec<(M, u16)>) -> Vec<u8> {
        let mut datagram = Vec::new();
        for (message, flags) in messages {
            let mut header = NetlinkHeader::default();
            header.flags = flags | NLM_F_REQUEST;
            header.sequence_number = self.next_sequence;
            self.next_sequence += 1;
            let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
            message.finalize();
            let start = datagram.len();
            datagram.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut datagram[start..]);
        }
        datagram
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

enum Answer<M> {
    Message(M),
    End,
    /// Of a kind that a newer kernel has, and the decoder has not.
    Unknown,
}

/// Cuts the first message off.
fn split(bytes: &[u8]) -> io::Result<(&[u8], &[u8])> {
    let header = NetlinkBuffer::new_checked(bytes).map_err(malformed)?;
    let length = header.length() as usize;
    let message = bytes.get(..length).ok_or_else(|| malformed("truncated"))?;
    Ok((message, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn decode<M: NetlinkDeserializable>(bytes: &[u8]) -> io::Result<Answer<M>> {
    let message = match NetlinkMessage::deserialize(bytes) {
        Ok(message) => message,
        Err(_) if NetlinkBuffer::new(bytes).message_type() >= FIRST_INNER_TYPE => return Ok(Answer::Unknown),
        Err(error) => return Err(malformed(error)),
    };
    match message.payload {
        NetlinkPayload::InnerMessage(inner) => Ok(Answer::Message(inner)),
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        NetlinkPayload::Done(done) if done.code < 0 => {
            Err(io::Error::from_raw_os_error(done.code.saturating_neg()))
        }
        NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => Ok(Answer::End),
        NetlinkPayload::Overrun(_) => Err(Errno::NOBUFS.into()),
        _ => Ok(Answer::Unknown),
    }
}

fn malformed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::RouteNetlinkMessage;

    use super::*;

    #[test]
    fn a_truncated_answer_is_an_error() {
        let mut bytes = vec![0; 16];
        bytes[0] = 40;
        assert!(split(&bytes).is_err());
        assert!(split(&bytes[..3]).is_err());
        bytes[0] = 4;
        assert!(split(&bytes).is_err(), "shorter than its own header");
    }

    #[test]
    fn a_message_the_decoder_does_not_know_is_passed_over() {
        let mut bytes = vec![0; 17];
        bytes[0] = 17;
        bytes[4] = 24; // RTM_NEWROUTE, whose header is longer than one byte
        assert!(matches!(decode::<RouteNetlinkMessage>(&bytes), Ok(Answer::Unknown)));
    }

    #[test]
    fn the_kernels_error_code_comes_back() {
        let mut bytes = vec![0; 36];
        bytes[0] = 36;
        bytes[4] = 2; // NLMSG_ERROR
        bytes[16..20].copy_from_slice(&(-19_i32).to_ne_bytes());
        let Err(error) = decode::<RouteNetlinkMessage>(&bytes) else { panic!("no error") };
        assert_eq!(Errno::from_io_error(&error), Some(Errno::NODEV));
    }
}
