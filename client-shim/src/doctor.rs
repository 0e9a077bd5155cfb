//! `vmsgate-shim doctor`: everything between this machine and the servers looked at, a verdict each, and what to do.
//!
//! The findings are made where the tunnel is, in the shim that is up or in one that is started for it: two tunnels with
//! one key would take the connection away from each other. A file for each family of findings measures and judges;
//! judging is apart from measuring, so that tests need no bad network. `docs/doctor.md` explains each finding.

mod certificate;
mod finding;
mod link;
mod mtu;
mod names;
mod path;
mod ports;
mod profile;
mod services;
mod speed;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use vmsgate_config::address::Endpoint;
use x25519_dalek::PublicKey;

pub use finding::{Finding, Id, Verdict};

use speed::Way;

use crate::keys::fingerprint;
use crate::loopback::{Addresses, plan};
use crate::profile::{Profile, open_to_others};
use crate::report::Report;
use crate::shim::Inner;
use crate::site::Site;
use crate::tunnel::{Connections, Echoes, LinkState, Tunnel};

/// How long the gateway may take to answer: three handshakes.
const CONNECT_LIMIT: Duration = Duration::from_secs(16);

/// Looks at everything around one running shim. Clones look at the same.
#[derive(Debug, Clone)]
pub struct Doctor(Rc<Patient>);

/// What is looked at, beside what the shim tells of itself.
#[derive(Debug)]
struct Patient {
    inner: Rc<Inner>,
    connections: Connections,
    echoes: Echoes,
    file: Option<PathBuf>,
    endpoint: Endpoint,
    /// As the profile has them; the tunnel may have moved on.
    client: PublicKey,
    gateway: PublicKey,
    mtu: u16,
}

/// What the profile says that is looked at.
#[derive(Debug)]
pub(crate) struct Facts {
    file: Option<PathBuf>,
    endpoint: Endpoint,
    client: PublicKey,
    gateway: PublicKey,
    mtu: u16,
}

impl Facts {
    pub(crate) fn of(profile: &Profile) -> Self {
        Self {
            file: profile.file.clone(),
            endpoint: profile.endpoint.clone(),
            client: PublicKey::from(&profile.secret),
            gateway: profile.gateway,
            mtu: profile.mtu,
        }
    }
}

impl Doctor {
    pub(crate) fn new(facts: Facts, tunnel: &Tunnel, inner: Rc<Inner>) -> Self {
        let Facts { file, endpoint, client, gateway, mtu } = facts;
        // What the path's MTU is, is a finding of its own, and not to hide the others.
        let (connections, echoes) = (tunnel.connections.of_small_packets(), tunnel.echoes.clone());
        Self(Rc::new(Patient { inner, connections, echoes, file, endpoint, client, gateway, mtu }))
    }

    /// Looks at everything, and tells `progress` what at, as it goes. The findings are in the order of [`Id`].
    pub async fn examine(&self, progress: impl Fn(&str)) -> Vec<Finding> {
        let patient = &*self.0;
        let mut findings = vec![patient.permissions()];
        progress("the gateway's name");
        let found = link::look_up(&patient.endpoint.host).await;
        findings.push(link::endpoint(&patient.endpoint, &found));
        progress("the gateway");
        let (answer, connected) = patient.wait_for_gateway(&found).await;
        findings.push(answer);
        if connected {
            patient.examine_site(&mut findings, &progress).await;
        }
        let why = if connected {
            "the gateway does not tell what can be reached"
        } else {
            "the gateway does not answer"
        };
        skip_missing(&mut findings, why);
        findings.sort_by(|one, other| (one.id, &one.subject).cmp(&(other.id, &other.subject)));
        findings
    }
}

impl Patient {
    fn permissions(&self) -> Finding {
        let file = self.file.as_ref();
        profile::permissions(file.map(|file| (file.display().to_string(), open_to_others(file))))
    }

    /// Gives the gateway time to answer. Whether it does.
    async fn wait_for_gateway(&self, found: &link::Found) -> (Finding, bool) {
        let begun = Instant::now();
        let mut link = self.inner.link.clone();
        // Where the shim has no address, there is nothing to wait for.
        let resolved =
            link.borrow().endpoint.is_some() || found.as_ref().is_ok_and(|found| !found.is_empty());
        let long_silent = {
            let link = link.borrow();
            let age = Timestamp::now().duration_since(link.since);
            link.state == LinkState::NoAnswer && age.unsigned_abs() > CONNECT_LIMIT
        };
        let refused = link.borrow().refusal.is_some();
        let limit = if resolved && !long_silent && !refused { CONNECT_LIMIT } else { Duration::ZERO };
        let connected = tokio::time::timeout(limit, link.wait_for(crate::tunnel::Link::is_connected)).await;
        let connected = connected.is_ok_and(|waited| waited.is_ok());
        let now = link.borrow().clone();
        let first = found.iter().flatten().next();
        let address = now.endpoint.or(first.map(|address| SocketAddr::new(*address, self.endpoint.port)));
        let Some(address) = address else { return (link::nowhere(), connected) };
        if connected {
            return (link::answers(address, now.handshake_time), true);
        }
        let key = fingerprint(&now.in_use.map_or(self.client, |in_use| in_use.client));
        let report = Report::new(&self.inner);
        if let Some(refusal) = report.refusal {
            return (link::refused(address, refusal.reason, report.contact.as_deref()), false);
        }
        let waited = begun.elapsed().max(Timestamp::now().duration_since(now.since).unsigned_abs());
        let silence = link::why_silent(address).await;
        (link::silent(address, &silence, &key, waited), false)
    }

    /// What takes a tunnel.
    async fn examine_site(&self, findings: &mut Vec<Finding>, progress: &impl Fn(&str)) {
        progress("the way to the gateway");
        let answers = path::echoes(&self.echoes).await;
        findings.extend([path::round_trip(&answers), path::loss(&answers)]);
        progress("the largest packet that gets there");
        let mtu = usize::from(self.mtu);
        findings.push(mtu::judge(mtu, mtu::largest(&self.echoes, mtu).await));
        progress("what can be reached");
        let site = match self.inner.control.site().await {
            Ok(site) => site,
            Err(error) => return findings.push(link::no_profile(&error)),
        };
        let message =
            format!("{} lets {} of {} in, as {}", site.gateway, site.client, site.operator, site.role);
        findings.push(Finding::ok(Id::GatewayProfile, message));
        self.judge_site(&site, findings);
        for (way, what) in [(Way::Down, "the rate from the gateway"), (Way::Up, "the rate to the gateway")] {
            progress(what);
            findings.push(speed::judge(way, &speed::measure(&self.inner.control, way).await));
        }
        progress("ports of this machine");
        let addresses = self.ports(&site, findings);
        progress("names of the servers");
        // In mode `tun` names lead to the servers' own addresses, and so do addresses.
        let routed = self.inner.routing.is_some();
        let here = |name: &str| addresses.of(name).filter(|_| !routed);
        findings.extend(names::resolve(&site.servers, here).await);
        findings.extend(site.servers.iter().map(|server| names::literal(server, routed)));
        progress("the servers");
        findings.extend(services::try_all(&site, &self.connections, &self.inner.own).await);
        skip_missing(findings, "there is none to look at");
    }

    fn judge_site(&self, site: &Site, findings: &mut Vec<Finding>) {
        // By the gateway's clock, which decides.
        let now = Timestamp::now();
        let there = now.checked_add(site.clock_offset).unwrap_or(now);
        let rotated = self.inner.keys.borrow().rotated;
        let created =
            site.key_rules.created.max(rotated.and_then(|time| time.checked_add(site.clock_offset).ok()));
        let gateway = self.inner.link.borrow().in_use.map_or(self.gateway, |in_use| in_use.gateway);
        findings.extend([
            profile::access(site.expires, there),
            profile::key_age(created, site.key_rules.max_age, there),
            profile::identity(gateway, site.key_rules.identity),
            link::clock(site.clock_offset),
        ]);
    }

    /// Looks at the listeners. Answers the servers' addresses on this machine.
    fn ports(&self, site: &Site, findings: &mut Vec<Finding>) -> Addresses {
        let mut addresses = Addresses::default();
        addresses.assign(site.servers.iter().map(|server| server.name.as_str()));
        let state = self.inner.state.borrow();
        if state.carrier.is_some() {
            findings.extend(ports::of_running(&state.listeners));
        } else {
            findings.extend(ports::of_plan(&plan(
                Some(site),
                &addresses,
                &self.inner.forwards,
                &self.inner.own,
            )));
        }
        addresses
    }
}

/// A page has every finding.
fn skip_missing(findings: &mut Vec<Finding>, why: &str) {
    let missing = Id::ALL.iter().filter(|id| findings.iter().all(|finding| finding.id != **id));
    let skipped: Vec<Finding> = missing.map(|id| Finding::skipped(*id, why)).collect();
    findings.extend(skipped);
}
