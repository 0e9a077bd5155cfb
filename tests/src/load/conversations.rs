//! Clients with one TCP connection each through the tunnel: a request, an answer, and the connection stays open.
//!
//! No kernel stands behind these clients: the few segments that a connection on a path without loss needs are made here.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{netns::Netns, packets::segment, process::PATIENCE, raw::RawClient};

/// What a client asks with, and how much comes back: what fits one window.
pub const REQUEST: &[u8] = b"more";
/// See [`REQUEST`].
pub const ANSWER: usize = 8 << 10;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;

/// Answers every request on every connection until the process ends.
///
/// # Errors
/// When the address is taken.
pub fn serve(namespace: &Netns, address: SocketAddr) -> Result<()> {
    let listener = namespace.run(|| TcpListener::bind(address))??;
    thread::Builder::new().name("conversations".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that leaves concerns only itself.
            let _ = thread::Builder::new().stack_size(64 << 10).spawn(move || answer(stream));
        }
    })?;
    Ok(())
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; REQUEST.len()];
    loop {
        stream.read_exact(&mut request)?;
        stream.write_all(&[b'.'; ANSWER])?;
    }
}

/// One client's open connection.
#[derive(Debug)]
pub struct Conversation {
    client: RawClient,
    from: SocketAddr,
    to: SocketAddr,
    sequence: u32,
    acknowledged: u32,
}

impl Conversation {
    /// Opens a connection through an open tunnel.
    ///
    /// # Errors
    /// When the gateway does not answer the SYN.
    pub fn open(client: RawClient, v4: Ipv4Addr, to: SocketAddr) -> Result<Self> {
        let from = SocketAddr::from((v4, 40_000));
        let mut conversation = Self { client, from, to, sequence: 1, acknowledged: 0 };
        conversation.send(SYN, b"")?;
        conversation.sequence += 1;
        let (flags, sequence, _) = conversation.receive()?;
        ensure!(flags & (SYN | ACK) == SYN | ACK, "the SYN was answered by flags {flags:#x}");
        conversation.acknowledged = sequence.wrapping_add(1);
        conversation.send(ACK, b"")?;
        Ok(conversation)
    }

    /// Asks, and takes the whole answer.
    ///
    /// # Errors
    /// When it does not come.
    pub fn ask(&mut self) -> Result<()> {
        self.send(PSH | ACK, REQUEST)?;
        self.sequence = self.sequence.wrapping_add(u32::try_from(REQUEST.len())?);
        let mut came = 0;
        while came < ANSWER {
            let (_, sequence, length) = self.receive()?;
            if sequence == self.acknowledged && length > 0 {
                came += length;
                self.acknowledged = sequence.wrapping_add(u32::try_from(length)?);
            }
            self.send(ACK, b"")?;
        }
        Ok(())
    }

    fn send(&mut self, flags: u8, content: &[u8]) -> Result<()> {
        let packet = segment((self.from, self.to), (self.sequence, self.acknowledged), flags, content);
        self.client.send(&packet)
    }

    /// Flags, sequence number and payload length of the next segment.
    fn receive(&mut self) -> Result<(u8, u32, usize)> {
        loop {
            let packet = self.client.receive(PATIENCE)?.context("the gateway does not answer")?;
            let Some((header, segment)) = packet.split_at_checked(20) else { bail!("a short packet") };
            if header.get(9) != Some(&crate::packets::TCP) {
                continue;
            }
            let offset = segment.get(12).map_or(0, |words| usize::from(words >> 4) * 4);
            let (Some(flags), Some(sequence)) = (segment.get(13), segment.get(4..8)) else {
                bail!("a short segment")
            };
            let sequence = u32::from_be_bytes(sequence.try_into()?);
            return Ok((*flags, sequence, segment.len().saturating_sub(offset)));
        }
    }
}
