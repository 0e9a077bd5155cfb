//! What can be wrong with a profile, where, and what to do about it.

use std::fmt;
use std::io;

use thiserror::Error;

/// The first thing that is wrong with a profile.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ProfileError {
    pub file: String,
    /// Counted from 1; none when it is about the whole file.
    pub line: Option<usize>,
    pub problem: Problem,
}

/// What is wrong. Values are never part of it, since a line out of place may hold the private key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    #[error("cannot be read: {1}")]
    Unreadable(io::ErrorKind, String),
    #[error("larger than 64 KiB, so it is no profile")]
    TooLarge,
    #[error("not a text file (UTF-8)")]
    NotText,
    #[error("neither a section like `[Interface]` nor a line like `Key = value`")]
    NotALine,
    #[error("unknown section; a profile has `[Interface]` and `[Peer]`")]
    UnknownSection,
    #[error("`{key}` stands before any section")]
    OutsideSection { key: String },
    #[error("unknown key{} in section `[{section}]`", .key.as_ref().map(|key| format!(" `{key}`")).unwrap_or_default())]
    UnknownKey { key: Option<String>, section: &'static str, nearest: Option<&'static str> },
    #[error("`{key}` belongs into section `[{section}]`")]
    OtherSection { key: &'static str, section: &'static str },
    #[error("section `[{section}]` appears twice")]
    SecondSection { section: &'static str },
    #[error("`{key}` was already given in line {first}")]
    Duplicate { key: &'static str, first: usize },
    #[error("`{key}` has no value")]
    Empty { key: &'static str },
    #[error("`{key}` is not a WireGuard key: 44 characters of base64, the last one `=`")]
    BadKey { key: &'static str },
    #[error("`PrivateKey` is sealed by Windows, for another user or another machine")]
    Sealed,
    #[error("`{key}` has a value that is not an IP address{}", if *.with_prefix { " with a prefix length, like 10.99.0.2/32" } else { "" })]
    BadAddress { key: &'static str, with_prefix: bool },
    #[error("`DNS` has a value that is neither an IP address nor a domain")]
    BadDns,
    #[error("`Endpoint` is not HOST:PORT")]
    BadEndpoint,
    #[error("`{key}` is not a number from {min} to {max}")]
    BadNumber { key: &'static str, min: u16, max: u16 },
    #[error("`{key}` has more than {max} values")]
    TooMany { key: &'static str, max: usize },
    #[error("section `[{section}]` is missing")]
    NoSection { section: &'static str },
    #[error("`{key}` is missing in section `[{section}]`")]
    Missing { key: &'static str, section: &'static str },
    #[error("`DNS` names no address of the family of the client's own addresses")]
    NoGatewayAddress,
}

impl ProfileError {
    /// What to do next, where that is not obvious.
    pub fn hint(&self) -> Option<String> {
        let renew = "ask your administrator for a new profile (`vmsgate-keys client rotate NAME`)";
        Some(match &self.problem {
            Problem::Unreadable(io::ErrorKind::NotFound, _) => {
                "give the path of the .conf file that you got from your administrator".to_owned()
            }
            Problem::Unreadable(io::ErrorKind::PermissionDenied, _) if cfg!(windows) => {
                "you may not read this file: copy it into a folder of your own, e.g. Documents".to_owned()
            }
            Problem::Unreadable(io::ErrorKind::PermissionDenied, _) => {
                format!("the file must be yours: `chown $USER {0} && chmod 600 {0}`", self.file)
            }
            Problem::TooLarge | Problem::NotText | Problem::NotALine => {
                "give a WireGuard .conf file, unchanged".to_owned()
            }
            Problem::UnknownKey { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
            Problem::SecondSection { section: "Peer" } => {
                "a profile for the shim has one gateway; keep the `[Peer]` that is yours".to_owned()
            }
            Problem::Missing { key: "DNS", .. } | Problem::NoGatewayAddress => {
                "`DNS` holds the gateway's address in the tunnel, where the shim learns its servers: copy the line from \
                 the original profile"
                    .to_owned()
            }
            Problem::BadEndpoint => {
                "write it like vpn.example.org:51820, 192.0.2.1:51820 or [2001:db8::1]:51820".to_owned()
            }
            Problem::Sealed => {
                "where it was sealed, `vmsgate-shim export` writes a profile that can be used elsewhere; better is an \
                 invitation of its own for each device"
                    .to_owned()
            }
            Problem::BadKey { .. } => format!("copy the whole line from the original profile, or {renew}"),
            Problem::Missing { .. } | Problem::NoSection { .. } => {
                format!("copy it from the original profile, or {renew}")
            }
            Problem::Unreadable(..)
            | Problem::UnknownSection
            | Problem::OutsideSection { .. }
            | Problem::UnknownKey { .. }
            | Problem::OtherSection { .. }
            | Problem::SecondSection { .. }
            | Problem::Duplicate { .. }
            | Problem::Empty { .. }
            | Problem::BadAddress { .. }
            | Problem::BadDns
            | Problem::BadNumber { .. }
            | Problem::TooMany { .. } => return None,
        })
    }
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.problem),
            None => write!(f, "{}: {}", self.file, self.problem),
        }
    }
}
