//! What a section and a key are; the ones there are stand in [`super::keys`].

use super::units::{format_duration, format_rate, format_size};

/// How often a section occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `[gateway]`
    Once,
    /// `[[server]]`
    Repeated,
    /// `[role.NAME]`
    Named,
}

#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) meaning: &'static str,
    pub(crate) keys: &'static [Key],
}

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Name,
    Text,
    Path,
    Choice,
    Flag,
    Duration,
    Size,
    Rate,
    Count,
    SocketAddress,
    SocketAddresses,
    Endpoints,
    Networks,
    AddressRanges,
    Addresses,
    HostName,
    HostNames,
    Names,
    Ports,
    Rules,
    Exposures,
    Receiver,
    Kinds,
}

/// What holds when a key is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// It must be written.
    Required,
    /// Nothing; the key has no effect.
    Nothing,
    /// As if this had been written.
    Default(&'static str),
}

#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Lowest and highest: seconds, bytes, bits per second or a count, as [`Kind`] says.
    pub(crate) range: Option<(u64, u64)>,
    pub(crate) absent: Absent,
    /// A value as it is written in the file.
    pub(crate) example: &'static str,
    pub(crate) meaning: &'static str,
}

impl Section {
    /// As written in the file.
    pub(crate) fn title(&self) -> String {
        match self.shape {
            Shape::Once => format!("[{}]", self.name),
            Shape::Repeated => format!("[[{}]]", self.name),
            Shape::Named => format!("[{}.NAME]", self.name),
        }
    }
}

impl Key {
    /// The range in words, e.g. `1s to 1m`.
    pub(crate) fn range_text(&self) -> Option<String> {
        let (lowest, highest) = self.range?;
        let format = |number: u64| match self.kind {
            Kind::Duration => format_duration(number),
            Kind::Size => format_size(number),
            Kind::Rate => format_rate(number),
            _ => number.to_string(),
        };
        Some(format!("{} to {}", format(lowest), format(highest)))
    }
}

impl Kind {
    /// Whether the key holds one or a list of the same.
    pub(crate) fn is_list(self) -> bool {
        match self {
            Self::SocketAddresses
            | Self::Endpoints
            | Self::Networks
            | Self::AddressRanges
            | Self::Addresses
            | Self::HostNames
            | Self::Names
            | Self::Ports
            | Self::Rules
            | Self::Exposures
            | Self::Kinds => true,
            Self::Name
            | Self::Text
            | Self::Path
            | Self::Choice
            | Self::Flag
            | Self::Duration
            | Self::Size
            | Self::Rate
            | Self::Count
            | Self::SocketAddress
            | Self::HostName
            | Self::Receiver => false,
        }
    }

    /// The type and unit in words, for the documentation.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Text => "text",
            Self::Path => "path",
            Self::Choice => "one word",
            Self::Flag => "`true` or `false`",
            Self::Duration => "duration (`d`, `h`, `m`, `s`)",
            Self::Size => "size (`KiB`, `MiB`, `GiB`)",
            Self::Rate => "rate (`kbit/s`, `Mbit/s`, `Gbit/s`)",
            Self::Count => "whole number",
            Self::SocketAddress => "`ADDRESS:PORT`",
            Self::SocketAddresses => "`ADDRESS:PORT`, one or a list",
            Self::Endpoints => "`HOST:PORT`, one or a list",
            Self::Networks => "CIDR range, one or a list",
            Self::AddressRanges => "`FIRST-LAST`, CIDR range or address, one or a list",
            Self::Addresses => "IP address, one or a list",
            Self::HostName => "host name",
            Self::HostNames => "host name, one or a list",
            Self::Names => "name, one or a list",
            Self::Ports => "port or `\"FIRST-LAST\"`, one or a list",
            Self::Rules => "`SERVER-PATTERN:SERVICE`, one or a list",
            Self::Exposures => "list of `{ port, reason }`",
            Self::Receiver => "`SCHEME://HOST:PORT[/PATH]`",
            Self::Kinds => "kind or pattern, one or a list",
        }
    }
}
