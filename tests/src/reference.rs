//! A gateway that lets everything through: wireguard-go and kernel routing on the gateway's host.
//!
//! It is what the harness is tested against, and what benchmarks compare with. Where the product's tests demand that
//! nothing passes, the same measure must find that here everything does; else the measure is blind.

use std::net::SocketAddr;

use anyhow::Result;

use crate::{
    netns::Netns,
    process::{User, capture, command},
    profile::Profile,
    stock::Interface,
    topology::{Family, PORT, Topology},
};

/// The running reference gateway.
#[derive(Debug)]
pub struct Reference {
    interface: Interface,
    client: Profile,
}

impl Reference {
    /// Starts it with a single client.
    ///
    /// # Errors
    /// When a tool fails.
    pub fn start(topology: &Topology, outside: Family) -> Result<Self> {
        let endpoint = SocketAddr::new(Topology::gateway_address(outside), PORT);
        let (gateway, client) = profiles(&topology.gateway, endpoint)?;
        let interface = Interface::up(&topology.gateway, &gateway)?;
        for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            topology.gateway.sysctl(key, "1")?;
        }
        topology
            .recording
            .ip("route add 10.99.0.0/16 via 192.168.10.1\nroute add fd00:99::/64 via fd10:10::1")?;
        Ok(Self { interface, client })
    }

    /// The client's profile.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.client
    }

    /// The gateway's process id, to measure it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.interface.process().id()
    }
}

fn profiles(namespace: &Netns, endpoint: SocketAddr) -> Result<(Profile, Profile)> {
    let (gateway, gateway_public) = pair(namespace)?;
    let (client, client_public) = pair(namespace)?;
    let shared = capture(command(namespace, User::Root, "wg").arg("genpsk"))?;
    let (shared, port) = (shared.trim(), endpoint.port());
    Ok((
        Profile::new(format!(
            "[Interface]\nPrivateKey = {gateway}\nListenPort = {port}\nAddress = 10.99.0.1/16, fd00:99::1/64\n\
             [Peer]\nPublicKey = {client_public}\nPresharedKey = {shared}\nAllowedIPs = 10.99.0.2/32, fd00:99::2/128\n"
        )),
        Profile::new(format!(
            "[Interface]\nPrivateKey = {client}\nAddress = 10.99.0.2/32, fd00:99::2/128\n\
             [Peer]\nPublicKey = {gateway_public}\nPresharedKey = {shared}\nEndpoint = {endpoint}\n\
             AllowedIPs = 10.99.0.0/16, fd00:99::/64, 192.168.10.0/24, fd10:10::/64\n"
        )),
    ))
}

fn pair(namespace: &Netns) -> Result<(String, String)> {
    let private = capture(command(namespace, User::Root, "wg").arg("genkey"))?.trim().to_owned();
    let public = capture(
        command(namespace, User::Root, "sh").args(["-c", "echo $KEY | wg pubkey"]).env("KEY", &private),
    )?;
    Ok((private, public.trim().to_owned()))
}
