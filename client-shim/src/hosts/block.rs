//! What stands between the marks.

use std::net::{IpAddr, Ipv4Addr};

use serde::Serialize;
use thiserror::Error;
use vmsgate_cli::human::printable;

use crate::report::{Report, ServerReport};
use crate::site::is_host_name;

/// Windows takes no notice of a tenth name on a line.
const NAMES_ON_A_LINE: usize = 8;
const BEGIN: &str = "# >>> vmsgate-shim ";
const END: &str = "# <<< vmsgate-shim ";

/// The names of a site's servers, each with the loopback address that stands for it, or in mode `tun` with its own ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Block {
    pub profile: String,
    pub entries: Vec<Entry>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub address: IpAddr,
    pub names: Vec<String>,
}

/// Why there is no block.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlockError {
    #[error("the running shim knows no servers yet")]
    NoServers,
    #[error("the running shim gives its servers no addresses of this machine")]
    NoAddresses,
    #[error("the profile's name `{}` cannot stand in a hosts file", printable(.0))]
    Profile(String),
    #[error("line {line} is no part of what `vmsgate-shim hosts --print` prints: {problem}")]
    Foreign { line: usize, problem: &'static str },
}

impl Block {
    /// The block of a running shim.
    ///
    /// # Errors
    /// When there is nothing that could stand in it.
    pub fn of(report: &Report) -> Result<Self, BlockError> {
        if report.servers.is_empty() {
            return Err(BlockError::NoServers);
        }
        if !is_profile(&report.profile) {
            return Err(BlockError::Profile(report.profile.clone()));
        }
        let mut entries = Vec::new();
        for server in &report.servers {
            let routed =
                server.routes.iter().filter(|route| route.error.is_none()).map(|route| route.address);
            for address in server.loopback.map(IpAddr::from).into_iter().chain(routed) {
                let lines = names(server).chunks(NAMES_ON_A_LINE).map(<[String]>::to_vec).collect::<Vec<_>>();
                entries.extend(lines.into_iter().map(|names| Entry { address, names }));
            }
        }
        if entries.is_empty() {
            return Err(BlockError::NoAddresses);
        }
        Ok(Self { profile: report.profile.clone(), entries })
    }

    /// Reads what [`to_text`](Self::to_text) wrote of loopback addresses. Nothing else can come through it into a hosts file: the names of
    /// this block lead to loopback addresses alone.
    ///
    /// # Errors
    /// The first line that is not from there.
    pub fn parse(text: &str) -> Result<Self, BlockError> {
        let mut lines = text.lines().map(str::trim_end).zip(1..);
        let foreign = |line, problem| BlockError::Foreign { line, problem };
        let (first, _) = lines.next().ok_or(foreign(1, "it is empty"))?;
        let profile = first.strip_prefix(BEGIN).ok_or(foreign(1, "a block begins with its mark"))?;
        if !is_profile(profile) {
            return Err(BlockError::Profile(profile.to_owned()));
        }
        let mut block = Self { profile: profile.to_owned(), entries: Vec::new() };
        let end = end_mark(profile);
        let mut last = 1;
        for (text, line) in lines.by_ref() {
            if text == end {
                return match lines.find(|(text, _)| !text.is_empty()) {
                    Some((_, line)) => Err(foreign(line, "it stands behind the end mark")),
                    None => Ok(block),
                };
            }
            block.entries.push(entry(text).map_err(|problem| foreign(line, problem))?);
            last = line;
        }
        Err(foreign(last + 1, "the end mark is missing"))
    }

    /// The block as lines, marks included.
    pub fn to_text(&self) -> String {
        self.to_lines().map(|line| line + "\n").collect()
    }

    pub(super) fn to_lines(&self) -> impl Iterator<Item = String> {
        let entries = self
            .entries
            .iter()
            .map(|entry| format!("{:<15} {}", entry.address.to_string(), entry.names.join(" ")));
        std::iter::once(begin_mark(&self.profile)).chain(entries).chain([end_mark(&self.profile)])
    }

    /// Every name with the address that it should lead to.
    pub fn names(&self) -> impl Iterator<Item = (&str, IpAddr)> {
        self.entries.iter().flat_map(|entry| entry.names.iter().map(|name| (name.as_str(), entry.address)))
    }
}

pub(super) fn begin_mark(profile: &str) -> String {
    format!("{BEGIN}{profile}")
}

pub(super) fn end_mark(profile: &str) -> String {
    format!("{END}{profile}")
}

/// The profile whose block a line begins, if it does.
pub(super) fn begun_by(line: &str) -> Option<&str> {
    line.strip_prefix(BEGIN).filter(|profile| is_profile(profile))
}

/// Whether a line is a mark of anybody's block.
pub(super) fn is_mark(line: &[u8]) -> bool {
    line.starts_with(BEGIN.as_bytes()) || line.starts_with(END.as_bytes())
}

/// The servers that have a host name which is an address, or none at all: where the VMS hands out addresses, no hosts
/// file leads to them.
pub fn literal_addresses(report: &Report) -> Vec<&ServerReport> {
    let named = |server: &ServerReport| {
        !server.hostnames.is_empty() && !server.hostnames.iter().any(|name| is_address(name))
    };
    report.servers.iter().filter(|server| !named(server)).collect()
}

/// The server's host names and what the gateway calls it, each once.
fn names(server: &ServerReport) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in server.hostnames.iter().chain([&server.name]) {
        if !is_address(name) && !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            names.push(name.clone());
        }
    }
    names
}

fn is_address(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok()
}

/// A mark is one line, and whoever reads it finds the name again.
fn is_profile(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && printable(name) == name
}

fn entry(line: &str) -> Result<Entry, &'static str> {
    let mut words = line.split_ascii_whitespace();
    let address: Option<Ipv4Addr> = words.next().and_then(|word| word.parse().ok());
    let address = address.filter(Ipv4Addr::is_loopback).ok_or("it does not begin with a loopback address")?;
    let names: Vec<String> = words.map(str::to_owned).collect();
    if names.is_empty() || !names.iter().all(|name| is_host_name(name) && !is_address(name)) {
        return Err("what follows the address is no host name");
    }
    Ok(Entry { address: address.into(), names })
}

#[cfg(test)]
mod tests;
