//! What the doctor says: one thing looked at, a verdict, and what to do.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Ok,
    /// Worth knowing, and nothing to be done.
    Note,
    /// Works, and may not work well or for long.
    Warning,
    /// Does not work.
    Problem,
    /// Could not be looked at.
    Skipped,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
            Self::Skipped => "skipped",
        }
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// What is looked at, in the order of the page. The texts are what scripts rely on; `docs/doctor.md` explains
        /// each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Id {
            $($(#[$doc])* #[serde(rename = $text)] $name,)+
        }

        impl Id {
            pub const ALL: &[Self] = &[$(Self::$name),+];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

ids! {
    ProfilePermissions = "profile.permissions",
    ProfileAccess = "profile.access",
    ProfileKeyAge = "profile.key-age",
    GatewayIdentity = "gateway.identity",
    EndpointResolves = "endpoint.resolves",
    GatewayAnswers = "gateway.answers",
    GatewayProfile = "gateway.profile",
    ClockOffset = "clock.offset",
    PathRoundTrip = "path.round-trip",
    PathLoss = "path.loss",
    PathMtu = "path.mtu",
    PathGoodputDown = "path.goodput-down",
    PathGoodputUp = "path.goodput-up",
    PortsFree = "ports.free",
    NamesResolve = "names.resolve",
    NamesLiteral = "names.literal",
    ServiceAnswers = "service.answers",
    ServiceEncryption = "service.encryption",
    CertificateName = "certificate.name",
    CertificateValidity = "certificate.validity",
    CertificateIssuer = "certificate.issuer",
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub id: Id,
    pub verdict: Verdict,
    /// Which of several, where an id is about servers, services, names or ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What was found, as a sentence.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// Numbers behind it; their names end in the unit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measured: BTreeMap<String, f64>,
}

impl Finding {
    pub(crate) fn new(id: Id, verdict: Verdict, message: impl Into<String>) -> Self {
        Self { id, verdict, subject: None, message: message.into(), advice: None, measured: BTreeMap::new() }
    }

    pub(crate) fn ok(id: Id, message: impl Into<String>) -> Self {
        Self::new(id, Verdict::Ok, message)
    }

    pub(crate) fn skipped(id: Id, why: impl Into<String>) -> Self {
        Self::new(id, Verdict::Skipped, why)
    }

    pub(crate) fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    pub(crate) fn measured(mut self, name: &str, value: f64) -> Self {
        self.measured.insert(name.to_owned(), value);
        self
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
