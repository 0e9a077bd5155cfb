//! The thread that keeps the routes and the names. It looks again whenever a route of the machine changes.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc as channel;
use vmsgate_windows::{NameRules, RouteChanges, Surroundings, has_name_policy, set_suffix};

use super::netsh;
use crate::report::ErrorReport;
use crate::tun::objection::{Around, sort, unroutable};
use crate::tun::wish::{Names, NamesState, Outcome, Wish, by_hosts_file};

/// Changes come in swarms: a network that comes up changes a dozen things.
const SETTLE: Duration = Duration::from_millis(100);

/// The thread, as the task that asks it sees it.
#[derive(Debug)]
pub(in crate::tun) struct Routes {
    tasks: Option<mpsc::Sender<Task>>,
    outcomes: channel::UnboundedReceiver<Outcome>,
    thread: Option<JoinHandle<()>>,
    changes: Option<RouteChanges>,
}

#[derive(Debug)]
enum Task {
    Wish(Wish),
    Changed,
}

impl Routes {
    pub(super) fn start(interface: String, identifier: u128) -> io::Result<Self> {
        let (tasks, taken) = mpsc::channel();
        let (tell, outcomes) = channel::unbounded_channel();
        let news = tasks.clone();
        let changes = RouteChanges::listen(move || {
            let _ = news.send(Task::Changed);
        });
        if let Err(error) = &changes {
            tracing::warn!(%error, "changes of this machine's network are not noticed");
        }
        let state = State {
            interface,
            identifier,
            wish: Wish::default(),
            present: BTreeSet::new(),
            names: None,
            told: None,
        };
        let thread =
            thread::Builder::new().name("routes".to_owned()).spawn(move || state.keep(&taken, &tell))?;
        Ok(Self { tasks: Some(tasks), outcomes, thread: Some(thread), changes: changes.ok() })
    }

    pub(in crate::tun) async fn ask(&mut self, wish: &Wish) -> io::Result<()> {
        let sent = self.tasks.as_ref().and_then(|tasks| tasks.send(Task::Wish(wish.clone())).ok());
        sent.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// The next outcome; none when the thread has ended.
    pub(in crate::tun) async fn outcome(&mut self) -> Option<Outcome> {
        self.outcomes.recv().await
    }
}

impl Drop for Routes {
    fn drop(&mut self) {
        // The thread ends when nobody can ask it any more, and takes the rules of names with it.
        self.changes = None;
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct State {
    interface: String,
    identifier: u128,
    wish: Wish,
    /// What is routed.
    present: BTreeSet<IpAddr>,
    /// What was asked for, the rules if they are in force, and who answers.
    names: Option<(Names, Option<NameRules>, NamesState)>,
    told: Option<Outcome>,
}

impl State {
    fn keep(mut self, tasks: &mpsc::Receiver<Task>, tell: &channel::UnboundedSender<Outcome>) {
        while let Ok(task) = tasks.recv() {
            if let Task::Changed = task {
                thread::sleep(SETTLE);
            }
            for task in [task].into_iter().chain(tasks.try_iter()) {
                if let Task::Wish(wish) = task {
                    self.wish = wish;
                }
            }
            match self.comply() {
                Ok(outcome) if self.told.as_ref() == Some(&outcome) => {}
                Ok(outcome) => {
                    self.told = Some(outcome.clone());
                    if tell.send(outcome).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "Windows does not tell what this machine's network is");
                    return;
                }
            }
        }
    }

    /// Does what is wished, as far as the machine's surroundings allow.
    fn comply(&mut self) -> io::Result<Outcome> {
        let Surroundings { own, routers, hosts } = Surroundings::look(&self.interface)?;
        let around = Around { own: &own, routers: &routers, hosts: &hosts };
        let (wanted, mut refused) = sort(&self.wish.addresses, around);
        for gone in self.present.difference(&wanted) {
            // Perhaps somebody else was quicker: what is not there needs no removing.
            if let Err(error) = netsh::delete_route(&self.interface, *gone) {
                tracing::debug!(%error, "a route was not removed");
            }
        }
        let mut present: BTreeSet<IpAddr> = self.present.intersection(&wanted).copied().collect();
        for new in wanted.difference(&self.present) {
            match netsh::add_route(&self.interface, *new) {
                Ok(()) => {
                    present.insert(*new);
                }
                Err(error) => {
                    refused.insert(*new, unroutable(*new, &error));
                }
            }
        }
        self.present = present;
        let names = self.ask_for();
        Ok(Outcome { number: self.wish.number, routed: self.present.clone(), refused, names })
    }

    /// Has the gateway asked for the site's names and for nothing else.
    fn ask_for(&mut self) -> NamesState {
        let Some(names) = &self.wish.names else { return NamesState::default() };
        match &self.names {
            Some((asked, _, state)) if asked == names => state.clone(),
            _ => {
                // The old rules go before the new ones come: they have the same identifiers.
                self.names = None;
                let (rules, state) = match set(self.identifier, names) {
                    Ok(rules) => (Some(rules), NamesState::Gateway),
                    Err(why) => (None, NamesState::Unresolved(why)),
                };
                self.names = Some((names.clone(), rules, state.clone()));
                state
            }
        }
    }
}

fn set(identifier: u128, names: &Names) -> Result<NameRules, ErrorReport> {
    if has_name_policy() {
        return Err(by_hosts_file("the group policy of this machine says whom to ask for names"));
    }
    let domains = names.domains().ok_or_else(|| by_hosts_file("the site has a name that is none"))?;
    let refused = |error: io::Error| by_hosts_file(&format!("Windows takes no rule for names: {error}"));
    let rules = NameRules::set(identifier, &domains, &names.servers).map_err(refused)?;
    if let Some(suffix) = &names.suffix {
        set_suffix(identifier, suffix).map_err(refused)?;
    }
    if let Err(error) = netsh::forget_names() {
        tracing::debug!(%error, "programs may remember old answers for a while");
    }
    Ok(rules)
}
