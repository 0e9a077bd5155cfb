//! A running shim: the tunnel, the listeners, and the task that keeps them in line with what the gateway tells.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_local};
use vmsgate_config::address::Endpoint;
use vmsgate_exchange::refusal::Refusal;

use crate::carrier::Carrier;
use crate::control::{Control, ControlError};
use crate::doctor::{Doctor, Facts};
use crate::forward::Forward;
use crate::keys::{Keeper, KeyState, Rotate, RotateError, Rotated};
use crate::loopback::{Addresses, Listeners, plan};
use crate::memory::{self, Memory, Told};
use crate::profile::Profile;
use crate::proxy::{Broker, Proxy};
use crate::report::{ErrorReport, ProxyReport, Report};
use crate::site::Site;
use crate::tun::{self, Routing};
use crate::tunnel::{Kernel, Link, LinkState, Tunnel};

/// How long the gateway's answer is good; changed servers appear within this time.
const REFRESH: Duration = Duration::from_secs(180);
/// Between attempts to get it, doubled each time up to the limit.
const FETCH_PAUSE: Duration = Duration::from_secs(1);
const FETCH_PAUSE_LIMIT: Duration = Duration::from_secs(60);

/// Something that the user may want to know when it happens. Details are in the [`Report`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The gateway answers, for the first time or again.
    Connected,
    /// The gateway has stopped answering, or never did.
    NoAnswer { trouble: Option<String> },
    /// The gateway does not accept this client any more.
    Refused(Refusal),
    /// The gateway told what can be reached; the listeners are in line with it.
    SiteChanged,
    /// The gateway answers, but not what can be reached.
    SiteUnknown { reason: String },
    /// A change of keys did not come about; those before go on.
    KeysNotChanged { message: String, hint: String },
    /// Mode `tun`: programs do not reach the servers any more.
    NotRouted { message: String, hint: String },
}

/// A running shim. Dropping it ends it without farewell; [`Shim::stop`] is the orderly way.
#[derive(Debug)]
pub struct Shim {
    inner: Rc<Inner>,
    stop_connections: watch::Sender<bool>,
    alive: mpsc::Receiver<()>,
    rotations: mpsc::Sender<Rotate>,
    doctor: Doctor,
    tasks: Vec<JoinHandle<()>>,
    tunnel: Tunnel,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) profile: String,
    /// The profile's.
    endpoint: Endpoint,
    /// Tells the tunnel which endpoints there are beside it.
    others: watch::Sender<Vec<Endpoint>>,
    pub(crate) memory: RefCell<Memory>,
    pub(crate) own: Vec<IpAddr>,
    pub(crate) forwards: Vec<Forward>,
    /// In SOCKS mode.
    pub(crate) proxy: Option<ProxyReport>,
    pub(crate) started: Timestamp,
    pub(crate) link: watch::Receiver<Link>,
    pub(crate) state: RefCell<State>,
    pub(crate) keys: Rc<RefCell<KeyState>>,
    /// In mode `tun`.
    pub(crate) routing: Option<Rc<Routing>>,
    pub(crate) control: Control,
    /// What the gateway told last, for the keeper of the keys.
    site: watch::Sender<Option<Site>>,
    /// Something has changed that the gateway tells of.
    refresh: Rc<Notify>,
    events: mpsc::UnboundedSender<Event>,
}

/// What changes with the gateway's answers.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) site: Option<Site>,
    /// With an interface a change of the site is told once the routes are in line too.
    untold: bool,
    pub(crate) addresses: Addresses,
    pub(crate) listeners: Listeners,
    /// None once the shim is ending.
    pub(crate) carrier: Option<Carrier>,
}

impl Shim {
    /// Starts on the present thread, which must run a [`tokio::task::LocalSet`]. Returns at once; what follows is
    /// told through `events`.
    pub fn start(profile: Profile, forwards: Vec<Forward>, events: mpsc::UnboundedSender<Event>) -> Self {
        Self::begin(profile, forwards, events, true, None, None)
    }

    /// The same with a proxy in place of the servers' loopback addresses.
    pub fn start_with_proxy(
        profile: Profile,
        forwards: Vec<Forward>,
        proxy: Proxy,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self::begin(profile, forwards, events, true, None, Some(proxy))
    }

    /// The same in mode `tun`: programs reach the servers through the interface, and there are no listeners but the
    /// forwards.
    ///
    /// # Errors
    /// When the runtime does not take the interface.
    #[cfg(any(target_os = "linux", windows))]
    pub fn start_routing(
        profile: Profile,
        forwards: Vec<Forward>,
        adapter: tun::Adapter,
        events: mpsc::UnboundedSender<Event>,
    ) -> std::io::Result<Self> {
        let routed = tun::Keeper::new(adapter, &profile)?;
        Ok(Self::begin(profile, forwards, events, true, Some(routed), None))
    }

    /// The same without listeners: for changes of keys, and for the doctor.
    pub fn start_without_listeners(profile: Profile, events: mpsc::UnboundedSender<Event>) -> Self {
        Self::begin(profile, Vec::new(), events, false, None, None)
    }

    fn begin(
        profile: Profile,
        forwards: Vec<Forward>,
        events: mpsc::UnboundedSender<Event>,
        listens: bool,
        routed: Option<(tun::Keeper, Kernel)>,
        proxy: Option<Proxy>,
    ) -> Self {
        let (routes, kernel) = routed.unzip();
        let memory = Memory::of(&profile);
        let tunnel = Tunnel::open(&profile, memory.others(), profile.keys(), kernel);
        let (stop_connections, connections_stopping) = watch::channel(false);
        let (keep_alive, alive) = mpsc::channel(1);
        let carrier = Carrier::new(&tunnel, connections_stopping, keep_alive);
        let (site, told) = watch::channel(None);
        let (rotations, asked) = mpsc::channel(1);
        let refresh = Rc::new(Notify::new());
        let keeper = Keeper::new(&profile, &tunnel, told, refresh.clone(), asked, events.clone());
        let facts = Facts::of(&profile);
        let inner = Rc::new(Inner {
            profile: profile.name,
            endpoint: profile.endpoint,
            others: tunnel.others.clone(),
            memory: RefCell::new(memory),
            own: profile.addresses,
            forwards,
            proxy: proxy.as_ref().map(ProxyReport::new),
            started: Timestamp::now(),
            link: tunnel.link.clone(),
            state: RefCell::new(State {
                site: None,
                untold: false,
                addresses: Addresses::default(),
                listeners: Listeners::default(),
                carrier: listens.then(|| carrier.clone()),
            }),
            keys: keeper.state(),
            routing: routes.as_ref().map(tun::Keeper::routing),
            control: Control::new(tunnel.connections.clone(), profile.gateway_addresses),
            site,
            refresh,
            events,
        });
        inner.listen();
        let mut tasks = vec![
            spawn_local(inner.clone().tell_changes()),
            spawn_local(inner.clone().keep_site()),
            spawn_local(keeper.run()),
        ];
        if let Some(routes) = routes {
            let (site, link) = (inner.site.subscribe(), inner.link.clone());
            let inner = inner.clone();
            tasks.push(spawn_local(async move {
                let ErrorReport { message, hint } =
                    routes.run(site, link, |news| inner.tell_routes(news)).await;
                inner.tell(Event::NotRouted { message, hint });
            }));
        }
        let doctor = Doctor::new(facts, &tunnel, inner.clone());
        if let Some(proxy) = proxy {
            let broker = Broker::new(
                proxy.access(),
                carrier,
                tunnel.datagrams.clone(),
                inner.site.subscribe(),
                inner.own.clone(),
            );
            tasks.push(spawn_local(proxy.run(broker)));
        }
        Self { inner, stop_connections, alive, rotations, doctor, tasks, tunnel }
    }

    /// A function that replaces the key pair now, for tasks beside this one.
    pub fn rotator(&self) -> impl AsyncFn() -> Result<Rotated, RotateError> + Clone + 'static {
        let rotations = self.rotations.clone();
        async move || {
            let (answer, outcome) = oneshot::channel();
            rotations.send(answer).await.map_err(|_| RotateError::Ending)?;
            outcome.await.map_err(|_| RotateError::Ending)?
        }
    }

    /// Who looks at everything around this shim, for tasks beside this one.
    pub fn doctor(&self) -> Doctor {
        self.doctor.clone()
    }

    pub fn report(&self) -> Report {
        Report::new(&self.inner)
    }

    /// How the link is, now and whenever it changes.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.inner.link.clone()
    }

    /// A function that reports, for tasks beside this one.
    pub fn reporter(&self) -> impl Fn() -> Report + Clone + 'static {
        let inner = self.inner.clone();
        move || Report::new(&inner)
    }

    /// Closes the listeners, resets the open connections, tells the gateway, and ends.
    pub async fn stop(mut self) {
        for task in &self.tasks {
            task.abort();
        }
        {
            let mut state = self.inner.state.borrow_mut();
            state.listeners = Listeners::default();
            state.carrier = None;
        }
        let _ = self.stop_connections.send(true);
        // All connections hold the other end, which sends nothing. Their resets are to be on their way before the
        // driver ends.
        let _ = self.alive.recv().await;
        self.tunnel.close().await;
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Inner {
    /// Brings the listeners in line with the site and the forwards.
    fn listen(&self) {
        let mut state = self.state.borrow_mut();
        let State { site, addresses, listeners, carrier, .. } = &mut *state;
        let Some(carrier) = carrier else { return };
        // Where there is an interface, servers are reached by their own addresses; with a proxy, by their names.
        if self.routing.is_none() && self.proxy.is_none() {
            addresses.assign(site.iter().flat_map(|site| &site.servers).map(|server| server.name.as_str()));
        }
        listeners.apply(plan(site.as_ref(), addresses, &self.forwards, &self.own), carrier);
    }

    /// Tells when the link comes and goes.
    async fn tell_changes(self: Rc<Self>) {
        let mut link = self.link.clone();
        let mut told = LinkState::Connecting;
        while let Ok(now) = link.wait_for(|link| link.state != told).await.map(|link| link.clone()) {
            told = now.state;
            match now.state {
                LinkState::Connecting => {}
                LinkState::Connected => self.tell(Event::Connected),
                LinkState::NoAnswer => self.tell(Event::NoAnswer { trouble: now.trouble }),
                LinkState::Refused => {
                    let Some(refusal) = now.refusal else { continue };
                    self.memory.borrow_mut().note_refusal(&refusal);
                    self.tell(Event::Refused(refusal));
                }
            }
        }
    }

    /// Asks the gateway what can be reached: whenever the link comes up, and now and then.
    async fn keep_site(self: Rc<Self>) {
        let mut link = self.link.clone();
        let mut pause = FETCH_PAUSE;
        while link.wait_for(Link::is_connected).await.is_ok() {
            let wait = match self.control.site().await {
                Ok(site) => {
                    self.take_over(site);
                    pause = FETCH_PAUSE;
                    REFRESH
                }
                Err(error) => {
                    self.report_unknown(&error);
                    let wait = pause;
                    pause = (pause * 2).min(FETCH_PAUSE_LIMIT);
                    wait
                }
            };
            // A link that was lost and came back may be to a gateway with another configuration.
            let lost = tokio::time::timeout(wait, link.wait_for(|link| !link.is_connected()));
            tokio::select! {
                _ = lost => {}
                () = self.refresh.notified() => {}
            }
        }
    }

    fn take_over(&self, site: Site) {
        let endpoints: Vec<String> = site.endpoints.iter().map(ToString::to_string).collect();
        let endpoints = memory::others(&self.endpoint, &endpoints);
        self.others.send_if_modified(|others| {
            let changed = *others != endpoints;
            others.clone_from(&endpoints);
            changed
        });
        self.memory.borrow_mut().note(Told {
            endpoints,
            expires: site.expires,
            contact: site.contact.clone(),
            refused: None,
        });
        let changed = {
            let mut state = self.state.borrow_mut();
            let known = state.site.as_ref().is_some_and(|known| known.is_same_as(&site));
            state.site = Some(site.clone());
            state.untold |= !known && self.routing.is_some();
            !known
        };
        self.site.send_replace(Some(site));
        // Also when nothing changed: a port that was taken may be free by now.
        self.listen();
        if changed && self.routing.is_none() {
            self.tell(Event::SiteChanged);
        }
    }

    /// The routes are as they should be, and with `news` were not before.
    fn tell_routes(&self, news: bool) {
        let untold = {
            let mut state = self.state.borrow_mut();
            std::mem::take(&mut state.untold) | (news && state.site.is_some())
        };
        if untold {
            self.tell(Event::SiteChanged);
        }
    }

    fn report_unknown(&self, error: &ControlError) {
        tracing::debug!(error = ?error, "no profile document");
        // With the causes: `the answer broke off` alone helps nobody.
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            reason += &format!(": {cause}");
            source = cause.source();
        }
        self.tell(Event::SiteUnknown { reason });
    }

    fn tell(&self, event: Event) {
        // Whoever started the shim may not be interested.
        let _ = self.events.send(event);
    }
}
