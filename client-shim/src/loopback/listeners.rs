//! The listeners of the plan, opened, closed and redirected as the plan changes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_local};

use super::{Origin, Plan, Planned};
use crate::carrier::Carrier;
use crate::forward::Forward;
use crate::target::Target;

/// Pause after a failed accept: out of file descriptors, which lasts.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What is wrong with a listener, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    pub message: String,
    pub hint: String,
}

/// All listeners of the present plan.
#[derive(Debug, Default)]
pub struct Listeners(BTreeMap<SocketAddr, Entry>);

#[derive(Debug)]
struct Entry {
    planned: Planned,
    state: Result<Open, Trouble>,
}

/// An open listener; dropping it closes it. Its connections go on.
#[derive(Debug)]
struct Open {
    target: Rc<RefCell<Target>>,
    accepting: JoinHandle<()>,
}

impl Trouble {
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

impl Listeners {
    /// Brings the listeners in line with `plan`: closes what is no longer in it, redirects what changed, opens what is
    /// new, and tries again what failed before.
    pub fn apply(&mut self, plan: Plan, carrier: &Carrier) {
        let mut before = std::mem::take(&mut self.0);
        for (listen, planned) in plan {
            let open = before.remove(&listen).and_then(|entry| entry.state.ok());
            let state = planned.target.clone().and_then(|target| match open {
                Some(open) => {
                    *open.target.borrow_mut() = target;
                    Ok(open)
                }
                None => open_listener(listen, target, &planned.origin, carrier),
            });
            self.0.insert(listen, Entry { planned, state });
        }
    }

    /// Every listener with what is wrong with it, if anything is.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, &Planned, Option<&Trouble>)> {
        self.0.iter().map(|(listen, entry)| (*listen, &entry.planned, entry.state.as_ref().err()))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Whether a forward's port can be had, before anything is begun for it.
///
/// # Errors
/// Why it cannot, and what to do.
pub fn probe(forward: &Forward) -> Result<(), Trouble> {
    let origin = Origin::Forward(forward.to_string());
    let bound = std::net::TcpListener::bind(forward.listen);
    bound.map(drop).map_err(|error| explain(forward.listen, &origin, &error))
}

/// Listens for a moment, to see whether it is possible.
pub(crate) fn try_listen(listen: SocketAddr, planned: &Planned) -> Result<(), Trouble> {
    planned.target.as_ref().map_err(Clone::clone)?;
    let bound = std::net::TcpListener::bind(listen);
    bound.map(drop).map_err(|error| explain(listen, &planned.origin, &error))
}

fn open_listener(
    listen: SocketAddr,
    target: Target,
    origin: &Origin,
    carrier: &Carrier,
) -> Result<Open, Trouble> {
    let bound = std::net::TcpListener::bind(listen).and_then(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    let listener = bound.map_err(|error| explain(listen, origin, &error))?;
    let target = Rc::new(RefCell::new(target));
    let accepting = spawn_local(accept(listener, target.clone(), carrier.clone()));
    Ok(Open { target, accepting })
}

async fn accept(listener: TcpListener, target: Rc<RefCell<Target>>, carrier: Carrier) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let target = target.borrow().clone();
                spawn_local(carrier.clone().carry(socket, target));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn explain(listen: SocketAddr, origin: &Origin, error: &io::Error) -> Trouble {
    let (ip, port) = (listen.ip(), listen.port());
    let elsewhere = match origin {
        Origin::Server { name, .. } => {
            let free = if port < 1024 { port + 8000 } else { port.checked_add(1).unwrap_or(1024) };
            format!("use another port: --forward {}={name}:{port}", SocketAddr::new(ip, free))
        }
        Origin::Forward(_) => "choose another local port".to_owned(),
    };
    match error.kind() {
        io::ErrorKind::PermissionDenied => refused(port, elsewhere),
        io::ErrorKind::AddrInUse => Trouble::new(
            format!("port {port} of {ip} is used by another program"),
            format!("end that program, or {elsewhere}"),
        ),
        io::ErrorKind::AddrNotAvailable => Trouble::new(
            format!("this system does not lend {ip} to programs"),
            "use --forward with 127.0.0.1, one port for each service that you need",
        ),
        _ => Trouble::new(format!("cannot listen on {listen}: {error}"), elsewhere),
    }
}

/// The system says no: Unix keeps the low ports for root, Windows what a program or Hyper-V has reserved.
fn refused(port: u16, elsewhere: String) -> Trouble {
    if cfg!(windows) {
        return Trouble::new(
            format!("Windows has reserved port {port}"),
            format!(
                "{elsewhere}; `netsh interface ipv4 show excludedportrange protocol=tcp` lists what it has reserved"
            ),
        );
    }
    let mut hint = elsewhere;
    if cfg!(target_os = "linux") {
        hint += &format!(", or have the system allow it: sysctl net.ipv4.ip_unprivileged_port_start={port}");
    }
    Trouble::new(format!("port {port} is below 1024, and this system reserves those"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Origin {
        Origin::Server { name: "mgmt".to_owned(), service: "management-server".to_owned() }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_failed_listener_says_why_and_what_to_do() {
        let listen: SocketAddr = "127.70.1.2:443".parse().unwrap();
        let of = |kind: io::ErrorKind| explain(listen, &server(), &kind.into());

        let reserved = of(io::ErrorKind::PermissionDenied);
        assert_eq!(reserved.message, "port 443 is below 1024, and this system reserves those");
        assert_eq!(
            reserved.hint,
            "use another port: --forward 127.70.1.2:8443=mgmt:443, or have the system allow it: \
             sysctl net.ipv4.ip_unprivileged_port_start=443"
        );
        let taken = of(io::ErrorKind::AddrInUse);
        assert_eq!(taken.message, "port 443 of 127.70.1.2 is used by another program");
        assert!(taken.hint.ends_with("--forward 127.70.1.2:8443=mgmt:443"), "{}", taken.hint);
        assert!(of(io::ErrorKind::AddrNotAvailable).hint.contains("--forward"));
    }
}
