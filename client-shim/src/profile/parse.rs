//! From text to [`Profile`].

use std::net::IpAddr;
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use vmsgate_config::address::Endpoint;
use vmsgate_config::nearest;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{Problem, Profile, decode_secret};

const INTERFACE: &str = "Interface";
const PEER: &str = "Peer";

/// Every key of wg-quick, by section.
const KEYS: [(&str, &str); 17] = [
    (INTERFACE, "PrivateKey"),
    (INTERFACE, "Address"),
    (INTERFACE, "DNS"),
    (INTERFACE, "MTU"),
    (INTERFACE, "ListenPort"),
    (INTERFACE, "FwMark"),
    (INTERFACE, "Table"),
    (INTERFACE, "PreUp"),
    (INTERFACE, "PostUp"),
    (INTERFACE, "PreDown"),
    (INTERFACE, "PostDown"),
    (INTERFACE, "SaveConfig"),
    (PEER, "PublicKey"),
    (PEER, "PresharedKey"),
    (PEER, "AllowedIPs"),
    (PEER, "Endpoint"),
    (PEER, "PersistentKeepalive"),
];

/// More addresses than any client has.
const MAX_VALUES: usize = 64;
/// smoltcp's least for IPv4, and the largest that the gateway may be told.
const MTU: RangeInclusive<u16> = 576..=9000;
/// WireGuard's usual.
const DEFAULT_MTU: u16 = 1420;
/// A word longer than this is no misspelt key, and may be a secret.
const MAX_ECHOED: usize = 24;

type Failure = (Option<usize>, Problem);

/// What has been read so far.
#[derive(Default)]
struct Draft {
    sections: Vec<&'static str>,
    /// Keys that may appear once, with the line of their first appearance.
    seen: Vec<(&'static str, usize)>,
    secret: Option<StaticSecret>,
    addresses: Vec<IpAddr>,
    dns: Vec<IpAddr>,
    mtu: Option<u16>,
    gateway: Option<PublicKey>,
    preshared: Option<Zeroizing<[u8; 32]>>,
    endpoint: Option<Endpoint>,
    keepalive: Option<u16>,
}

pub(super) fn parse(text: &str, name: String) -> Result<Profile, Failure> {
    let mut draft = Draft::default();
    let mut section = None;
    // Windows editors put a mark in front.
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let number = index + 1;
        let line = line.split_once('#').map_or(line, |(before, _comment)| before).trim();
        if line.is_empty() {
            continue;
        }
        draft.line(line, &mut section, number).map_err(|problem| (Some(number), problem))?;
    }
    draft.finish(name).map_err(|problem| (None, problem))
}

impl Draft {
    fn line(&mut self, line: &str, section: &mut Option<&'static str>, number: usize) -> Result<(), Problem> {
        if let Some(name) = line.strip_prefix('[') {
            let name = name.strip_suffix(']').ok_or(Problem::NotALine)?.trim();
            let known = [INTERFACE, PEER].into_iter().find(|known| known.eq_ignore_ascii_case(name));
            let known = known.ok_or(Problem::UnknownSection)?;
            if self.sections.contains(&known) {
                return Err(Problem::SecondSection { section: known });
            }
            self.sections.push(known);
            *section = Some(known);
            return Ok(());
        }
        let (word, value) = line.split_once('=').ok_or(Problem::NotALine)?;
        let (word, value) = (word.trim(), value.trim());
        let found = KEYS.into_iter().find(|(_, key)| key.eq_ignore_ascii_case(word));
        match (found, *section) {
            (Some((home, key)), Some(section)) if home == section => self.set(key, value, number),
            (Some((section, key)), Some(_)) => Err(Problem::OtherSection { key, section }),
            (Some((_, key)), None) => Err(Problem::OutsideSection { key: key.to_owned() }),
            (None, section) => Err(unknown(word, section)),
        }
    }

    fn set(&mut self, key: &'static str, value: &str, line: usize) -> Result<(), Problem> {
        if value.is_empty() {
            return Err(Problem::Empty { key });
        }
        match key {
            "Address" => {
                return extend(key, &mut self.addresses, value, |text| {
                    parse_net(text)
                        .map(|net| Some(net.addr()))
                        .ok_or(Problem::BadAddress { key, with_prefix: true })
                });
            }
            "DNS" => {
                return extend(key, &mut self.dns, value, |text| match text.parse() {
                    Ok(address) => Ok(Some(address)),
                    Err(_) if is_domain(text) => Ok(None),
                    Err(_) => Err(Problem::BadDns),
                });
            }
            "AllowedIPs" => {
                // Routing is the gateway's decision; the line is only checked.
                return extend(key, &mut Vec::<IpNet>::new(), value, |text| {
                    parse_net(text).map(Some).ok_or(Problem::BadAddress { key, with_prefix: true })
                });
            }
            "PreUp" | "PostUp" | "PreDown" | "PostDown" => return Ok(()),
            _ => {}
        }
        if let Some((_, first)) = self.seen.iter().find(|(seen, _)| *seen == key) {
            return Err(Problem::Duplicate { key, first: *first });
        }
        self.seen.push((key, line));
        match key {
            "PrivateKey" => self.secret = Some(StaticSecret::from(*decode_secret(value)?)),
            "PublicKey" => self.gateway = Some(PublicKey::from(*parse_key(key, value)?)),
            "PresharedKey" => self.preshared = Some(parse_key(key, value)?),
            "Endpoint" => self.endpoint = Some(value.parse().map_err(|_| Problem::BadEndpoint)?),
            "MTU" => self.mtu = Some(parse_number(key, value, MTU)?),
            "PersistentKeepalive" => {
                let off = value.eq_ignore_ascii_case("off");
                let seconds = if off { 0 } else { parse_number(key, value, 0..=u16::MAX)? };
                self.keepalive = Some(seconds).filter(|seconds| *seconds != 0);
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self, name: String) -> Result<Profile, Problem> {
        for section in [INTERFACE, PEER] {
            if !self.sections.contains(&section) {
                return Err(Problem::NoSection { section });
            }
        }
        let missing = |key, section| Problem::Missing { key, section };
        if self.addresses.is_empty() {
            return Err(missing("Address", INTERFACE));
        }
        if self.dns.is_empty() {
            return Err(missing("DNS", INTERFACE));
        }
        let reachable =
            |address: &IpAddr| self.addresses.iter().any(|own| own.is_ipv4() == address.is_ipv4());
        let gateway_addresses: Vec<IpAddr> = self.dns.iter().copied().filter(reachable).collect();
        if gateway_addresses.is_empty() {
            return Err(Problem::NoGatewayAddress);
        }
        Ok(Profile {
            file: None,
            name,
            secret: self.secret.ok_or(missing("PrivateKey", INTERFACE))?,
            gateway: self.gateway.ok_or(missing("PublicKey", PEER))?,
            preshared: self.preshared,
            gateway_addresses,
            addresses: self.addresses,
            endpoint: self.endpoint.ok_or(missing("Endpoint", PEER))?,
            mtu: self.mtu.unwrap_or(DEFAULT_MTU),
            persistent_keepalive: self.keepalive,
        })
    }
}

/// Adds the values of a comma-separated list; `parse` answers nothing for a value that is of no use here.
fn extend<T>(
    key: &'static str,
    list: &mut Vec<T>,
    value: &str,
    parse: impl Fn(&str) -> Result<Option<T>, Problem>,
) -> Result<(), Problem> {
    for text in value.split(',') {
        list.extend(parse(text.trim())?);
        if list.len() > MAX_VALUES {
            return Err(Problem::TooMany { key, max: MAX_VALUES });
        }
    }
    Ok(())
}

fn parse_net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse().ok().map(|address: IpAddr| address.into()))
}

fn is_domain(text: &str) -> bool {
    format!("{text}:1").parse::<Endpoint>().is_ok()
}

pub(super) fn parse_key(key: &'static str, value: &str) -> Result<Zeroizing<[u8; 32]>, Problem> {
    // base64 wants room for what 44 characters could hold without padding.
    let mut room = Zeroizing::new([0; 33]);
    match (STANDARD.decode_slice(value, &mut *room), room.first_chunk()) {
        (Ok(32), Some(bytes)) => Ok(Zeroizing::new(*bytes)),
        _ => Err(Problem::BadKey { key }),
    }
}

fn parse_number(key: &'static str, value: &str, range: RangeInclusive<u16>) -> Result<u16, Problem> {
    let wrong = Problem::BadNumber { key, min: *range.start(), max: *range.end() };
    value.parse().ok().filter(|number| range.contains(number)).ok_or(wrong)
}

fn unknown(word: &str, section: Option<&'static str>) -> Problem {
    let harmless = word.len() <= MAX_ECHOED && word.chars().all(|c| c.is_ascii_alphanumeric());
    let key = harmless.then(|| word.to_owned());
    match section {
        None => Problem::OutsideSection { key: key.unwrap_or_else(|| "a line".to_owned()) },
        Some(section) => {
            let candidates = KEYS.into_iter().filter(|(home, _)| *home == section).map(|(_, key)| key);
            Problem::UnknownKey { nearest: nearest(word, candidates).filter(|_| harmless), key, section }
        }
    }
}

#[cfg(test)]
mod tests;
