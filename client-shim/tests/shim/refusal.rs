//! A client that is shut out is told why and whom to ask, and is back when it is let in again.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use vmsgate_exchange::refusal::{Reason, Refusal};
use vmsgate_shim::memory::Memory;
use vmsgate_shim::tunnel::LinkState;
use vmsgate_shim::{Event, Profile, Shim};
use vmsgate_tunnel::peer::Access;

use crate::end_to_end::{PATIENCE, greeting, run};
use crate::support::{CONTACT, Gateway, Site};

struct Running {
    shim: Shim,
    events: mpsc::UnboundedReceiver<Event>,
    gateway: Gateway,
}

impl Running {
    async fn start(site: &Site) -> Self {
        let gateway = site.start(&[site.server("rec", "192.168.10.21", 7563..=7563)]);
        let (tell, events) = mpsc::unbounded_channel();
        let profile = Profile::read(&site.profile_file()).unwrap();
        let mut running = Self { shim: Shim::start(profile, Vec::new(), tell), events, gateway };
        running.until(|event| *event == Event::SiteChanged).await;
        running
    }

    async fn until(&mut self, wanted: impl Fn(&Event) -> bool) {
        let search = async { while !wanted(&self.events.recv().await.expect("the shim runs")) {} };
        tokio::time::timeout(3 * PATIENCE, search).await.expect("the event comes");
    }

    async fn set_access(&self, site: &Site, access: Access) {
        site.registry.lock().unwrap().access = access;
        self.gateway.apply().await;
    }
}

#[test]
fn a_client_that_is_suspended_is_told_and_is_back_after_it_was_resumed() {
    run(async {
        let site = Site::new();
        let mut running = Running::start(&site).await;
        let listen = running.shim.report().servers[0].listeners[0].listen;
        let mut socket = TcpStream::connect(listen).await.unwrap();
        greeting(&mut socket).await.unwrap();

        running.set_access(&site, Access::Suspended).await;
        let expected = Event::Refused(Refusal::new(Reason::Suspended, Some(CONTACT)));
        running.until(|event| *event == expected).await;
        let told = tokio::time::timeout(PATIENCE, socket.read_u8()).await.expect("the program is told");
        assert_eq!(told.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        let report = running.shim.report();
        assert_eq!(report.state, LinkState::Refused);
        assert_eq!(report.refusal.map(|refusal| refusal.reason), Some(Reason::Suspended));
        assert_eq!(report.contact.as_deref(), Some(CONTACT));
        let profile = || Profile::read(&site.folder().join("alice.conf")).unwrap();
        let told = Memory::of(&profile()).told().cloned().unwrap();
        assert_eq!((told.refused, told.contact.as_deref()), (Some(Reason::Suspended), Some(CONTACT)));

        running.set_access(&site, Access::Active { until: None }).await;
        running.until(|event| *event == Event::Connected).await;
        let mut socket = TcpStream::connect(listen).await.unwrap();
        let greeted = tokio::time::timeout(PATIENCE, greeting(&mut socket)).await;
        greeted.expect("the server answers").unwrap();
        assert_eq!(running.shim.report().refusal, None);
        running.shim.stop().await;
    });
}

#[test]
fn a_client_that_has_expired_or_was_revoked_is_told_which() {
    run(async {
        for (access, reason) in
            [(Access::Revoked, Reason::Revoked), (Access::Active { until: Some(1) }, Reason::Expired)]
        {
            let site = Site::new();
            let mut running = Running::start(&site).await;
            running.set_access(&site, access).await;
            let expected = Event::Refused(Refusal::new(reason, Some(CONTACT)));
            running.until(|event| *event == expected).await;
            running.shim.stop().await;
        }
    });
}
