//! Keeps routes and names in line with what the gateway tells and with where it is.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::linux::Helper;
use super::plan::{Gateway, plan};
use super::wish::{Outcome, Wish};
use super::{Adapter, Allowed, Routing, RoutingState};
use crate::profile::Profile;
use crate::report::ErrorReport;
use crate::site::Site;
use crate::tunnel::{Kernel, Link};

/// The task that keeps the routes.
#[derive(Debug)]
pub(crate) struct Keeper {
    routing: Rc<Routing>,
    allowed: Rc<Allowed>,
    outcomes: Lines<BufReader<OwnedReadHalf>>,
    wishes: OwnedWriteHalf,
    inside: Vec<IpAddr>,
    host: String,
    /// The newest wish; none before the first.
    asked: Option<Wish>,
    /// Dropped last: it waits for the process that keeps the routes, which ends once the socket is closed.
    _helper: Helper,
}

impl Keeper {
    /// Takes the interface over within a tokio runtime; the second is what moves its packets.
    ///
    /// # Errors
    /// When the runtime refuses.
    pub(crate) fn new(adapter: Adapter, profile: &Profile) -> io::Result<(Self, Kernel)> {
        let Adapter { name, addresses, mtu, queue, mut helper } = adapter;
        let socket = helper.take_socket().ok_or(io::ErrorKind::NotConnected)?;
        let (read, wishes) = UnixStream::from_std(socket)?.into_split();
        let allowed = Rc::new(Allowed::default());
        let kernel = Kernel::new(queue.into_async()?, addresses.clone(), allowed.clone());
        let routing = Rc::new(Routing {
            interface: name,
            addresses,
            mtu,
            state: RefCell::new(RoutingState::default()),
        });
        let keeper = Self {
            routing,
            allowed,
            _helper: helper,
            outcomes: BufReader::new(read).lines(),
            wishes,
            inside: profile.gateway_addresses.clone(),
            host: profile.endpoint.host.clone(),
            asked: None,
        };
        Ok((keeper, kernel))
    }

    pub(crate) fn routing(&self) -> Rc<Routing> {
        self.routing.clone()
    }

    /// Runs until the process that keeps the routes is gone, and says what that means. Calls `settled` whenever what
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
                line = self.outcomes.next_line() => match line {
                    Ok(Some(line)) => news |= self.take_over(&line),
                    Ok(None) | Err(_) => break,
                },
                Ok(()) = site.changed() => {}
                Ok(_) = link.wait_for(|link| link.endpoint.map(|now| now.ip()) != endpoint) => {}
            }
        }
        let interface = &self.routing.interface;
        let trouble = ErrorReport {
            message: format!(
                "the routes through {interface} are no longer kept: it was removed, or its process ended"
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

    /// Tells the process that keeps the routes what is wished, if that is something else than before.
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
        let mut line = serde_json::to_vec(&wish)?;
        line.push(b'\n');
        self.wishes.write_all(&line).await?;
        self.asked = Some(wish);
        Ok(())
    }

    /// Whether this is about the newest wish.
    fn take_over(&mut self, line: &str) -> bool {
        let Ok(outcome) = serde_json::from_str::<Outcome>(line) else { return false };
        if self.asked.as_ref().is_none_or(|asked| asked.number != outcome.number) {
            return false;
        }
        self.allowed.set(&outcome.routed);
        self.routing.state.borrow_mut().outcome = outcome;
        true
    }
}
