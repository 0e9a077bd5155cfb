//! The gateway's addresses outside: of one endpoint or several, whose names may have several each, and may change.
//!
//! The first endpoint is the preferred one. Addresses of a name that does not resolve at the moment stay as they were:
//! an old address may work, none does not.

use std::collections::HashSet;
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::task::JoinSet;
use vmsgate_config::address::Endpoint;

/// Addresses that are tried of one endpoint.
const MAX_ADDRESSES: usize = 16;

/// Resolves the endpoints, again and again over the life of the shim.
#[derive(Debug)]
pub(super) struct Resolver {
    endpoints: Vec<Known>,
    lookups: JoinSet<(Endpoint, io::Result<Vec<SocketAddr>>)>,
    /// Endpoints with a look-up under way.
    asked: HashSet<Endpoint>,
}

#[derive(Debug)]
struct Known {
    endpoint: Endpoint,
    addresses: Vec<SocketAddr>,
}

impl Resolver {
    /// `endpoints`, the preferred one first. What is an address needs no look-up.
    pub(super) fn new(endpoints: Vec<Endpoint>) -> Self {
        let endpoints = endpoints.into_iter().map(Known::new).collect();
        Self { endpoints, lookups: JoinSet::new(), asked: HashSet::new() }
    }

    /// Takes over which endpoints there are beside the preferred one.
    pub(super) fn set_others(&mut self, others: Vec<Endpoint>) {
        let mut before = std::mem::take(&mut self.endpoints);
        let preferred = before.first().map(|known| known.endpoint.clone());
        for endpoint in preferred.into_iter().chain(others) {
            if self.endpoints.iter().any(|known| known.endpoint == endpoint) {
                continue;
            }
            let known = before.iter().position(|known| known.endpoint == endpoint);
            self.endpoints.push(known.map_or_else(|| Known::new(endpoint), |at| before.swap_remove(at)));
        }
    }

    /// Begins a look-up of every name, unless one is under way.
    pub(super) fn begin(&mut self) {
        for at in 0..self.endpoints.len() {
            self.begin_at(at);
        }
    }

    /// Begins a look-up of the preferred endpoint's name.
    pub(super) fn begin_preferred(&mut self) {
        self.begin_at(0);
    }

    fn begin_at(&mut self, at: usize) {
        let Some(Known { endpoint, .. }) = self.endpoints.get(at) else { return };
        if is_address(endpoint) || !self.asked.insert(endpoint.clone()) {
            return;
        }
        let endpoint = endpoint.clone();
        self.lookups.spawn(async move {
            let found = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port)).await;
            let found = found.map(|found| found.take(MAX_ADDRESSES).collect());
            (endpoint, found)
        });
    }

    /// Waits for a look-up that was begun; for ever if none was. Answers the addresses that were not known before.
    /// Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// Says, for people, why the name has no address.
    pub(super) async fn found(&mut self) -> Result<Vec<SocketAddr>, String> {
        let (endpoint, outcome) = match self.lookups.join_next().await {
            None => return pending().await,
            Some(Ok(done)) => done,
            Some(Err(error)) => {
                // Which one it was is not told: all may be asked again.
                self.asked.clear();
                return Err(format!("cannot resolve the gateway's name: {error}"));
            }
        };
        self.asked.remove(&endpoint);
        let found = outcome.map_err(|error| format!("cannot resolve {}: {error}", endpoint.host))?;
        if found.is_empty() {
            return Err(format!("the name {} has no address", endpoint.host));
        }
        let Some(known) = self.endpoints.iter_mut().find(|known| known.endpoint == endpoint) else {
            return Ok(Vec::new());
        };
        let before = std::mem::replace(&mut known.addresses, found);
        Ok(known.addresses.iter().filter(|address| !before.contains(address)).copied().collect())
    }

    /// Whether a look-up is under way.
    pub(super) fn is_busy(&self) -> bool {
        !self.lookups.is_empty()
    }

    /// Every address, those of the preferred endpoint first.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.endpoints.iter().flat_map(|known| known.addresses.iter().copied()).collect()
    }

    /// The addresses of the preferred endpoint.
    pub(super) fn preferred(&self) -> &[SocketAddr] {
        self.endpoints.first().map_or(&[], |known| &known.addresses)
    }
}

impl Known {
    fn new(endpoint: Endpoint) -> Self {
        let address = endpoint.host.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, endpoint.port));
        Self { endpoint, addresses: address.into_iter().collect() }
    }
}

fn is_address(endpoint: &Endpoint) -> bool {
    endpoint.host.parse::<IpAddr>().is_ok()
}

/// The address to try after `current`: the next of the list, or its first if `current` is the last or no longer in it.
pub(super) fn next_after(current: SocketAddr, found: &[SocketAddr]) -> SocketAddr {
    let after = found.iter().skip_while(|address| **address != current).nth(1);
    after.or(found.first()).copied().unwrap_or(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn every_address_gets_its_turn() {
        let found = [address("192.0.2.1:1"), address("[2001:db8::1]:1"), address("192.0.2.2:1")];
        let mut current = address("198.51.100.9:1");
        let tried: Vec<_> = (0..4)
            .map(|_| {
                current = next_after(current, &found);
                current
            })
            .collect();
        assert_eq!(tried, [found[0], found[1], found[2], found[0]]);
        assert_eq!(next_after(current, &[]), current);
    }

    #[tokio::test]
    async fn an_address_needs_no_name_service_and_a_name_is_looked_up() {
        let mut resolver = Resolver::new(vec![endpoint("[2001:db8::1]:51820"), endpoint("localhost:51820")]);
        assert_eq!(resolver.addresses(), [address("[2001:db8::1]:51820")]);
        resolver.begin();
        let found = resolver.found().await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
        assert_eq!(resolver.addresses()[1..], found);
        assert_eq!(resolver.preferred(), [address("[2001:db8::1]:51820")]);
        resolver.begin();
        assert_eq!(resolver.found().await, Ok(Vec::new()), "nothing new");
    }

    #[test]
    fn the_preferred_endpoint_stays_first_whatever_the_others_are() {
        let mut resolver = Resolver::new(vec![endpoint("192.0.2.1:1"), endpoint("192.0.2.2:1")]);
        resolver.set_others(vec![endpoint("192.0.2.3:1"), endpoint("192.0.2.1:1"), endpoint("192.0.2.2:1")]);
        let expected = ["192.0.2.1:1", "192.0.2.3:1", "192.0.2.2:1"].map(address);
        assert_eq!(resolver.addresses(), expected);
        resolver.set_others(Vec::new());
        assert_eq!(resolver.addresses(), expected[..1]);
    }
}
