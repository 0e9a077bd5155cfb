//! Where a program wants to go, as it writes it.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;

/// RFC 1035 section 2.3.4.
const MAX_NAME: usize = 253;

/// A host and a port. The host is an address or has the characters of a host name only, so that it is safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    host: String,
    pub(super) port: u16,
}

impl Destination {
    /// A name, or an address in its usual form.
    pub(super) fn new(host: &str, port: u16) -> Option<Self> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self::of_address(address, port));
        }
        // A name with a final dot is complete, and so are all names here.
        let host = host.strip_suffix('.').unwrap_or(host);
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let sound = !host.is_empty() && host.len() <= MAX_NAME && host.chars().all(safe);
        sound.then(|| Self { host: host.to_owned(), port })
    }

    pub(super) fn of_address(address: IpAddr, port: u16) -> Self {
        Self { host: address.to_canonical().to_string(), port }
    }

    /// The authority of an URI. `default` is the port if it names none.
    pub(super) fn of_uri(uri: &Uri, default: Option<u16>) -> Option<Self> {
        let host = uri.host()?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = match uri.port() {
            Some(port) => Some(port.as_u16()),
            // An empty port, as in `http://mgmt:/`, is the default too (RFC 3986 section 3.2.3).
            None => default,
        };
        Self::new(host, port?)
    }

    /// A name, or an address without brackets.
    pub(super) fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str) -> Option<String> {
        Destination::of_uri(&uri.parse().ok()?, Some(80)).map(|destination| destination.to_string())
    }

    #[test]
    fn every_form_of_a_host_is_understood() {
        for (uri, expected) in [
            ("http://mgmt/page?q#f", "mgmt:80"),
            ("http://mgmt.vms.local.:8081/", "mgmt.vms.local:8081"),
            ("http://anna@mgmt:8081/", "mgmt:8081"),
            ("http://192.168.10.10/", "192.168.10.10:80"),
            ("http://[fd00:10::21]:7563/", "[fd00:10::21]:7563"),
            ("http://[::ffff:192.168.10.10]/", "192.168.10.10:80"),
            ("rec_01:7563", "rec_01:7563"),
        ] {
            assert_eq!(of(uri).as_deref(), Some(expected), "{uri}");
        }
    }

    #[test]
    fn a_host_that_is_none_is_refused() {
        for host in ["", ".", "a b", "mgmt\r\nX: y", "\u{1b}[2J", "m\u{fc}ller", "[::1]", &"x".repeat(254)] {
            assert_eq!(Destination::new(host, 80), None, "{host:?}");
        }
        assert_eq!(of("/page"), None);
        assert_eq!(Destination::of_uri(&"mgmt".parse().unwrap(), None), None, "CONNECT names a port");
    }
}
