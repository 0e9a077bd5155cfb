//! Gets programs their connections, and says in both protocols why there is none.

use std::net::IpAddr;
use std::rc::Rc;

use hyper::StatusCode;
use thiserror::Error;
use tokio::sync::watch;
use vmsgate_pump::Stream;

use super::access::Access;
use super::destination::Destination;
use crate::carrier::Carrier;
use crate::site::Site;
use crate::target::{Target, Unresolved, doubt};
use crate::tunnel::{Datagrams, DialError};

/// What the dialogues with programs need.
#[derive(Debug)]
pub(crate) struct Broker {
    access: Rc<Access>,
    carrier: Carrier,
    datagrams: Datagrams,
    site: watch::Receiver<Option<Site>>,
    /// The client's tunnel addresses.
    own: Vec<IpAddr>,
}

/// Why a program gets no connection.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    #[error("{0}; {hint}", hint = .0.hint())]
    Unresolved(Unresolved),
    /// Refused, and the gateway had told that it would be.
    #[error("{0}")]
    NotInRole(String),
    #[error("{0}")]
    Failed(DialError),
}

/// The reply codes of RFC 1928 section 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Reply {
    Succeeded = 0,
    Failure = 1,
    NotAllowed = 2,
    NetworkUnreachable = 3,
    HostUnreachable = 4,
    Refused = 5,
    TtlExpired = 6,
    CommandUnknown = 7,
    AddressTypeUnknown = 8,
}

impl Broker {
    pub(crate) fn new(
        access: Rc<Access>,
        carrier: Carrier,
        datagrams: Datagrams,
        site: watch::Receiver<Option<Site>>,
        own: Vec<IpAddr>,
    ) -> Self {
        Self { access, carrier, datagrams, site, own }
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    pub(super) const fn carrier(&self) -> &Carrier {
        &self.carrier
    }

    pub(super) const fn datagrams(&self) -> &Datagrams {
        &self.datagrams
    }

    pub(super) fn resolve(&self, destination: &Destination) -> Result<Target, Unresolved> {
        Target::resolve(destination.host(), destination.port, self.site.borrow().as_ref(), &self.own)
    }

    /// Connects to where the program wants to go, before it is told that it is.
    pub(super) async fn dial(&self, destination: &Destination) -> Result<Stream, Refusal> {
        let target = self.resolve(destination).map_err(|unresolved| {
            self.carrier.tally().note(destination.to_string(), unresolved.to_string());
            Refusal::Unresolved(unresolved)
        })?;
        self.carrier.dial(&target).await.map_err(|error| {
            let doubt = doubt(destination.host(), destination.port, self.site.borrow().as_ref());
            doubt.filter(|_| error == DialError::Refused).map_or(Refusal::Failed(error), Refusal::NotInRole)
        })
    }
}

impl Refusal {
    pub(super) fn reply(&self) -> Reply {
        match self {
            Self::Unresolved(Unresolved::NotYetKnown { .. }) => Reply::NetworkUnreachable,
            Self::Unresolved(Unresolved::Unknown { .. }) | Self::Failed(DialError::Unreachable) => {
                Reply::HostUnreachable
            }
            Self::Unresolved(Unresolved::Family { .. }) | Self::Failed(DialError::Family) => {
                Reply::AddressTypeUnknown
            }
            Self::NotInRole(_) => Reply::NotAllowed,
            Self::Failed(DialError::Refused) => Reply::Refused,
            Self::Failed(DialError::TimedOut) => Reply::TtlExpired,
            Self::Failed(DialError::TooMany) => Reply::Failure,
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Unresolved(Unresolved::NotYetKnown { .. }) | Self::Failed(DialError::TooMany) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Unresolved(Unresolved::Unknown { .. }) | Self::NotInRole(_) => StatusCode::FORBIDDEN,
            Self::Failed(DialError::TimedOut) => StatusCode::GATEWAY_TIMEOUT,
            Self::Unresolved(Unresolved::Family { .. })
            | Self::Failed(DialError::Refused | DialError::Unreachable | DialError::Family) => {
                StatusCode::BAD_GATEWAY
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_fail_has_a_reply_of_its_own() {
        use DialError::{Family, Refused, TimedOut, TooMany, Unreachable};
        let failures = [Refused, Unreachable, TimedOut, TooMany, Family];
        let mut replies: Vec<u8> =
            failures.iter().map(|error| Refusal::Failed(*error).reply() as u8).collect();
        assert_eq!(replies, [5, 4, 6, 1, 8]);
        replies.push(Refusal::NotInRole(String::new()).reply() as u8);
        replies.sort_unstable();
        replies.dedup();
        assert_eq!(replies.len(), 6);
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_that_are_known() {
        let unknown = Unresolved::Unknown { host: "sql".to_owned(), offered: "it offers mgmt".to_owned() };
        let refusal = Refusal::Unresolved(unknown);
        assert_eq!((refusal.reply(), refusal.status()), (Reply::HostUnreachable, StatusCode::FORBIDDEN));
        assert_eq!(refusal.to_string(), "the gateway offers you no server `sql`; it offers mgmt");
    }
}
