//! Network namespaces without names: each belongs to a thread and goes with it.

use std::any::Any;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{env, fs, io, thread};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, gettid};
use vmsgate_netsetup::{Kernel, Plan};

const REQUIRE: &str = "VMSGATE_REQUIRE_NETNS";

type Job = Box<dyn FnOnce() + Send>;

/// One host of a test network, which forwards IPv4 and IPv6.
pub(crate) struct Namespace {
    jobs: Sender<Job>,
    thread: Pid,
}

impl Namespace {
    /// Nothing, after saying so aloud, where namespaces cannot be made.
    pub(crate) fn create() -> Option<Self> {
        let (jobs, queue) = channel::<Job>();
        let (ready, entered) = channel();
        thread::spawn(move || {
            let _ = ready.send(unshare(CloneFlags::CLONE_NEWNET).map(|()| gettid()));
            queue.into_iter().for_each(|job| job());
        });
        let lack = match entered.recv().expect("the thread answers") {
            Ok(thread) if has_nft() => {
                let namespace = Self { jobs, thread };
                namespace.run(prepare);
                return Some(namespace);
            }
            Ok(_) => "the package nftables is not installed".to_owned(),
            Err(errno) => format!("cannot make network namespaces, run as root ({errno})"),
        };
        assert!(env::var(REQUIRE).as_deref() != Ok("1"), "{lack}; {REQUIRE}=1 forbids skipping");
        let test = thread::current().name().unwrap_or("a test").to_owned();
        let _ = writeln!(io::stderr(), "SKIPPED {test}: {lack}");
        None
    }

    /// Works inside. Sockets made there, and programs started there, stay there.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel::<Result<T, Box<dyn Any + Send>>>();
        let job = move || drop(done.send(catch_unwind(AssertUnwindSafe(work))));
        self.jobs.send(Box::new(job)).expect("the thread lives as long as its namespace");
        result.recv().expect("the thread answers").unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// By which `ip link … netns` finds it.
    pub(crate) fn thread(&self) -> Pid {
        self.thread
    }
}

/// Held while a program is being started: until it runs, it has copies of all descriptors of all tests, among them
/// the sockets that tables end with.
static STARTING: Mutex<()> = Mutex::new(());

pub(crate) fn start(program: &mut Command) -> Child {
    let _alone = nothing_else_starts();
    program.spawn().unwrap()
}

/// Drops it, with nothing else that could keep its socket open.
pub(crate) fn release(kernel: Kernel) {
    let _alone = nothing_else_starts();
    drop(kernel);
}

fn nothing_else_starts() -> MutexGuard<'static, ()> {
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a program to success; for what it said.
pub(crate) fn sh(command: &str) -> String {
    let mut words = command.split_whitespace();
    let mut program = Command::new(words.next().unwrap());
    program.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = start(&mut program).wait_with_output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn sysctl(key: &str, value: &str) {
    fs::write(format!("/proc/sys/net/{key}"), value).unwrap();
}

/// An interface as the gateway would have made it.
pub(crate) fn make_tun() {
    sh("ip tuntap add dev vmsgate0 mode tun");
}

pub(crate) fn plan(masquerade: bool) -> Plan {
    Plan {
        interface: "vmsgate0".to_owned(),
        mtu: 1420,
        addresses: vec!["10.99.0.1/16".parse().unwrap(), "fd00:99::1/64".parse().unwrap()],
        routes: vec!["10.99.0.0/16".parse().unwrap(), "fd00:99::/64".parse().unwrap()],
        masquerade,
    }
}

fn has_nft() -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join("nft").is_file())
}

fn prepare() {
    sh("ip link set lo up");
    sysctl("ipv6/conf/all/disable_ipv6", "0");
    sysctl("ipv6/conf/default/disable_ipv6", "0");
    sysctl("ipv6/conf/default/accept_dad", "0");
    sysctl("ipv4/ip_forward", "1");
    sysctl("ipv6/conf/all/forwarding", "1");
}
