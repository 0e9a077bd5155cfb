//! From a profile to a running driver.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use vmsgate_netio::{BindError, UdpSocket};
use vmsgate_tunnel::client::ClientSettings;

use super::connections::Connections;
use super::driver::{Driver, DriverParts, open_socket};
use super::endpoint::Resolver;
use super::link::{Link, LinkState};
use crate::profile::Profile;

/// Between attempts to resolve the gateway's name.
const RESOLVE_PAUSE: Duration = Duration::from_secs(3);

/// Finds the gateway's address, then runs the driver until `stop` becomes true.
pub(crate) async fn run(
    profile: Profile,
    connections: Connections,
    link: watch::Sender<Link>,
    mut stop: watch::Receiver<bool>,
) {
    let mut resolver = Resolver::new(profile.endpoint);
    let (endpoint, socket) = tokio::select! {
        found = first_socket(&mut resolver, &link) => found,
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let settings = ClientSettings {
        secret: profile.secret,
        gateway: profile.gateway,
        preshared: profile.preshared.map(|key| *key),
        addresses: profile.addresses,
        persistent_keepalive: profile.persistent_keepalive,
    };
    let (gateway_addresses, mtu) = (profile.gateway_addresses, profile.mtu);
    let parts =
        DriverParts { settings, gateway_addresses, mtu, connections, resolver, link, endpoint, socket };
    Driver::new(parts, fastrand::u64(..)).run(stop).await;
}

/// Tries until the gateway's name has an address, and the system a socket towards it: at log-in the network may not
/// be there yet.
async fn first_socket(resolver: &mut Resolver, link: &watch::Sender<Link>) -> (SocketAddr, UdpSocket) {
    loop {
        resolver.begin();
        let opened = match resolver.found().await {
            Ok(found) => open_first(&found).map_err(|error| error.to_string()),
            Err(trouble) => Err(trouble),
        };
        match opened {
            Ok(opened) => return opened,
            Err(trouble) => link.send_modify(|link| {
                if link.state != LinkState::NoAnswer {
                    (link.state, link.since) = (LinkState::NoAnswer, Timestamp::now());
                }
                link.trouble = Some(trouble);
            }),
        }
        tokio::time::sleep(RESOLVE_PAUSE).await;
    }
}

/// A socket towards the first address whose family the system has.
fn open_first(found: &[SocketAddr]) -> Result<(SocketAddr, UdpSocket), BindError> {
    let mut result = Err(BindError::AddressNotLocal { address: SocketAddr::from(([0, 0, 0, 0], 0)) });
    for endpoint in found {
        result = open_socket(*endpoint).map(|socket| (*endpoint, socket));
        if result.is_ok() {
            break;
        }
    }
    result
}
