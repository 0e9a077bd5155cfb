//! Each service that the role may reach, tried through the tunnel as a program would: does it answer, does it speak TLS,
//! and is its certificate good.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::ServerName;

use super::certificate::{Judge, authorities};
use super::finding::{Finding, Id, Verdict};
use super::tls::{Spoken, greet};
use crate::site::{Server, Site};
use crate::tunnel::{Connections, DialError};

/// Services that are tried, at most, and at the same time. `vmsgate explain` names those of a site with more.
const MAX_SERVICES: usize = 256;
const AT_ONCE: usize = 16;
/// For one service. A gateway gives up on a server earlier.
const LIMIT: Duration = Duration::from_secs(15);

/// One port of one server.
#[derive(Debug, Clone)]
struct Target {
    /// For people.
    subject: String,
    service: String,
    remotes: Vec<SocketAddr>,
    /// What programs call the server: its names, or its addresses where it has none.
    hosts: Vec<String>,
}

/// Tries every service; `own` are the client's tunnel addresses, which decide the families that it can reach.
pub(super) async fn try_all(site: &Site, connections: &Connections, own: &[IpAddr]) -> Vec<Finding> {
    let roots = Rc::new(authorities());
    let targets =
        site.servers.iter().flat_map(|server| server.ports.iter().map(move |port| target(server, port, own)));
    let (mut findings, mut tries) = (Vec::new(), JoinSet::new());
    for target in targets.take(MAX_SERVICES) {
        if tries.len() == AT_ONCE {
            findings.extend(tries.join_next().await.into_iter().filter_map(Result::ok).flatten());
        }
        let (connections, roots) = (connections.clone(), roots.clone());
        tries.spawn_local(async move { try_one(&target, &connections, &roots).await });
    }
    findings.extend(tries.join_all().await.into_iter().flatten());
    findings.extend(not_tried(site.servers.iter().map(|server| server.ports.len()).sum()));
    findings
}

fn not_tried(services: usize) -> Option<Finding> {
    let more = services.checked_sub(MAX_SERVICES).filter(|more| *more > 0)?;
    Some(Finding::skipped(Id::ServiceAnswers, format!("{more} more services were not tried")))
}

fn target(server: &Server, (&port, service): (&u16, &String), own: &[IpAddr]) -> Target {
    let reachable = |address: &&IpAddr| own.iter().any(|own| own.is_ipv4() == address.is_ipv4());
    let remotes = server.addresses.iter().filter(reachable).map(|address| SocketAddr::new(*address, port));
    let hosts = match &*server.hostnames {
        [] => server.addresses.iter().map(ToString::to_string).collect(),
        names => names.to_vec(),
    };
    let (subject, service) = (format!("{}:{port}", server.name), service.clone());
    Target { subject, service, remotes: remotes.collect(), hosts }
}

async fn try_one(target: &Target, connections: &Connections, roots: &RootCertStore) -> Vec<Finding> {
    let dialled = tokio::time::timeout(LIMIT, connections.dial(&target.remotes)).await;
    let stream = match dialled.unwrap_or(Err(DialError::TimedOut)) {
        Ok(stream) => stream,
        Err(error) => return vec![unreachable(target, error)],
    };
    let Target { subject, service, hosts, .. } = target;
    let mut findings =
        vec![Finding::ok(Id::ServiceAnswers, format!("{service} accepts connections")).about(subject)];
    let host = hosts.iter().find_map(|host| ServerName::try_from(host.clone()).ok());
    // Without any name that can be called there is no certificate for it either.
    let Some(host) = host else { return findings };
    let spoken = greet(stream, host).await;
    findings.push(encryption(target, &spoken));
    if let Spoken::Tls(chain) = &spoken {
        findings.extend(Judge { subject, hosts, roots, now: Timestamp::now() }.all(chain));
    }
    findings
}

fn unreachable(Target { subject, service, .. }: &Target, error: DialError) -> Finding {
    let advice = match error {
        DialError::Refused => {
            "the server runs and this service does not, or its firewall refuses the gateway: ask your administrator; `vmsgate \
             denials` shows whether the gateway itself refused"
        }
        DialError::Unreachable | DialError::TimedOut => {
            "the server is off, or its address in gateway.toml is wrong: tell your administrator"
        }
        DialError::TooMany => "end programs that use the shim, and try again",
        DialError::Family => "ask your administrator for a profile with IPv4 and IPv6 tunnel addresses",
    };
    let message = format!("{service} cannot be reached: {error}");
    Finding::new(Id::ServiceAnswers, Verdict::Problem, message).about(subject).advise(advice)
}

fn encryption(Target { subject, service, .. }: &Target, spoken: &Spoken) -> Finding {
    let id = Id::ServiceEncryption;
    match spoken {
        Spoken::Tls(_) => Finding::ok(id, format!("{service} speaks TLS")),
        Spoken::Plain => {
            let message = format!(
                "{service} speaks clear text, which is encrypted in the tunnel and not behind the gateway"
            );
            Finding::new(id, Verdict::Note, message)
        }
        Spoken::Disagreed(why) => Finding::new(
            id,
            Verdict::Warning,
            format!("{service} speaks TLS, but not with us: {why}"),
        )
        .advise("it takes TLS 1.2 or later, with a key that is still thought safe; tell your administrator"),
    }
    .about(subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        let (subject, service) = ("rec01:7563".to_owned(), "recording-server".to_owned());
        Target { subject, service, remotes: Vec::new(), hosts: Vec::new() }
    }

    #[test]
    fn a_service_that_cannot_be_reached_is_a_problem_with_its_reason() {
        for error in [
            DialError::Refused,
            DialError::Unreachable,
            DialError::TimedOut,
            DialError::TooMany,
            DialError::Family,
        ] {
            let finding = unreachable(&target(), error);
            assert_eq!((finding.verdict, finding.subject.as_deref()), (Verdict::Problem, Some("rec01:7563")));
            assert!(finding.message.ends_with(&error.to_string()) && finding.advice.is_some());
        }
    }

    #[test]
    fn a_site_that_is_too_large_to_try_whole_is_told() {
        assert_eq!(not_tried(MAX_SERVICES), None);
        assert_eq!(not_tried(MAX_SERVICES + 2).unwrap().message, "2 more services were not tried");
    }

    #[test]
    fn clear_text_is_a_note_and_old_tls_a_warning() {
        let verdict = |spoken| encryption(&target(), &spoken).verdict;
        assert_eq!(verdict(Spoken::Tls(Vec::new())), Verdict::Ok);
        assert_eq!(verdict(Spoken::Plain), Verdict::Note);
        assert_eq!(
            verdict(Spoken::Disagreed("received fatal alert: ProtocolVersion".to_owned())),
            Verdict::Warning
        );
    }
}
