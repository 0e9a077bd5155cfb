//! Whether the shim's listeners have their ports, and who has them instead.

use std::net::SocketAddr;

use super::finding::{Finding, Id, Verdict};
use crate::loopback::{Listeners, Origin, Plan, Planned, Trouble, try_listen};

/// The listeners of a running shim.
pub(super) fn of_running(listeners: &Listeners) -> Vec<Finding> {
    listeners.iter().map(|(listen, planned, trouble)| judge(listen, planned, trouble, "listens")).collect()
}

/// What a shim would listen on that does not run.
pub(super) fn of_plan(plan: &Plan) -> Vec<Finding> {
    let tried = plan.iter().map(|(listen, planned)| {
        let trouble = try_listen(*listen, planned).err();
        judge(*listen, planned, trouble.as_ref(), "is free")
    });
    tried.collect()
}

fn judge(listen: SocketAddr, planned: &Planned, trouble: Option<&Trouble>, well: &str) -> Finding {
    let for_whom = match &planned.origin {
        Origin::Server { name, service } => format!("{service} of {name}"),
        Origin::Forward(text) => format!("--forward {text}"),
    };
    let finding = match trouble {
        None => Finding::ok(Id::PortsFree, format!("{well}, for {for_whom}")),
        Some(Trouble { message, hint }) => {
            let holder = holder(listen).map(|holder| format!(", by {holder}")).unwrap_or_default();
            let message = format!("does not listen for {for_whom}: {message}{holder}");
            Finding::new(Id::PortsFree, Verdict::Problem, message).advise(hint.clone())
        }
    };
    finding.about(listen.to_string())
}

/// The program that listens there, where the system lets this user see it.
fn holder(listen: SocketAddr) -> Option<String> {
    let all = listeners::get_all().ok()?;
    let has_it = |socket: SocketAddr| {
        socket.port() == listen.port() && (socket.ip() == listen.ip() || socket.ip().is_unspecified())
    };
    let tcp = all.into_iter().filter(|listener| {
        listener.protocol == listeners::Protocol::TCP && listener.state == listeners::SocketState::Listen
    });
    let holder = tcp.into_iter().find(|listener| has_it(listener.socket))?.process;
    Some(format!("{} (process {})", holder.name, holder.pid))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::target::Target;

    #[test]
    fn a_port_that_another_program_has_is_told_with_the_program() {
        let taken = TcpListener::bind("127.77.1.2:0").unwrap();
        let (taken_at, free_at) = (taken.local_addr().unwrap(), "127.77.1.2:0".parse().unwrap());
        let planned = Planned {
            origin: Origin::Server { name: "rec01".to_owned(), service: "recording-server".to_owned() },
            target: Ok(Target { remotes: Vec::new() }),
            doubt: None,
        };
        let plan = Plan::from([(taken_at, planned.clone()), (free_at, planned)]);

        let findings = of_plan(&plan);

        let of = |at: SocketAddr| findings.iter().find(|f| f.subject == Some(at.to_string())).unwrap();
        assert_eq!(of(free_at).verdict, Verdict::Ok);
        let finding = of(taken_at);
        assert_eq!(finding.verdict, Verdict::Problem);
        let expected = format!("port {} of 127.77.1.2 is used by another program, by ", taken_at.port());
        assert!(finding.message.contains(&expected), "{}", finding.message);
        assert!(
            finding.message.ends_with(&format!("(process {})", std::process::id())),
            "{}",
            finding.message
        );
    }
}
