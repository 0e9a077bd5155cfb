//! Receivers of the audit log: where they are, what they are spoken to in, and which records they get.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::address::Endpoint;
use crate::names::{glob_matches, nearest};

/// `[[ship]]`: one receiver of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ship {
    /// What the place in the log is remembered under.
    pub name: String,
    pub to: Receiver,
    /// A file of HTTP headers, for receivers that are asked with them.
    pub headers_file: Option<PathBuf>,
    /// Patterns of record kinds; empty = every kind.
    pub kinds: Vec<String>,
}

/// `SCHEME://HOST:PORT[/PATH]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    pub transport: Transport,
    pub endpoint: Endpoint,
    /// OTLP only: the path and query of the address, with its slash.
    pub path: String,
}

/// What a receiver is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    SyslogTcp,
    SyslogTls,
    SyslogUdp,
    OtlpHttp,
    OtlpHttps,
}

impl Ship {
    /// Whether the receiver gets records of `kind`.
    pub fn takes(&self, kind: &str) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|pattern| glob_matches(pattern, kind))
    }
}

impl Transport {
    const ALL: [Self; 5] =
        [Self::SyslogTcp, Self::SyslogTls, Self::SyslogUdp, Self::OtlpHttp, Self::OtlpHttps];

    /// The scheme of an address.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::SyslogTcp => "syslog+tcp",
            Self::SyslogTls => "syslog+tls",
            Self::SyslogUdp => "syslog+udp",
            Self::OtlpHttp => "otlp+http",
            Self::OtlpHttps => "otlp+https",
        }
    }

    pub fn is_otlp(self) -> bool {
        matches!(self, Self::OtlpHttp | Self::OtlpHttps)
    }

    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::SyslogTls | Self::OtlpHttps)
    }
}

/// Why an address of a receiver is none, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverError {
    pub message: String,
    pub hint: String,
}

/// The path that the OTLP specification gives a collector of logs.
const OTLP_PATH: &str = "/v1/logs";

impl FromStr for Receiver {
    type Err = ReceiverError;

    fn from_str(text: &str) -> Result<Self, ReceiverError> {
        let error = |message: String, hint: &str| ReceiverError { message, hint: hint.to_owned() };
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(error(format!("`{text}` is not of the form SCHEME://HOST:PORT"), EXAMPLES));
        };
        let transport = Transport::ALL.into_iter().find(|transport| transport.scheme() == scheme);
        let transport = transport.ok_or_else(|| ReceiverError {
            message: format!("`{scheme}` is no way to ship the log"),
            hint: match nearest(scheme, Transport::ALL.map(Transport::scheme)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => EXAMPLES.to_owned(),
            },
        })?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(error(
                format!("an address of `{scheme}` has no user name or password"),
                "put the secret into a header in a file, and name the file with `headers-file`",
            ));
        }
        let endpoint = authority.parse::<Endpoint>().map_err(|_| {
            error(format!("`{authority}` in `{text}` is not of the form HOST:PORT"), EXAMPLES)
        })?;
        if !transport.is_otlp() && !path.is_empty() {
            return Err(error(format!("an address of `{scheme}` has no path"), &format!("remove `{path}`")));
        }
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\');
        if !path.bytes().all(plain) {
            return Err(error(
                format!("the path of `{text}` has characters that an address cannot have"),
                EXAMPLES,
            ));
        }
        let path = match path {
            "" | "/" if transport.is_otlp() => OTLP_PATH,
            path => path,
        };
        Ok(Self { transport, endpoint, path: path.to_owned() })
    }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.transport.scheme(), self.endpoint, self.path)
    }
}

impl fmt::Display for ReceiverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReceiverError {}

const EXAMPLES: &str = "write it like `syslog+tls://siem.example.org:6514`, `syslog+tcp://…`, `syslog+udp://…`, \
                        `otlp+https://collector.example.org:4318/v1/logs` or `otlp+http://…`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_print_as_they_are_written() {
        for text in [
            "syslog+tcp://siem.example.org:601",
            "syslog+tls://[2001:db8::1]:6514",
            "syslog+udp://192.0.2.1:514",
            "otlp+http://127.0.0.1:4318/v1/logs",
            "otlp+https://collector:443/team-a/v1/logs?x=1",
        ] {
            assert_eq!(text.parse::<Receiver>().unwrap().to_string(), text);
        }
        let short: Receiver = "otlp+http://collector:4318".parse().unwrap();
        assert_eq!(short.to_string(), "otlp+http://collector:4318/v1/logs");
    }

    #[test]
    fn what_is_no_receiver_is_said_with_a_hint() {
        for (text, message, hint) in [
            ("siem:514", "is not of the form SCHEME", "syslog+tls://"),
            ("syslog+tpc://siem:514", "`syslog+tpc` is no way to ship", "did you mean `syslog+tcp`?"),
            ("kafka://siem:514", "`kafka` is no way to ship", "syslog+udp://"),
            ("syslog+tcp://siem", "not of the form HOST:PORT", "syslog+tls://"),
            ("syslog+tcp://siem:0", "not of the form HOST:PORT", "syslog+tls://"),
            ("syslog+tcp://siem:514/x", "has no path", "remove `/x`"),
            ("otlp+https://me:secret@siem:443/v1/logs", "no user name or password", "headers-file"),
            ("otlp+https://siem:443/v1/\r\nHost: x", "characters", "otlp+https://"),
        ] {
            let error = text.parse::<Receiver>().unwrap_err();
            assert!(error.message.contains(message) && error.hint.contains(hint), "{text}: {error:?}");
            assert!(!error.message.contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn kinds_are_patterns_and_none_is_all() {
        let to = "syslog+udp://192.0.2.1:514".parse::<Receiver>().unwrap();
        let ship = |kinds: &[&str]| Ship {
            name: "siem".to_owned(),
            to: to.clone(),
            headers_file: None,
            kinds: kinds.iter().map(ToString::to_string).collect(),
        };
        assert!(ship(&[]).takes("flow.opened"));
        let some = ship(&["session.*", "admin.*"]);
        assert!(some.takes("session.closed") && some.takes("admin.client.add") && !some.takes("flow.denied"));
    }
}
