//! All workers, as the supervisor sees them: each command goes to whom it is about, and the reports become one.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use vmsgate_netio::{BoundSocket, TunQueueFd};
use vmsgate_tunnel::event::Interrupted;
use vmsgate_tunnel::gateway::shard::{Directory, owner};
use vmsgate_tunnel::netstack::StackConfig;
use vmsgate_tunnel::peer::ClientConfig;
use vmsgate_tunnel::policy::Policy;
use x25519_dalek::StaticSecret;

use super::evidence::Recording;
use super::handover::couriers;
use super::{Call, Command, Configuration, CoreSetup, Ended, Report, Worker, WorkerError, WorkerSetup};
use crate::admin::changes::Foreseen;
use crate::control::ControlState;
use crate::health::Health;

/// What the workers are made of.
pub struct WorkersSetup {
    /// One group per address; one socket of each for every worker.
    pub sockets: Vec<Vec<BoundSocket>>,
    /// Egress `tun`: one for every worker.
    pub queues: Vec<TunQueueFd>,
    pub masquerade: bool,
    pub workers: u8,
    /// Of each worker.
    pub stack: StackConfig,
    pub configuration: Configuration,
    pub identities: Vec<StaticSecret>,
    pub health: Health,
    /// To the main task.
    pub calls: mpsc::Sender<Call>,
}

/// The running workers.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
    /// Whose each client is; keys and addresses that are no more lead to their last owner, who refuses them.
    directory: Directory,
}

impl Workers {
    /// Starts the threads. Nothing is received before [`Workers::start`].
    pub async fn spawn(setup: WorkersSetup) -> Result<Workers, WorkerError> {
        let mut groups: Vec<_> = setup.sockets.into_iter().map(Vec::into_iter).collect();
        let mut queues = setup.queues.into_iter();
        let (parcels, couriers) = couriers(setup.workers);
        let mut workers = Vec::new();
        for (worker, parcels) in (0..setup.workers).zip(parcels) {
            let core = CoreSetup {
                worker,
                workers: setup.workers,
                couriers: couriers(),
                stack: setup.stack,
                configuration: setup.configuration.clone(),
                identities: setup.identities.clone(),
                health: setup.health.clone(),
                calls: setup.calls.clone(),
            };
            let sockets = groups.iter_mut().filter_map(Iterator::next).collect();
            let (queue, masquerade) = (queues.next(), setup.masquerade);
            let setup = WorkerSetup { sockets, queue, masquerade, parcels, core };
            workers.push(Worker::spawn(setup).await?);
        }
        Ok(Workers { workers, directory: Directory::default() })
    }

    /// Evidence begins, and with it the work.
    pub async fn start(&self, recording: &Recording) -> Result<(), WorkerError> {
        for worker in &self.workers {
            worker.send(Command::Start(recording.clone())).await?;
        }
        Ok(())
    }

    /// Tells every client's owner what is new about it. When this answers, nothing passes any more that it forbids.
    pub async fn set_clients(&mut self, clients: Vec<ClientConfig>) -> Result<Vec<Ended>, WorkerError> {
        let count = self.count();
        let mut shares: Vec<Vec<ClientConfig>> = self.workers.iter().map(|_| Vec::new()).collect();
        for client in clients {
            let owner = owner(client.info.id, count);
            if count > 1 {
                self.directory.add(&client, owner);
            }
            if let Some(share) = shares.get_mut(usize::from(owner)) {
                share.push(client);
            }
        }
        let mut answers = Vec::new();
        for (worker, clients) in self.workers.iter().zip(shares).filter(|(_, share)| !share.is_empty()) {
            let (done, answer) = oneshot::channel();
            worker.send(Command::Clients { clients, done }).await?;
            answers.push(answer);
        }
        if count > 1 {
            let directory = Arc::new(self.directory.clone());
            for worker in &self.workers {
                worker.send(Command::Directory(directory.clone())).await?;
            }
        }
        let mut ended = Vec::new();
        for answer in answers {
            ended.extend(answer.await.map_err(|_| WorkerError::Gone)?);
        }
        Ok(ended)
    }

    /// Replaces the identities that answer. When this answers, no worker has any other.
    pub async fn set_identities(
        &self,
        secrets: &[StaticSecret],
        control: &Arc<ControlState>,
    ) -> Result<(), WorkerError> {
        let mut answers = Vec::new();
        for worker in &self.workers {
            let (done, answer) = oneshot::channel();
            let (secrets, control) = (secrets.to_vec(), control.clone());
            worker.send(Command::Identities { secrets, control, done }).await?;
            answers.push(answer);
        }
        for answer in answers {
            answer.await.map_err(|_| WorkerError::Gone)?;
        }
        Ok(())
    }

    /// Puts a configuration in force. Answers with all that it found, and what it cut.
    pub async fn configure(&self, configuration: Configuration) -> Result<Foreseen, WorkerError> {
        self.each(|done| Command::Configuration { configuration: Box::new(configuration.clone()), done })
            .await
    }

    /// Whom there is, and what this policy would cut.
    pub async fn foresee(&self, policy: &Arc<Policy>) -> Result<Foreseen, WorkerError> {
        self.each(|reply| Command::Foresee(policy.clone(), reply)).await
    }

    async fn each(
        &self,
        command: impl Fn(oneshot::Sender<Foreseen>) -> Command,
    ) -> Result<Foreseen, WorkerError> {
        let mut answers = Vec::new();
        for worker in &self.workers {
            let (reply, answer) = oneshot::channel();
            worker.send(command(reply)).await?;
            answers.push(answer);
        }
        let mut all = Foreseen::default();
        for answer in answers {
            let Foreseen { members, cuts } = answer.await.map_err(|_| WorkerError::Gone)?;
            all.members.extend(members);
            all.cuts.extend(cuts);
        }
        Ok(all)
    }

    /// Calls clients that were connected before a restart, where they were then.
    pub async fn reconnect(&self, sessions: &[Interrupted]) -> Result<(), WorkerError> {
        for worker in 0..self.count() {
            let own = sessions.iter().filter(|session| owner(session.client, self.count()) == worker);
            self.send_to(worker, Command::Reconnect(own.copied().collect())).await?;
        }
        Ok(())
    }

    pub async fn report(&self) -> Result<Report, WorkerError> {
        let mut whole: Option<Report> = None;
        for worker in &self.workers {
            let part = worker.report().await?;
            match &mut whole {
                Some(whole) => whole.add(part),
                None => whole = Some(part),
            }
        }
        whole.ok_or(WorkerError::Gone)
    }

    /// Resolves when a packet loop is no more.
    pub async fn ended(&self) {
        let mut loops = JoinSet::new();
        for worker in &self.workers {
            let commands = worker.commands.clone();
            loops.spawn(async move { commands.closed().await });
        }
        loops.join_next().await;
    }

    /// Ends every session, also when a worker is gone.
    pub async fn stop(&self) -> Result<(), WorkerError> {
        let mut outcome = Ok(());
        for worker in &self.workers {
            outcome = outcome.and(worker.stop().await);
        }
        outcome
    }

    pub fn count(&self) -> u8 {
        u8::try_from(self.workers.len()).unwrap_or(u8::MAX)
    }

    async fn send_to(&self, worker: u8, command: Command) -> Result<(), WorkerError> {
        self.workers.get(usize::from(worker)).ok_or(WorkerError::Gone)?.send(command).await
    }
}

impl Report {
    fn add(&mut self, other: Report) {
        self.clients += other.clients;
        self.flows += other.flows;
        self.counters.add(&other.counters);
        self.refusals.add(&other.refusals);
        self.tally.add(other.tally);
        self.loads.extend(other.loads);
        self.sessions.extend(other.sessions);
    }
}
