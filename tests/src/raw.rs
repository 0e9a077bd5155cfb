//! A client that sends whatever it likes inside a valid tunnel: the WireGuard protocol by boringtun, the content by the test.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use boringtun::{
    noise::{Tunn, TunnResult},
    x25519::{PublicKey, StaticSecret},
};

use crate::{process::PATIENCE, profile::Profile, topology::ClientHost};

const LARGEST: usize = 65_536;

/// An open tunnel without any interface or kernel behind it.
pub struct RawClient {
    tunnel: Tunn,
    socket: UdpSocket,
    scratch: Vec<u8>,
    initiation: Vec<u8>,
    /// The client's own address in the tunnel.
    pub v4: Ipv4Addr,
    /// The client's own IPv6 address in the tunnel.
    pub v6: Ipv6Addr,
}

/// What a client needs to open a tunnel.
pub struct Keys {
    /// The client's own.
    pub private: [u8; 32],
    /// The gateway's public key.
    pub gateway: [u8; 32],
    /// The pre-shared key, if there is one.
    pub preshared: Option<[u8; 32]>,
    /// The client's IPv4 address in the tunnel, where it is known.
    pub v4: Option<Ipv4Addr>,
}

/// Whether anything comes back within `patience` when `host` begins a handshake with the profile's keys.
///
/// # Errors
/// When the profile is unusable or the socket fails.
pub fn is_answered(host: &ClientHost, profile: &Profile, patience: Duration) -> Result<bool> {
    RawClient::calling(host, profile)?.is_answered(patience)
}

/// A socket that is connected to the profile's gateway.
fn socket(host: &ClientHost, profile: &Profile) -> Result<UdpSocket> {
    let endpoint: SocketAddr = profile.value("Endpoint")?.parse()?;
    let any: SocketAddr = if endpoint.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    host.namespace
        .run(|| {
            let socket = UdpSocket::bind(any)?;
            socket.connect(endpoint)?;
            Ok(socket)
        })?
        .map_err(|error: std::io::Error| error.into())
}

impl Keys {
    fn of(profile: &Profile) -> Result<Self> {
        Ok(Self {
            private: profile.key("PrivateKey")?,
            gateway: profile.key("PublicKey")?,
            preshared: Some(profile.key("PresharedKey")?),
            v4: None,
        })
    }
}

impl RawClient {
    /// Opens the tunnel from `host`.
    ///
    /// # Errors
    /// When the profile is unusable or the gateway does not complete the handshake.
    pub fn connect(host: &ClientHost, profile: &Profile) -> Result<Self> {
        let mut addresses = profile.values("Address").into_iter();
        let mut address =
            || addresses.next().and_then(|address| address.split('/').next()).context("no address");
        Self::over(socket(host, profile)?, &Keys::of(profile)?, address()?.parse()?, address()?.parse()?)
    }

    /// Opens the tunnel over a socket that is connected to the gateway.
    ///
    /// # Errors
    /// When the gateway does not complete the handshake.
    pub fn over(socket: UdpSocket, keys: &Keys, v4: Ipv4Addr, v6: Ipv6Addr) -> Result<Self> {
        let mut client = Self { v4, v6, ..Self::silent(socket, keys) };
        client.handshake()?;
        Ok(client)
    }

    /// One that has said nothing yet and has no address.
    fn silent(socket: UdpSocket, keys: &Keys) -> Self {
        let (secret, gateway) = (StaticSecret::from(keys.private), PublicKey::from(keys.gateway));
        let tunnel = Tunn::new(secret, gateway, keys.preshared, None, 1, None);
        let (v4, v6) = (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
        Self { tunnel, socket, scratch: vec![0; LARGEST], initiation: Vec::new(), v4, v6 }
    }

    /// Begins a handshake from `host`, and waits for nothing.
    ///
    /// # Errors
    /// When the profile is unusable or the socket fails.
    pub fn calling(host: &ClientHost, profile: &Profile) -> Result<Self> {
        let mut client = Self::silent(socket(host, profile)?, &Keys::of(profile)?);
        client.initiate()?;
        Ok(client)
    }

    /// Whether anything comes from the gateway within `patience`.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn is_answered(&mut self, patience: Duration) -> Result<bool> {
        Ok(self.datagram(Instant::now() + patience)?.is_some())
    }

    /// Sends `content`, whatever it is, encrypted as the tunnel's next packet.
    ///
    /// # Errors
    /// When there is no session or the socket fails.
    pub fn send(&mut self, content: &[u8]) -> Result<()> {
        let datagram = self.sealed(content)?;
        self.send_outside(&datagram)
    }

    /// The datagram that would carry `content` as the tunnel's next packet.
    ///
    /// # Errors
    /// When there is no session.
    pub fn sealed(&mut self, content: &[u8]) -> Result<Vec<u8>> {
        match self.tunnel.encapsulate(content, &mut self.scratch) {
            TunnResult::WriteToNetwork(datagram) => Ok(datagram.to_vec()),
            other => bail!("the tunnel did not encrypt: {other:?}"),
        }
    }

    /// The last handshake initiation that was sent.
    #[must_use]
    pub fn initiation(&self) -> &[u8] {
        &self.initiation
    }

    /// Sends `datagram` to the gateway as it is, outside the tunnel.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn send_outside(&self, datagram: &[u8]) -> Result<()> {
        self.socket.send(datagram).map(drop).context("Failed to send")
    }

    /// The next IP packet from the gateway, if one comes within `patience`.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn receive(&mut self, patience: Duration) -> Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + patience;
        loop {
            let Some(datagram) = self.datagram(deadline)? else { return Ok(None) };
            match self.tunnel.decapsulate(None, &datagram, &mut self.scratch) {
                TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                    return Ok(Some(packet.to_vec()));
                }
                TunnResult::WriteToNetwork(reply) => {
                    self.socket.send(reply)?;
                }
                TunnResult::Done | TunnResult::Err(_) => {}
            }
        }
    }

    fn handshake(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.initiate()?;
            let Some(datagram) = self.datagram(Instant::now() + Duration::from_secs(1))? else { continue };
            if let TunnResult::WriteToNetwork(keepalive) =
                self.tunnel.decapsulate(None, &datagram, &mut self.scratch)
            {
                self.socket.send(keepalive)?;
                return Ok(());
            }
        }
        bail!("the gateway did not complete the handshake within {PATIENCE:?}")
    }

    fn initiate(&mut self) -> Result<()> {
        if let TunnResult::WriteToNetwork(initiation) =
            self.tunnel.format_handshake_initiation(&mut self.scratch, true)
        {
            self.socket.send(initiation)?;
            self.initiation = initiation.to_vec();
        }
        Ok(())
    }

    fn datagram(&self, deadline: Instant) -> Result<Option<Vec<u8>>> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        self.socket.set_read_timeout(Some(left))?;
        let mut datagram = vec![0; LARGEST];
        match self.socket.recv(&mut datagram) {
            Ok(length) => {
                datagram.truncate(length);
                Ok(Some(datagram))
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
            Err(error) => Err(error).context("Failed to receive"),
        }
    }
}

impl std::fmt::Debug for RawClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawClient").field("v4", &self.v4).field("v6", &self.v6).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}
