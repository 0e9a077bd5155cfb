//! The command line: types only. What a command does is in the file of its name under `commands/`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use vmsgate_cli::args::OutputArgs;
use vmsgate_cli::{DocumentCommand, EXIT_STATUS_HELP};
use vmsgate_shim::Forward;
use vmsgate_shim::forward::parse_listen;

/// Reach a video management system through its Vmsgate gateway
///
/// Needs no administrator rights: it changes no route and no network interface, and gives each server of the site a
/// loopback address of its own on this machine. (Only --mode tun does, and needs the right to.)
#[derive(Debug, Parser)]
#[command(name = "vmsgate-shim", version, propagate_version = true, after_long_help = EXIT_STATUS_HELP)]
pub struct Cli {
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Connect, and stay connected until Ctrl-C
    ///
    /// Asks the gateway which servers the profile's role may reach, and listens for them on loopback addresses, each
    /// with the server's own ports; or, with --mode socks, serves as a proxy on one loopback port, to which programs
    /// name the servers themselves. Survives restarts of the gateway, changes of network, and sleep.
    ///
    /// With --mode tun the servers' own addresses lead into the tunnel, those of the role and nothing else, through a
    /// network interface that is gone when the shim ends, however it ends. That needs the right to configure the network:
    /// run it by sudo, or once `sudo setcap cap_net_admin+ep $(command -v vmsgate-shim)`; on Windows as an administrator,
    /// with wintun.dll from www.wintun.net beside this program.
    ///
    /// On a terminal it shows a live view; `q` or Ctrl-C ends it. Elsewhere, and with --log-format, it prints the servers
    /// when they change, and a log. With --json that is the report that `status --json` prints; with --quiet there are
    /// errors only.
    #[command(after_long_help = after_help!("\
  vmsgate-shim up alice.conf
  vmsgate-shim up alice.conf --forward 8443=mgmt:443
  vmsgate-shim up alice.conf --mode socks
  sudo vmsgate-shim up alice.conf --mode tun
  vmsgate-shim up alice.conf --mode socks --socks-listen 127.0.0.1:1081 --socks-password-file proxy-password
  vmsgate-shim up alice.conf --forward 127.0.0.2:7563=rec01:7563 --forward '[::1]:80=mgmt:80'"))]
    Up(UpArgs),

    /// Turn an invitation from your administrator into a profile
    ///
    /// Makes a key pair here, has the gateway register it, and writes a WireGuard .conf file. The private key never
    /// leaves this machine. An invitation is good for one device and until it expires; when this breaks off anywhere,
    /// run it again with the same invitation.
    ///
    /// Without TOKEN the invitation is asked for. As an argument it can be seen by others on this machine (`ps`) and
    /// stays in the shell's history; once this has worked it is worth nothing.
    #[command(after_long_help = after_help!("\
  vmsgate-shim enroll
  vmsgate-shim enroll vgi1-AbCd… --out alice.conf
  vmsgate-shim enroll - --out alice.conf < invitation.txt"))]
    Enroll(EnrollArgs),

    /// Replace the key of a profile now
    ///
    /// Makes a new key pair, has the gateway register it, and writes it into the profile. Open connections notice
    /// nothing. Asks the running shim to do it, or opens the tunnel for that if none runs. A running shim also does it
    /// by itself, before the key is older than the gateway allows.
    #[command(after_long_help = after_help!("\
  vmsgate-shim rotate
  vmsgate-shim rotate alice.conf --json"))]
    Rotate(InstanceArgs),

    /// Show the running shim: connection, keys, servers, ports
    ///
    /// Exit status 0 if it is connected, 1 if it is not or does not run.
    #[command(after_long_help = after_help!("\
  vmsgate-shim status
  vmsgate-shim status --show-password
  vmsgate-shim status alice --json"))]
    Status(StatusArgs),

    /// Look at everything between this machine and the servers, and say what to do
    ///
    /// One page of findings: the profile, the gateway's name, whether it answers, clocks, round trip, loss, packet sizes,
    /// rates, each service of each server with its certificate, names, and ports of this machine. Each finding has a verdict (ok,
    /// note, warning, problem, skipped), and what to do where something is wrong; docs/doctor.md explains them all.
    ///
    /// Asks the shim that runs with PROFILE to look, or opens the tunnel for that if none runs. It connects to each service
    /// and says at most a TLS greeting; like everything that reaches a server, that is in the gateway's log.
    ///
    /// Exit status 0 if there is no problem, 1 if there is one.
    #[command(after_long_help = after_help!("\
  vmsgate-shim doctor alice.conf
  vmsgate-shim doctor
  vmsgate-shim doctor alice.conf --json > doctor.json"))]
    Doctor(InstanceArgs),

    /// Make programs find the servers by name: this machine's hosts file
    ///
    /// Each profile has a block in it, between two marks, and nothing else in the file is touched. The addresses stay
    /// the same in every run, so it has to be put there once; `up --hosts` does it for as long as it runs.
    ///
    /// Where changing the file takes an administrator, the command to give him is printed. --apply with `-` reads the
    /// block from standard input and needs no running shim.
    ///
    /// A VMS that hands out addresses and not names is not helped by any hosts file: use `up --mode socks` or, as an
    /// administrator, `up --mode tun`.
    #[command(after_long_help = after_help!("\
  vmsgate-shim hosts
  vmsgate-shim hosts | sudo vmsgate-shim hosts --apply -
  vmsgate-shim hosts --check --json
  sudo vmsgate-shim hosts --remove alice"))]
    Hosts(HostsArgs),

    /// Set up a profile for yourself: an entry in the menu, and start at log-on
    ///
    /// Copies this program to where it can stay, and makes the entries, all in your own folders and without any rights of
    /// an administrator. Linux: ~/.local/bin, a systemd unit of yours (`systemctl --user`), an entry in the desktop's
    /// menu. Windows: %LOCALAPPDATA%\Programs\Vmsgate, shortcuts in the Start menu and its Startup folder. The profile
    /// stays where it is: put it into a folder where it can stay first. Once more after an update replaces the program.
    #[cfg(any(target_os = "linux", windows))]
    #[command(after_long_help = after_help!("\
  vmsgate-shim install alice.conf
  vmsgate-shim install alice.conf --no-log-on"))]
    Install(InstallArgs),

    /// Remove what `install` made
    ///
    /// For one profile, or without PROFILE for all of them. Profiles stay.
    #[cfg(any(target_os = "linux", windows))]
    #[command(after_long_help = after_help!("\
  vmsgate-shim uninstall
  vmsgate-shim uninstall alice"))]
    Uninstall(InstanceArgs),

    /// Write a profile whose key is not sealed
    ///
    /// `enroll` and `rotate` have Windows seal the private key: only you can use it, and on this machine only. This
    /// writes an ordinary WireGuard .conf file with the key in clear, for another WireGuard program.
    #[cfg(windows)]
    #[command(after_long_help = after_help!("\
  vmsgate-shim export alice.conf --out stock.conf"))]
    Export(ExportArgs),

    #[command(flatten)]
    Document(DocumentCommand),

    /// What `up --mode tun` starts to keep the routes; not for use by hand
    #[cfg(target_os = "linux")]
    #[command(hide = true, after_long_help = after_help!("\
  vmsgate-shim up alice.conf --mode tun"))]
    KeepRoutes {
        /// The network interface
        interface: String,
    },
}

#[derive(Debug, Args)]
pub struct UpArgs {
    /// The WireGuard .conf file that your administrator gave you
    pub profile: PathBuf,

    /// How programs reach the servers
    #[arg(long, value_enum, default_value_t = Mode::Loopback)]
    pub mode: Mode,

    /// The name of the network interface of --mode tun [default: vmsgate0 or the next free number; on Windows
    /// vmsgate-PROFILE]
    #[cfg(any(target_os = "linux", windows))]
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,

    /// Listen on PORT of ADDR [default: 127.0.0.1] for HOST:PORT of the site; may be given several times
    ///
    /// HOST is a server's name, one of its host names, or an address; IPv6 in brackets.
    #[arg(long = "forward", value_name = "[ADDR:]PORT=HOST:PORT")]
    pub forwards: Vec<Forward>,

    /// Keep the servers' names in the hosts file while it runs [default of FILE: the system's]
    ///
    /// Takes them out at the end. What a killed shim left behind is put right at the next start.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub hosts: Option<Option<PathBuf>>,

    #[command(flatten)]
    pub socks: SocksArgs,
}

/// The proxy of SOCKS mode.
#[derive(Debug, Args)]
pub struct SocksArgs {
    /// With --mode socks: where programs find the proxy [default: 127.0.0.1:1080]
    ///
    /// ADDR is a loopback address; port 0 is any free one, which `status` tells.
    #[arg(long = "socks-listen", value_name = "[ADDR:]PORT", value_parser = parse_listen)]
    pub listen: Option<SocketAddr>,

    /// With --mode socks: take the proxy's password from this file, one line, instead of a new random one
    #[arg(long = "socks-password-file", value_name = "FILE", conflicts_with = "no_password")]
    pub password_file: Option<PathBuf>,

    /// With --mode socks: let every program on this machine in, whoever runs it
    ///
    /// For programs that cannot give a password to a SOCKS proxy, browsers among them. Everybody who uses this machine
    /// can then use your access.
    #[arg(long = "socks-no-password")]
    pub no_password: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Each server has a loopback address of its own, with its own ports
    Loopback,
    /// Programs use one port of this machine as their proxy (SOCKS5 or HTTP) and name the servers to it
    Socks,
    /// Each server has its own address, which leads into the tunnel; needs the right to configure the network
    #[cfg(any(target_os = "linux", windows))]
    Tun,
}

#[derive(Args)]
pub struct EnrollArgs {
    /// The invitation: one line that begins with `vgi1-`; `-` reads it from standard input
    pub token: Option<String>,

    /// Where to write the profile [default: NAME.conf in the present folder]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

impl std::fmt::Debug for EnrollArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrollArgs").field("out", &self.out).finish_non_exhaustive()
    }
}

#[cfg(any(target_os = "linux", windows))]
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// The profile's file
    pub profile: PathBuf,

    /// Do not start it at log-on
    #[arg(long)]
    pub no_log_on: bool,
}

#[cfg(windows)]
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The profile's file
    pub profile: PathBuf,

    /// Where to write it [default: to standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("task").args(["print", "apply", "remove", "check"]))]
#[command(group = ArgGroup::new("change").args(["apply", "remove"]))]
pub struct HostsArgs {
    /// Print the block [this is the default]
    #[arg(long)]
    pub print: bool,

    /// Put the block into the hosts file, in place of the profile's old one
    #[arg(long)]
    pub apply: bool,

    /// Take the profile's block out of the hosts file
    #[arg(long)]
    pub remove: bool,

    /// Show where each name leads; exit status 1 if any does not lead to the shim
    #[arg(long)]
    pub check: bool,

    /// The hosts file to change [default: the system's]
    #[arg(long, value_name = "FILE", requires = "change")]
    pub file: Option<PathBuf>,

    /// The profile, if several run: its file, or its name without `.conf`; `-` with --apply
    pub profile: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct InstanceArgs {
    /// The profile it was started with, if several run: the file, or its name without `.conf`
    pub profile: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub instance: InstanceArgs,

    /// Show the proxy's password too, if it runs in SOCKS mode
    #[arg(long)]
    pub show_password: bool,
}

/// The end of a command's long help: examples, then what the exit status means.
macro_rules! after_help {
    ($examples:expr) => {
        format!("Examples:\n  {}\n\n{EXIT_STATUS_HELP}", $examples)
    };
}
use after_help;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_has_help_with_examples_and_exit_status() {
        let mut cli = Cli::command();
        cli.build();
        for command in cli.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Examples:\n  vmsgate-shim "), "{help}");
            assert!(help.contains("Exit status:\n  0  done"), "{help}");
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_bad_forward_is_refused_with_its_reason() {
        let error = Cli::try_parse_from(["vmsgate-shim", "up", "a.conf", "--forward", "0.0.0.0:80=mgmt:80"]);
        assert!(error.unwrap_err().to_string().contains("0.0.0.0 is not a loopback address"));
        let error = Cli::try_parse_from(["vmsgate-shim", "up", "a.conf", "--socks-listen", "0.0.0.0:1080"]);
        assert!(error.unwrap_err().to_string().contains("0.0.0.0 is not a loopback address"));
    }
}
