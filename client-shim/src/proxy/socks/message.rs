//! What a program says in SOCKS5. Pure: from the bytes that came so far.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::proxy::destination::Destination;

/// RFC 1928 section 3.
pub(in crate::proxy) const VERSION: u8 = 5;
/// RFC 1929 section 2: the version of its own negotiation.
pub(super) const PASSWORD_VERSION: u8 = 1;
/// No message is longer: RFC 1929 with a name and a password of 255 bytes.
pub(super) const MAX_BYTES: usize = 513;

/// A message and how many bytes it has; nothing if there is more to come.
pub(super) type Parsed<T> = Result<Option<(T, usize)>, Malformed>;

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Malformed {
    #[error("not version 5 of SOCKS")]
    Version,
    #[error("not version 1 of the password negotiation")]
    PasswordVersion,
    #[error("an address of an unknown type")]
    AddressType,
    #[error("a host name that is none")]
    Name,
    #[error("a datagram that is shorter than its header")]
    Short,
    #[error("a fragment of a datagram")]
    Fragment,
}

/// How the program can authenticate (RFC 1928 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Methods {
    pub(super) none: bool,
    pub(super) password: bool,
}

/// RFC 1929 section 2.
#[derive(PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) username: Vec<u8>,
    pub(super) password: Zeroizing<Vec<u8>>,
}

/// RFC 1928 section 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) command: Command,
    pub(super) destination: Destination,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Connect,
    UdpAssociate,
    /// One that this proxy does not know.
    Other(u8),
}

pub(super) fn methods(bytes: &[u8]) -> Parsed<Methods> {
    parse(bytes, |input| {
        input.version()?;
        let count = input.byte()?;
        let offered = input.bytes(usize::from(count))?;
        Ok(Methods { none: offered.contains(&0), password: offered.contains(&2) })
    })
}

pub(super) fn credentials(bytes: &[u8]) -> Parsed<Credentials> {
    parse(bytes, |input| {
        if input.byte()? != PASSWORD_VERSION {
            return Err(Stop::Malformed(Malformed::PasswordVersion));
        }
        let username = input.counted()?.to_vec();
        let password = Zeroizing::new(input.counted()?.to_vec());
        Ok(Credentials { username, password })
    })
}

pub(super) fn request(bytes: &[u8]) -> Parsed<Request> {
    parse(bytes, |input| {
        input.version()?;
        let command = match input.byte()? {
            1 => Command::Connect,
            3 => Command::UdpAssociate,
            other => Command::Other(other),
        };
        let _reserved = input.byte()?;
        Ok(Request { command, destination: input.destination()? })
    })
}

/// A datagram: where it is to go, and what it carries (RFC 1928 section 7). Fragments are lost, as its last paragraph
/// lets a proxy do.
pub(super) fn datagram(bytes: &[u8]) -> Result<(Destination, &[u8]), Malformed> {
    let header = parse(bytes, |input| {
        let [_, _, fragment] = input.array()?;
        if fragment != 0 {
            return Err(Stop::Malformed(Malformed::Fragment));
        }
        input.destination()
    })?;
    let (destination, length) = header.ok_or(Malformed::Short)?;
    Ok((destination, bytes.get(length..).unwrap_or_default()))
}

/// A datagram for the program.
pub(super) fn write_datagram(from: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0, 0, 0];
    write_address(&mut datagram, from);
    datagram.extend(payload);
    datagram
}

/// RFC 1928 section 5.
pub(super) fn write_address(message: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(v4) => message.extend([&[1][..], &v4.octets()].concat()),
        IpAddr::V6(v6) => message.extend([&[4][..], &v6.octets()].concat()),
    }
    message.extend(address.port().to_be_bytes());
}

enum Stop {
    /// The bytes end before the message does.
    Short,
    Malformed(Malformed),
}

struct Input<'b> {
    bytes: &'b [u8],
    at: usize,
}

fn parse<T>(bytes: &[u8], message: impl FnOnce(&mut Input<'_>) -> Result<T, Stop>) -> Parsed<T> {
    let mut input = Input { bytes, at: 0 };
    match message(&mut input) {
        Ok(message) => Ok(Some((message, input.at))),
        Err(Stop::Short) => Ok(None),
        Err(Stop::Malformed(malformed)) => Err(malformed),
    }
}

impl<'b> Input<'b> {
    fn bytes(&mut self, count: usize) -> Result<&'b [u8], Stop> {
        let bytes = self.bytes.get(self.at..self.at + count).ok_or(Stop::Short)?;
        self.at += count;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        self.bytes(N)?.try_into().map_err(|_| Stop::Short)
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A length of one byte, and as many bytes.
    fn counted(&mut self) -> Result<&'b [u8], Stop> {
        let count = self.byte()?;
        self.bytes(usize::from(count))
    }

    fn version(&mut self) -> Result<(), Stop> {
        if self.byte()? == VERSION { Ok(()) } else { Err(Stop::Malformed(Malformed::Version)) }
    }

    /// RFC 1928 section 5.
    fn destination(&mut self) -> Result<Destination, Stop> {
        let address: Result<IpAddr, &[u8]> = match self.byte()? {
            1 => Ok(Ipv4Addr::from(self.array::<4>()?).into()),
            3 => Err(self.counted()?),
            4 => Ok(Ipv6Addr::from(self.array::<16>()?).into()),
            _ => return Err(Stop::Malformed(Malformed::AddressType)),
        };
        let port = u16::from_be_bytes(self.array()?);
        match address {
            Ok(address) => Ok(Destination::of_address(address, port)),
            Err(name) => {
                let name = std::str::from_utf8(name).ok();
                let destination = name.and_then(|name| Destination::new(name, port));
                destination.ok_or(Stop::Malformed(Malformed::Name))
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every message that parses has these bytes and no fewer.
    fn whole<T: fmt::Debug + PartialEq>(bytes: &[u8], parse: fn(&[u8]) -> Parsed<T>) -> T {
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Ok(None), "{:?}", &bytes[..end]);
        }
        let followed = [bytes, b"early data"].concat();
        let (message, length) = parse(&followed).unwrap().unwrap();
        assert_eq!(length, bytes.len());
        assert!(length <= MAX_BYTES);
        message
    }

    fn to(bytes: &[u8]) -> String {
        whole(&[&[5, 1, 0][..], bytes].concat(), request).destination.to_string()
    }

    #[test]
    fn every_message_is_understood_however_it_is_split() {
        let both = Methods { none: true, password: true };
        assert_eq!(whole(&[5, 3, 2, 0, 7], methods), both);
        assert_eq!(whole(&[5, 0], methods), Methods { none: false, password: false });
        let given = whole(b"\x01\x07vmsgate\x03abc", credentials);
        assert_eq!((given.username.as_slice(), given.password.as_slice()), (&b"vmsgate"[..], &b"abc"[..]));
        let longest = [&[1, 255][..], &[b'u'; 255], &[255], &[b'p'; 255]].concat();
        assert_eq!(whole(&longest, credentials).password.len(), 255);
        assert_eq!(longest.len(), MAX_BYTES);
        assert_eq!(to(&[1, 192, 168, 10, 10, 0, 80]), "192.168.10.10:80");
        assert_eq!(to(b"\x03\x04mgmt\x1d\x8b"), "mgmt:7563");
        assert_eq!(to(b"\x03\x0d192.168.10.10\x1d\x8b"), "192.168.10.10:7563");
        let v6 = [&[4, 0xfd, 0, 0, 0x10][..], &[0; 11], &[0x21, 0x1d, 0x8b]].concat();
        assert_eq!(to(&v6), "[fd00:10::21]:7563");
        let bind = whole(&[5, 2, 0, 1, 192, 168, 10, 10, 0, 80], request);
        assert_eq!(bind.command, Command::Other(2));
    }

    #[test]
    fn datagrams_are_read_as_they_are_written() {
        for from in ["192.168.10.21:161", "[fd00:10::21]:161"] {
            let written = write_datagram(from.parse().unwrap(), b"payload");
            let (to, payload) = datagram(&written).unwrap();
            assert_eq!((to.to_string().as_str(), payload), (from, &b"payload"[..]));
            for end in 0..written.len() - payload.len() {
                assert_eq!(datagram(&written[..end]), Err(Malformed::Short));
            }
        }
        assert_eq!(datagram(b"\0\0\0\x03\x05rec01\0\xa1").unwrap().0.to_string(), "rec01:161");
        assert_eq!(datagram(&[0, 0, 1, 1, 192, 168, 10, 21, 0, 161]), Err(Malformed::Fragment));
        assert_eq!(datagram(&[0, 0, 0, 9]), Err(Malformed::AddressType));
    }

    #[test]
    fn what_is_no_message_is_refused_as_soon_as_that_is_certain() {
        assert_eq!(methods(&[4]), Err(Malformed::Version));
        assert_eq!(credentials(&[5]), Err(Malformed::PasswordVersion));
        assert_eq!(request(&[4]), Err(Malformed::Version));
        assert_eq!(request(&[5, 1, 0, 2]), Err(Malformed::AddressType));
        for name in [&b""[..], b"a b", b"a\0b", b"\xff", b"x\r\ny"] {
            let bytes = [&[5, 1, 0, 3, name.len() as u8], name, &[0, 80]].concat();
            assert_eq!(request(&bytes), Err(Malformed::Name), "{name:?}");
        }
    }

    #[test]
    fn garbage_never_panics_and_is_decided_within_the_longest_message() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..50_000 {
            let mut bytes = vec![0; random.usize(..2 * MAX_BYTES)];
            random.fill(&mut bytes);
            // Beginnings that go further than the first byte.
            let begin: &[u8] = [&[5][..], &[1], &[5, 1, 0], &[5, 1, 0, 3], &[]][random.usize(..5)];
            let length = begin.len().min(bytes.len());
            bytes[..length].copy_from_slice(&begin[..length]);
            for undecided in [
                methods(&bytes).map(|parsed| parsed.map(|(_, length)| length)),
                credentials(&bytes).map(|parsed| parsed.map(|(_, length)| length)),
                request(&bytes).map(|parsed| parsed.map(|(_, length)| length)),
            ] {
                match undecided {
                    Ok(Some(length)) => assert!(length <= bytes.len().min(MAX_BYTES)),
                    Ok(None) => assert!(bytes.len() < MAX_BYTES),
                    Err(_) => {}
                }
            }
            let _ = datagram(&bytes);
            if let Ok(Some((request, _))) = request(&bytes) {
                assert!(!request.destination.to_string().chars().any(char::is_control));
            }
        }
    }
}
