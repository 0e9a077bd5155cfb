//! `--forward [ADDR:]PORT=HOST:PORT`: a local port of the user's choice for a server's port.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use vmsgate_config::address::Endpoint;

/// One forward, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// Always a loopback address: anything else would lend the user's access to everyone on the network.
    pub listen: SocketAddr,
    /// A server's name, one of its host names, or an address.
    pub to: Endpoint,
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (listen, to) = text
            .split_once('=')
            .ok_or("expected [ADDR:]PORT=HOST:PORT, for example 8443=mgmt:443".to_owned())?;
        let listen = parse_listen(listen)?;
        if listen.port() == 0 {
            return Err("port 0 does not exist: ports are 1 to 65535".to_owned());
        }
        let to = to
            .parse()
            .map_err(|_| format!("`{to}` is not HOST:PORT, for example mgmt:443 or [fd00:10::21]:7563"))?;
        Ok(Self { listen, to })
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.listen, self.to)
    }
}

/// `[ADDR:]PORT` for programs of this machine. Port 0 stands for any free one.
///
/// # Errors
/// Also for an address that is no loopback address.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let address = match text.parse::<u16>() {
        Ok(port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
        Err(_) => text
            .parse()
            .map_err(|_| format!("`{text}` is not PORT or ADDR:PORT, for example 8443 or 127.0.0.1:8443"))?,
    };
    if !address.ip().is_loopback() {
        return Err(format!(
            "{} is not a loopback address: others on the network could use your access; use 127.0.0.1",
            address.ip()
        ));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood() {
        for (text, expected) in [
            ("8443=mgmt:443", "127.0.0.1:8443=mgmt:443"),
            ("127.9.9.9:80=192.168.10.10:80", "127.9.9.9:80=192.168.10.10:80"),
            ("[::1]:7563=[fd00:10::21]:7563", "[::1]:7563=[fd00:10::21]:7563"),
            ("65535=rec01.vms.local:1", "127.0.0.1:65535=rec01.vms.local:1"),
        ] {
            assert_eq!(text.parse::<Forward>().unwrap().to_string(), expected);
        }
    }

    #[test]
    fn each_mistake_is_named() {
        for (text, expected) in [
            ("8443", "expected [ADDR:]PORT=HOST:PORT, for example 8443=mgmt:443"),
            ("0=mgmt:443", "port 0 does not exist: ports are 1 to 65535"),
            ("70000=mgmt:443", "`70000` is not PORT or ADDR:PORT, for example 8443 or 127.0.0.1:8443"),
            ("::1:80=mgmt:80", "`::1:80` is not PORT or ADDR:PORT, for example 8443 or 127.0.0.1:8443"),
            ("80=mgmt", "`mgmt` is not HOST:PORT, for example mgmt:443 or [fd00:10::21]:7563"),
            ("80=mgmt:0", "`mgmt:0` is not HOST:PORT, for example mgmt:443 or [fd00:10::21]:7563"),
            ("80=", "`` is not HOST:PORT, for example mgmt:443 or [fd00:10::21]:7563"),
            (
                "0.0.0.0:80=mgmt:80",
                "0.0.0.0 is not a loopback address: others on the network could use your access; use 127.0.0.1",
            ),
        ] {
            assert_eq!(text.parse::<Forward>().unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn garbage_never_panics() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..20_000 {
            let length = random.usize(..24);
            let alphabet: Vec<char> = "019.:=[]am\u{fc}".chars().collect();
            let text: String = (0..length).map(|_| alphabet[random.usize(..alphabet.len())]).collect();
            if let Ok(forward) = text.parse::<Forward>() {
                assert!(forward.listen.ip().is_loopback());
                assert_eq!(forward.to_string().parse(), Ok(forward));
            }
        }
    }
}
