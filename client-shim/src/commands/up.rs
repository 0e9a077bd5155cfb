//! `vmsgate-shim up`

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use vmsgate_cli::args::OutputArgs;
use vmsgate_cli::{CliError, Exit, OrFail, Printer};
use vmsgate_shim::hosts::HostsFile;
use vmsgate_shim::profile::{self, Profile, ProfileError};
use vmsgate_shim::proxy::{Access, Password, Proxy};
#[cfg(any(target_os = "linux", windows))]
use vmsgate_shim::tun::Adapter;
use vmsgate_shim::{Event, Forward, Report, Shim, loopback};

use super::ending::Ending;
use super::first_answer::FirstAnswer;
use super::hosts::Names;
use super::view::{REFRESH, Screen};
use crate::cli::{Mode, SocksArgs, UpArgs};
use crate::instance::{Instance, InstanceError, PLACE_HINT};

/// The port that IANA has registered for SOCKS.
const SOCKS_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1080);

pub fn execute(args: &UpArgs, output: &OutputArgs, printer: &Printer) -> Result<Exit, CliError> {
    let UpArgs { profile: path, mode, forwards, hosts, socks, .. } = args;
    #[cfg(any(target_os = "linux", windows))]
    if args.interface.is_some() && *mode != Mode::Tun {
        return Err(CliError::user("--interface is for --mode tun").hint("add `--mode tun`, or leave it out"));
    }
    let access = access(*mode, socks)?;
    let screen = Screen::choose(printer, output);
    let profile = read_profile(path)?;
    probe_forwards(forwards)?;
    // While there is one thread: rights belong to threads.
    let way = match mode {
        Mode::Loopback | Mode::Socks => Way::Listeners,
        #[cfg(any(target_os = "linux", windows))]
        Mode::Tun => Way::Interface(open_adapter(&profile, path, args.interface.as_deref())?),
    };
    super::on_this_thread(async {
        let instance = claim(&profile, printer)?;
        let way = match access {
            Some(access) => Way::Proxy(proxy(socks, access)?),
            None => way,
        };
        let hosts = hosts.clone().map(|file| file.map_or_else(HostsFile::of_this_machine, HostsFile::at));
        let names = hosts.map(|file| Names::prepare(file, &profile.name)).transpose()?;
        run(profile, forwards.clone(), way, screen, instance, names).await
    })?
}

/// How programs reach the servers.
enum Way {
    Listeners,
    Proxy(Proxy),
    #[cfg(any(target_os = "linux", windows))]
    Interface(Adapter),
}

/// Who may use the proxy, where there is to be one.
fn access(mode: Mode, socks: &SocksArgs) -> Result<Option<Access>, CliError> {
    let SocksArgs { listen, password_file, no_password } = socks;
    if mode != Mode::Socks {
        let unused = listen.is_some() || password_file.is_some() || *no_password;
        let error = CliError::user("--socks-… is about the proxy, which --mode socks starts");
        return if unused { Err(error.hint("add --mode socks")) } else { Ok(None) };
    }
    let Some(path) = password_file else {
        return Ok(Some(if *no_password { Access::open() } else { Access::with(Password::random()) }));
    };
    refuse_open_to_others(path, "the proxy's password")?;
    let password = Password::from_file(path)
        .map_err(|error| CliError::user(error).hint("write the password into it, on a line of its own"))?;
    Ok(Some(Access::with(password)))
}

fn proxy(socks: &SocksArgs, access: Access) -> Result<Proxy, CliError> {
    Proxy::bind(socks.listen.unwrap_or(SOCKS_LISTEN), access).map_err(|error| {
        let hint = error.hint();
        CliError::user(error).hint(hint)
    })
}

#[cfg(any(target_os = "linux", windows))]
fn open_adapter(profile: &Profile, path: &Path, interface: Option<&str>) -> Result<Adapter, CliError> {
    Adapter::open(profile, interface).map_err(|error| {
        let hint = error.hint(&format!("vmsgate-shim up {} --mode tun", path.display()));
        CliError::user(error).hint(hint)
    })
}

/// Reads a profile that is its owner's alone, as ssh does with a private key.
pub fn read_profile(path: &Path) -> Result<Profile, CliError> {
    refuse_open_to_others(path, "your private key")?;
    Profile::read(path).map_err(refused)
}

fn refuse_open_to_others(path: &Path, secret: &str) -> Result<(), CliError> {
    let Some(mode) = profile::open_to_others(path) else { return Ok(()) };
    let file = path.display();
    let error = CliError::user(format!("{file} holds {secret}, and others may use it (mode {mode:03o})"));
    Err(error.hint(format!("make it yours alone: chmod 600 {file}")))
}

/// A port that was asked for by name and cannot be had is told before anything is begun.
fn probe_forwards(forwards: &[Forward]) -> Result<(), CliError> {
    for forward in forwards {
        loopback::probe(forward).map_err(|trouble| {
            CliError::user(format!("cannot forward {forward}: {}", trouble.message)).hint(trouble.hint)
        })?;
    }
    Ok(())
}

/// The profile cannot be used.
pub fn refused(error: ProfileError) -> CliError {
    let hint = error.hint();
    let error = CliError::user(error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Makes `status` and `hosts` work, and the profile ours. Where there is no place for that, the tunnel still works.
pub fn claim(profile: &Profile, printer: &Printer) -> Result<Option<Instance>, CliError> {
    match Instance::claim(&profile.name) {
        Ok(instance) => Ok(Some(instance)),
        Err(error @ InstanceError::AlreadyUp(_)) => Err(CliError::user(error).hint(
            "`vmsgate-shim status` shows it; end it first, or get a second device a profile of its own",
        )),
        Err(error) => {
            printer.warning(format_args!("`status` and `hosts` will not work: {error}"))?;
            printer.hint(PLACE_HINT)?;
            Ok(None)
        }
    }
}

async fn run(
    profile: Profile,
    forwards: Vec<Forward>,
    way: Way,
    mut screen: Screen<'_>,
    mut instance: Option<Instance>,
    names: Option<Names>,
) -> Result<Exit, CliError> {
    let mut ending = Ending::listen().or_unexpected("cannot wait for Ctrl-C")?;
    let mut refresh = tokio::time::interval(REFRESH);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);

    let (tell, mut events) = mpsc::unbounded_channel();
    let first_answer = FirstAnswer::new(&profile);
    let (shim, access) = match way {
        Way::Listeners => (Shim::start(profile, forwards, tell), None),
        Way::Proxy(proxy) => {
            let access: Rc<Access> = proxy.access();
            (Shim::start_with_proxy(profile, forwards, proxy, tell), Some(access))
        }
        #[cfg(any(target_os = "linux", windows))]
        Way::Interface(adapter) => {
            let shim = Shim::start_routing(profile, forwards, adapter, tell);
            (shim.or_unexpected("cannot use the network interface")?, None)
        }
    };
    let given_up = first_answer.given_up(shim.link());
    tokio::pin!(given_up);
    let (report, rotate, doctor) = (shim.reporter(), shim.rotator(), shim.doctor());
    let serve = async {
        match &mut instance {
            Some(instance) => instance.serve(report, rotate, doctor, access).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(serve);
    screen.open().or_unexpected("cannot use the terminal")?;
    let shown = loop {
        let shown = tokio::select! {
            Some(event) = events.recv() => {
                keep(names.as_ref(), &event, &shim.report());
                screen.event(&event, &shim.report())
            }
            _ = refresh.tick(), if screen.is_live() => screen.refresh(&shim.report()),
            input = screen.input() => match screen.follow(input, &shim.report()) {
                Ok(true) => break Ok(()),
                Ok(false) => Ok(()),
                Err(error) => Err(error),
            },
            error = &mut given_up => break Err(error),
            () = &mut serve => Ok(()),
            () = ending.wished() => break Ok(()),
        };
        if let Err(error) = shown {
            break Err(error.into());
        }
    };
    let closed = screen.close(&shim.report());
    shim.stop().await;
    shown?;
    closed?;
    Ok(Exit::Done)
}

/// Keeps the hosts file in line with the servers.
fn keep(names: Option<&Names>, event: &Event, report: &Report) {
    let updated = names.filter(|_| *event == Event::SiteChanged).map(|names| names.update(report));
    if let Some(Err(error)) = updated {
        let reason = CliError::user(error).chain().collect::<Vec<_>>().join(": ");
        tracing::warn!(reason, "the servers are not found by name");
    }
}
