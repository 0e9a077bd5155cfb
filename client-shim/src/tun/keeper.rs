//! Keeps routes and names in line with what the gateway tells and with where it is.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use tokio::sync::watch;

use super::plan::{Gateway, plan};
use super::platform::Routes;
use super::wish::{Outcome, Wish};
use super::{Adapter, Allowed, Routing, RoutingState};
use crate::profile::Profile;
use crate::report::ErrorReport;
use crate::site::Site;
use crate::tunnel::{Device, Kernel, Link};

/// What an [`Adapter`] is within a runtime.
pub(super) struct Parts {
    pub(super) name: String,
    /// Of the tunnel, those whose family this machine has.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) mtu: u16,
    pub(super) device: Device,
    pub(super) routes: Routes,
}

/// The task that keeps the routes.
#[derive(Debug)]
pub(crate) struct Keeper {
    routing: Rc<Routing>,
    allowed: Rc<Allowed>,
    routes: Routes,
    inside: Vec<IpAddr>,
    host: String,
    /// The newest wish; none before the first.
    asked: Option<Wish>,
}

impl Keeper {
    /// Takes the interface over within a tokio runtime; the second is what moves its packets.
    ///
    /// # Errors
    /// When the runtime refuses.
    pub(crate) fn new(adapter: Adapter, profile: &Profile) -> io::Result<(Self, Kernel)> {
        let Parts { name, addresses, mtu, device, routes } = adapter.into_parts()?;
        let allowed = Rc::new(Allowed::default());
        let kernel = Kernel::new(device, addresses.clone(), allowed.clone());
        let routing = Rc::new(Routing {
            interface: name,
            addresses,
            mtu,
            state: RefCell::new(RoutingState::default()),
        });
        let keeper = Self {
            routing,
            allowed,
            routes,
            inside: profile.gateway_addresses.clone(),
            host: profile.endpoint.host.clone(),
            asked: None,
        };
        Ok((keeper, kernel))
    }

    pub(crate) fn routing(&self) -> Rc<Routing> {
        self.routing.clone()
    }

    /// Runs until what keeps the routes is gone, and says what that means. Calls `settled` whenever what
    /// is wished is in force, as far as possible; with `true` when it was not before.
    pub(crate) async fn run(
        mut self,
        mut site: watch::Receiver<Option<Site>>,
        mut link: watch::Receiver<Link>,
        settled: impl Fn(bool),
    ) -> ErrorReport {
        let mut news = false;
        while self.ask(&site, &link).await.is_ok() {
            if self.is_settled() {
                settled(std::mem::take(&mut news));
            }
            let endpoint = link.borrow().endpoint.map(|endpoint| endpoint.ip());
            tokio::select! {
                outcome = self.routes.outcome() => match outcome {
                    Some(outcome) => news |= self.take_over(outcome),
                    None => break,
                },
                Ok(()) = site.changed() => {}
                Ok(_) = link.wait_for(|link| link.endpoint.map(|now| now.ip()) != endpoint) => {}
            }
        }
        let interface = &self.routing.interface;
        let trouble = ErrorReport {
            message: format!(
                "the routes through {interface} are no longer kept: it was removed, or what keeps them ended"
            ),
            hint: "end vmsgate-shim and start it again".to_owned(),
        };
        self.routing.state.borrow_mut().trouble = Some(trouble.clone());
        trouble
    }

    /// Whether the newest wish has its outcome.
    fn is_settled(&self) -> bool {
        let done = self.routing.state.borrow().outcome.number;
        self.asked.as_ref().is_some_and(|asked| asked.number == done)
    }

    /// Tells what keeps the routes what is wished, if that is something else than before.
    async fn ask(
        &mut self,
        site: &watch::Receiver<Option<Site>>,
        link: &watch::Receiver<Link>,
    ) -> io::Result<()> {
        let endpoint = link.borrow().endpoint.map(|endpoint| endpoint.ip());
        let gateway = Gateway { addresses: &self.inside, endpoint, host: &self.host };
        let (mut wish, refused) = plan(site.borrow().as_ref(), gateway, &self.routing.addresses);
        self.routing.state.borrow_mut().refused = refused;
        let number = self.asked.as_ref().map_or(0, |asked| asked.number);
        wish.number = number;
        if self.asked.as_ref() == Some(&wish) {
            return Ok(());
        }
        wish.number = number + 1;
        // At once, so that nothing passes that is no longer wished, and the first packet of what is.
        self.allowed.set(&wish.addresses);
        self.routes.ask(&wish).await?;
        self.asked = Some(wish);
        Ok(())
    }

    /// Whether this is about the newest wish.
    fn take_over(&mut self, outcome: Outcome) -> bool {
        if self.asked.as_ref().is_none_or(|asked| asked.number != outcome.number) {
            return false;
        }
        self.allowed.set(&outcome.routed);
        self.routing.state.borrow_mut().outcome = outcome;
        true
    }
}
