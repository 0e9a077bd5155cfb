//! The gateway's address outside: a name that may have several, and may change.

use std::future::pending;
use std::io;
use std::net::SocketAddr;

use tokio::task::JoinHandle;
use vmsgate_config::address::Endpoint;

/// Resolves the profile's endpoint, again and again over the life of the shim.
#[derive(Debug)]
pub(super) struct Resolver {
    endpoint: Endpoint,
    lookup: Option<JoinHandle<io::Result<Vec<SocketAddr>>>>,
}

impl Resolver {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, lookup: None }
    }

    /// Begins a look-up, unless one is under way.
    pub(super) fn begin(&mut self) {
        if self.lookup.is_none() {
            let Endpoint { host, port } = self.endpoint.clone();
            self.lookup =
                Some(tokio::spawn(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) }));
        }
    }

    /// Waits for the look-up that was begun; for ever if none was. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// Says, for people, why the name has no address.
    pub(super) async fn found(&mut self) -> Result<Vec<SocketAddr>, String> {
        let Some(lookup) = &mut self.lookup else { return pending().await };
        let outcome = lookup.await;
        self.lookup = None;
        match outcome {
            Ok(Ok(found)) if !found.is_empty() => Ok(found),
            Ok(Ok(_)) => Err(format!("the name {} has no address", self.endpoint.host)),
            Ok(Err(error)) => Err(format!("cannot resolve {}: {error}", self.endpoint.host)),
            Err(error) => Err(format!("cannot resolve {}: {error}", self.endpoint.host)),
        }
    }
}

/// The address to try after `current`: the next of the list, or its first if `current` is no longer in it.
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

    #[test]
    fn every_address_of_a_name_gets_its_turn() {
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
    async fn an_address_needs_no_name_service() {
        let mut resolver = Resolver::new("[::1]:51820".parse().unwrap());
        resolver.begin();
        assert_eq!(resolver.found().await, Ok(vec![address("[::1]:51820")]));
    }
}
