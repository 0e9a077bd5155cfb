//! Clients with one TCP connection each through the tunnel: a request, an answer, and the connection stays open.
//!
//! No kernel stands behind these clients: the few segments that such a connection needs are made here.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use crate::{netns::Netns, packets::segment, process::PATIENCE, raw::RawClient};

/// What a client asks with, and how much comes back: what fits one window.
pub const REQUEST: &[u8] = b"more";
/// See [`REQUEST`].
pub const ANSWER: usize = 8 << 10;

/// What got no answer is sent again after this.
const AGAIN: Duration = Duration::from_secs(1);
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
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
        let from = SocketAddr::from((v4, fastrand::u16(20_000..60_000)));
        let mut conversation = Self { client, from, to, sequence: 1, acknowledged: 0 };
        let (flags, sequence, _) = conversation.answer_to(SYN, b"")?;
        conversation.sequence += 1;
        ensure!(flags & (SYN | ACK) == SYN | ACK, "the SYN was answered by flags {flags:#x}");
        conversation.acknowledged = sequence.wrapping_add(1);
        conversation.send(ACK, b"")?;
        Ok(conversation)
    }

    /// Asks.
    ///
    /// # Errors
    /// When the tunnel does not send.
    pub fn ask(&mut self) -> Result<()> {
        self.send(PSH | ACK, REQUEST)
    }

    /// Takes the whole answer to what was asked.
    ///
    /// # Errors
    /// When it does not come.
    pub fn hear(&mut self) -> Result<()> {
        let (mut came, mut arrived) = (0, false);
        while came < ANSWER {
            let (_, sequence, length) = match self.receive(AGAIN)? {
                Some(segment) => segment,
                None if !arrived => self.answer_to(PSH | ACK, REQUEST)?,
                None => self.answer_to(ACK, b"")?,
            };
            if length == 0 {
                continue;
            }
            if !arrived {
                arrived = true;
                self.sequence = self.sequence.wrapping_add(u32::try_from(REQUEST.len())?);
            }
            if sequence == self.acknowledged {
                came += length;
                self.acknowledged = sequence.wrapping_add(u32::try_from(length)?);
            }
            self.send(ACK, b"")?;
        }
        Ok(())
    }

    /// Ends the connection, politely or by a reset, and waits for no answer.
    ///
    /// # Errors
    /// When the tunnel does not send.
    pub fn leave(mut self, politely: bool) -> Result<()> {
        self.send(if politely { FIN | ACK } else { RST }, b"")
    }

    fn send(&mut self, flags: u8, content: &[u8]) -> Result<()> {
        let packet = segment((self.from, self.to), (self.sequence, self.acknowledged), flags, content);
        self.client.send(&packet)
    }

    /// What comes after a segment that is sent until something comes: on its way it may be lost.
    fn answer_to(&mut self, flags: u8, content: &[u8]) -> Result<(u8, u32, usize)> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.send(flags, content)?;
            if let Some(segment) = self.receive(AGAIN)? {
                return Ok(segment);
            }
        }
        bail!("the gateway does not answer {} within {PATIENCE:?}", self.from)
    }

    /// Flags, sequence number and payload length of the next segment, if one comes within `patience`.
    fn receive(&mut self, patience: Duration) -> Result<Option<(u8, u32, usize)>> {
        while let Some(packet) = self.client.receive(patience)? {
            let Some((header, segment)) = packet.split_at_checked(20) else { bail!("a short packet") };
            let ports = (segment.get(..2), segment.get(2..4));
            let own = (Some(&self.to.port().to_be_bytes()[..]), Some(&self.from.port().to_be_bytes()[..]));
            if header.get(9) != Some(&crate::packets::TCP) || ports != own {
                continue;
            }
            let offset = segment.get(12).map_or(0, |words| usize::from(words >> 4) * 4);
            let (Some(flags), Some(sequence)) = (segment.get(13), segment.get(4..8)) else {
                bail!("a short segment")
            };
            let sequence = u32::from_be_bytes(sequence.try_into()?);
            return Ok(Some((*flags, sequence, segment.len().saturating_sub(offset))));
        }
        Ok(None)
    }
}
