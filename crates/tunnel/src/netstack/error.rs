//! Why connections are not opened, packets not taken, and streams not ended in order.

use thiserror::Error;

/// Why [`super::NetStack::accept`] opened no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AcceptError {
    #[error("the packet is not the first SYN of a TCP connection between unicast addresses")]
    NotASyn,
    #[error("the memory budget for connections is used up")]
    OutOfMemory,
}

/// Why [`super::NetStack::connect`] opened no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ConnectError {
    #[error(
        "the addresses cannot be connected: one is unspecified, has port 0, or they are of different families"
    )]
    Unaddressable,
    #[error("the memory budget for connections is used up")]
    OutOfMemory,
}

/// Why [`super::NetStack::handle_packet`] discarded a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PacketError {
    #[error("the connection does not exist any more")]
    UnknownConnection,
    #[error("not a whole TCP segment in an IP packet")]
    Malformed,
    #[error("the segment's addresses or ports are not the connection's")]
    OtherConnection,
}

/// Why a connection ended without an orderly close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Broken {
    /// The peer sent a reset, or refused the connection.
    #[error("the peer reset the connection")]
    Reset,
    /// The peer stopped answering.
    #[error("the peer stopped answering")]
    TimedOut,
    /// This side aborted it, or it does not exist any more.
    #[error("the connection was aborted")]
    Aborted,
}
