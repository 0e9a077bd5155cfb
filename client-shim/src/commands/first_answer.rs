//! When `up` gives up: if the gateway was never heard with this profile, neither now nor in an earlier run, something is
//! wrong with the profile or the network, and somebody has to do something. A profile that has worked is tried for ever.

use std::future::pending;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use vmsgate_cli::{CliError, human};
use vmsgate_exchange::refusal::Reason;
use vmsgate_shim::Profile;
use vmsgate_shim::memory::Memory;
use vmsgate_shim::tunnel::{Link, Way};

use super::refusal::{ask, refused};

/// How long the gateway has with a way to it open: two handshakes. Twice that makes a verdict, so that a network that
/// comes up meanwhile gets its chance.
const ROUND: Duration = Duration::from_secs(10);
/// For the word of the other host that nothing listens there.
const WORD: Duration = Duration::from_secs(1);

/// What there is to judge by.
#[derive(Debug)]
pub struct FirstAnswer {
    endpoint: String,
    has_worked: bool,
    expired: Option<Timestamp>,
    refused: Option<Reason>,
    contact: Option<String>,
}

impl FirstAnswer {
    pub fn new(profile: &Profile) -> Self {
        let memory = Memory::of(profile);
        let told = memory.told().cloned();
        let expires = told.as_ref().and_then(|told| told.expires);
        Self {
            endpoint: profile.endpoint.to_string(),
            has_worked: told.is_some(),
            expired: expires.filter(|end| *end <= Timestamp::now()),
            refused: told.as_ref().and_then(|told| told.refused),
            contact: told.and_then(|told| told.contact),
        }
    }

    /// Waits until there is no more hope; for ever once the gateway has answered, or if it has done so before.
    pub async fn given_up(self, mut link: watch::Receiver<Link>) -> CliError {
        if self.has_worked && self.expired.is_none() && self.refused.is_none() {
            return pending().await;
        }
        let mut silent_rounds = 0;
        loop {
            let answered = tokio::time::timeout(ROUND, link.wait_for(Link::is_connected)).await.is_ok();
            if answered {
                return pending().await;
            }
            let endpoint = link.borrow().endpoint;
            if let Some(error) = self.shut_out() {
                return error;
            }
            // A name without addresses and a machine without a network may be so for a while: at log-in, in a train.
            match endpoint.map(|endpoint| (endpoint, Way::to(endpoint))) {
                Some((endpoint, way @ Way::OtherFamily)) => {
                    let obstacle = way.obstacle(endpoint).unwrap_or_default();
                    return CliError::user(obstacle).hint(
                        "ask your administrator for an endpoint that is a name with addresses of both families, or use \
                         another network",
                    );
                }
                Some((endpoint, Way::Open)) => {
                    silent_rounds += 1;
                    if silent_rounds == 2 {
                        return self.silent(endpoint).await;
                    }
                }
                Some((_, Way::Offline)) | None => silent_rounds = 0,
            }
        }
    }

    /// What the gateway told last about this access, if that explains its silence.
    fn shut_out(&self) -> Option<CliError> {
        let silent = "and the gateway is silent";
        let message = match (self.refused, self.expired) {
            (Some(reason @ (Reason::Revoked | Reason::Suspended)), _) => {
                format!("{}, {silent}", refused(reason))
            }
            (_, Some(end)) => format!("access with this profile expired at {}, {silent}", human::time(end)),
            (Some(Reason::Expired), None) => format!("{}, {silent}", refused(Reason::Expired)),
            (None, None) => return None,
        };
        let again = "when it is given back, this profile works again";
        Some(CliError::user(message).hint(format!("{}; {again}", ask(self.contact.as_deref()))))
    }

    async fn silent(&self, endpoint: SocketAddr) -> CliError {
        let Self { endpoint: told, .. } = self;
        if nothing_listens(endpoint).await {
            let error =
                CliError::user(format!("there is no gateway at {told}: nothing listens on that UDP port"));
            return error.hint("compare `Endpoint` with the profile that your administrator gave you");
        }
        CliError::user(format!("no answer from {told}")).hint(
            "is that the gateway's address, and does this network let UDP out? A gateway is silent to keys that it \
             does not know: if another network does not help, ask your administrator for a new profile",
        )
    }
}

/// Whether the host says itself that nothing listens there. Silence says nothing: a gateway answers no stranger.
async fn nothing_listens(endpoint: SocketAddr) -> bool {
    let any: SocketAddr = match endpoint {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let asked = async {
        let socket = UdpSocket::bind(any).await?;
        socket.connect(endpoint).await?;
        socket.send(&[0]).await?;
        socket.recv(&mut [0; 16]).await
    };
    let word = tokio::time::timeout(WORD, asked).await;
    let refused = |kind| matches!(kind, ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset);
    matches!(word, Ok(Err(error)) if refused(error.kind()))
}
