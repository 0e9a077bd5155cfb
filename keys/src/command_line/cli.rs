//! The command line: types only. The comments are the help.

use std::{path::PathBuf, time::Duration};

use crate::{ClientName, Operator, PublicKey, Remark};
use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use vmsgate_cli::{
    DocumentCommand, EXIT_STATUS_HELP,
    args::{InstallationArgs, OutputArgs},
    time::{TimeArg, TimeArgError, parse_duration},
};
use vmsgate_config::address::Endpoint;

/// Keys, clients and identities of a Vmsgate gateway
///
/// Changes take effect in a running gateway within two seconds, without dropping anyone else. Each is recorded
/// in the audit log together with who made it.
#[derive(Debug, Parser)]
#[command(name = "vmsgate-keys", version, propagate_version = true)]
#[command(after_long_help = examples(&[
    "vmsgate-keys init --endpoint vpn.example.org:51820 -c /etc/vmsgate/gateway.toml",
    "vmsgate-keys client add anna-laptop --role smart-client --operator 'Anna Berg' --out anna.conf",
    "vmsgate-keys client revoke anna-laptop --reason 'laptop stolen'",
]))]
pub struct Cli {
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub installation: InstallationArgs,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new installation: data directory, keystore, registry and the gateway's first key pair
    ///
    /// Asks twice for the passphrase of the keystore unless --passphrase-file names one. Overwrites nothing. If
    /// --config names a file that does not exist, a commented starter configuration is written there.
    #[command(after_long_help = examples(&[
        "vmsgate-keys init --endpoint vpn.example.org:51820",
        "vmsgate-keys -c gateway.toml --data ./data --passphrase-file pass.txt init --endpoint 192.0.2.10:51820",
    ]))]
    Init(InitArgs),

    /// Add, list and change clients
    #[command(subcommand)]
    #[command(after_long_help = examples(&["vmsgate-keys client list", "vmsgate-keys client suspend anna-laptop"]))]
    Client(ClientCommand),

    /// Show the gateway's identities, and replace them without an interruption
    #[command(subcommand)]
    #[command(after_long_help = examples(&["vmsgate-keys gateway show --json", "vmsgate-keys gateway rotate"]))]
    Gateway(GatewayCommand),

    /// Print a new private key, as `wg genkey`
    #[command(after_long_help = examples(&["(umask 077; vmsgate-keys genkey > private.key)"]))]
    Genkey,

    /// Print the public key of the private key on stdin, as `wg pubkey`
    #[command(after_long_help = examples(&["vmsgate-keys pubkey < private.key"]))]
    Pubkey,

    /// Print a new pre-shared key, as `wg genpsk`
    #[command(after_long_help = examples(&["(umask 077; vmsgate-keys genpsk > preshared.key)"]))]
    Genpsk,

    /// Change the passphrase of the keystore
    ///
    /// The registry and the keys in it stay as they are. A running gateway keeps running; its passphrase file has
    /// to hold the new one before it starts again.
    #[command(after_long_help = examples(&[
        "vmsgate-keys passwd",
        "vmsgate-keys --passphrase-file old.txt passwd --new-passphrase-file new.txt",
    ]))]
    Passwd(PasswdArgs),

    /// Write keystore and registry to one sealed file
    ///
    /// Works while the gateway runs. The file opens with the passphrase that the keystore has now. The audit log is not
    /// in it: see `vmsgate audit export` and `vmsgate audit checkpoint`. Overwrites nothing.
    #[command(after_long_help = examples(&[
        "vmsgate-keys backup /mnt/safe/vmsgate.backup",
        "vmsgate-keys --passphrase-file pass.txt backup \"/mnt/safe/vmsgate-$(date +%F).backup\"",
    ]))]
    Backup {
        /// A new file; only you may read it
        #[arg(value_name = "OUT")]
        file: PathBuf,
    },

    /// Make an installation from a backup, in an empty data directory
    ///
    /// Everything is as it was when the backup was made: clients that were revoked after that are active again, and keys
    /// that changed after that do not work. The audit log begins anew, with a record of where it comes from. A
    /// restoration that was interrupted is simply repeated.
    #[command(after_long_help = examples(&[
        "vmsgate-keys restore --dry-run /mnt/safe/vmsgate.backup",
        "vmsgate-keys --data /var/lib/vmsgate restore /mnt/safe/vmsgate.backup",
    ]))]
    Restore(RestoreArgs),

    #[command(flatten)]
    Document(DocumentCommand),
}

#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// A file that `vmsgate-keys backup` wrote
    #[arg(value_name = "IN")]
    pub file: PathBuf,

    /// Restore into a temporary directory (below $TMPDIR, or /tmp), open every secret, show what it holds, and remove it
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args, Debug)]
pub struct InitArgs {
    /// Where clients reach the gateway from the internet; needed unless a configuration names it
    #[arg(long, value_name = "HOST:PORT")]
    pub endpoint: Vec<Endpoint>,

    /// Range that the tunnel's addresses come from, once for IPv4 and once for IPv6
    /// [default: 10.99.0.0/16 and fd00:99::/64]
    #[arg(long, value_name = "CIDR")]
    pub tunnel: Vec<IpNet>,

    /// Name of the gateway in profiles and records [default: gw-1]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Add a client and show its profile, once
    ///
    /// The profile is a stock WireGuard configuration with the client's private key, which is stored nowhere else.
    /// With --public-key the device keeps a key pair that it made itself.
    #[command(after_long_help = examples(&[
        "vmsgate-keys client add anna-laptop --role smart-client --operator 'Anna Berg' --out anna.conf",
        "vmsgate-keys client add anna-phone --role web-mobile --operator 'Anna Berg' --expires 90d --qr",
        "vmsgate-keys client add guest --role smart-client --operator 'Bo' --public-key \"$(wg pubkey < key)\"",
    ]))]
    Add(AddArgs),

    /// Invite a person's device: print a token, once, that lets it make its own key and get its profile
    ///
    /// The token goes to `vmsgate-shim enroll`. It works once and reaches nothing but the enrolment. For a client that
    /// exists already, without --role and --operator, a new device takes over: the old key ends when the new one is
    /// heard. A new invitation ends an earlier one that was not used.
    #[command(after_long_help = examples(&[
        "vmsgate-keys client invite anna-laptop --role smart-client --operator 'Anna Berg'",
        "vmsgate-keys client invite anna-laptop --valid 1d --out token.txt",
    ]))]
    Invite(InviteArgs),

    /// Give a stock client a new profile; its present key keeps working for an overlap
    ///
    /// The present key ends with the overlap, or half a minute after the gateway heard the new one. Devices with
    /// vmsgate-shim rotate their keys themselves.
    #[command(after_long_help = examples(&[
        "vmsgate-keys client rotate anna-phone --qr",
        "vmsgate-keys client rotate anna-laptop --overlap 3d --out anna-new.conf",
    ]))]
    Rotate(RotateArgs),

    /// List all clients
    ///
    /// EXPIRES is when access ends. KEY AGE is that of the key on the device, and PQ is whether the last session was under
    /// a pre-shared key agreed with ML-KEM-768.
    #[command(after_long_help = examples(&["vmsgate-keys client list", "vmsgate-keys client list --json"]))]
    List,

    /// Show one client
    #[command(after_long_help = examples(&["vmsgate-keys client show anna-laptop"]))]
    Show { name: String },

    /// Cut a client off for now; its live flows end
    #[command(after_long_help = examples(&["vmsgate-keys client suspend anna-laptop --reason 'on leave'"]))]
    Suspend(SuspendArgs),

    /// Let a suspended client in again
    #[command(after_long_help = examples(&["vmsgate-keys client resume anna-laptop"]))]
    Resume { name: String },

    /// End a client for good; its live flows end
    ///
    /// Its name, key and addresses are never used again. Asks first on a terminal. Waits for the running gateways to
    /// confirm and reports when each forwarded the client's last packet; exit status 1 if one does not confirm in time.
    #[command(after_long_help = examples(&[
        "vmsgate-keys client revoke anna-laptop --reason 'laptop stolen' --yes",
        "vmsgate-keys client revoke anna-laptop --yes --wait 2m",
    ]))]
    Revoke(RevokeArgs),

    /// Set when a client's access ends
    #[command(after_long_help = examples(&[
        "vmsgate-keys client expire anna-laptop 30d",
        "vmsgate-keys client expire anna-laptop 2027-01-31T18:00:00+01:00",
        "vmsgate-keys client expire anna-laptop never",
    ]))]
    Expire {
        name: String,
        /// A length from now (90d, 12h), a date, a time with its offset, `now` or `never`
        #[arg(value_parser = expiry)]
        when: Expiry,
    },
}

#[derive(Args, Debug)]
pub struct AddArgs {
    /// One name per device; letters, digits, `-`, `_`, `.` and `@`
    pub name: ClientName,

    /// What the client may reach: a built-in role or one of the configuration
    #[arg(long)]
    pub role: String,

    /// The person who uses the device
    #[arg(long, value_name = "PERSON")]
    pub operator: Operator,

    /// When access ends: a length from now (90d), a date, or a time with its offset
    /// [default: `expires` of the role in the configuration, or else never]
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<TimeArg>,

    #[command(flatten)]
    pub profile: ProfileArgs,
}

#[derive(Args, Debug)]
pub struct SuspendArgs {
    pub name: String,

    /// Why; shown with the client and kept in the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<Remark>,
}

#[derive(Args, Debug)]
pub struct RevokeArgs {
    pub name: String,

    /// Why; shown with the client and kept in the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<Remark>,

    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,

    /// How long to wait for every running gateway to confirm [default: 5s; --wait alone: 60s]
    #[arg(long, value_name = "LENGTH", num_args = 0..=1, default_missing_value = "60s", value_parser = parse_duration)]
    pub wait: Option<Duration>,
}

#[derive(Args, Debug)]
pub struct InviteArgs {
    /// One name per device; letters, digits, `-`, `_`, `.` and `@`
    pub name: ClientName,

    /// What a new client may reach: a built-in role or one of the configuration
    #[arg(long, requires = "operator")]
    pub role: Option<String>,

    /// The person who uses the device of a new client
    #[arg(long, value_name = "PERSON", requires = "role")]
    pub operator: Option<Operator>,

    /// When the new client's access ends [default: `expires` of the role in the configuration, or else never]
    #[arg(long, value_name = "WHEN", requires = "role")]
    pub expires: Option<TimeArg>,

    /// How long the token can be used
    #[arg(long, value_name = "LENGTH", default_value = "7d", value_parser = parse_duration)]
    pub valid: Duration,

    /// Write the token to a new file that only you may read, instead of stdout
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// Show the token as a QR code, instead of text
    #[arg(long, conflicts_with = "json")]
    pub qr: bool,
}

/// Whose key a new profile is for, and how it is handed out.
#[derive(Args, Debug)]
pub struct ProfileArgs {
    /// Public key of a pair that the device made itself and keeps
    #[arg(long, value_name = "KEY")]
    pub public_key: Option<PublicKey>,

    /// Write the profile to a new file that only you may read, instead of stdout
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// Show the profile as a QR code for a phone, instead of text
    #[arg(long, conflicts_with = "json")]
    pub qr: bool,
}

#[derive(Args, Debug)]
pub struct RotateArgs {
    pub name: String,

    /// How long the present key keeps working
    #[arg(long, value_name = "LENGTH", default_value = "24h", value_parser = parse_duration)]
    pub overlap: Duration,

    #[command(flatten)]
    pub profile: ProfileArgs,
}

#[derive(Debug, Subcommand)]
pub enum GatewayCommand {
    /// Show name, endpoint, tunnel addresses and public keys of the gateway
    #[command(after_long_help = examples(&["vmsgate-keys gateway show", "vmsgate-keys gateway show --json"]))]
    Show,

    /// Make a new identity; the present one keeps answering until `gateway retire`
    ///
    /// New profiles name the new identity, and shims move to it by themselves. The overlap is a plan, not a deadline:
    /// nobody is locked out by a date.
    #[command(after_long_help = examples(&["vmsgate-keys gateway rotate", "vmsgate-keys gateway rotate --overlap 30d"]))]
    Rotate {
        /// How long the present identity is planned to answer
        #[arg(long, value_name = "LENGTH", default_value = "7d", value_parser = parse_duration)]
        overlap: Duration,
    },

    /// Show the identities and who still uses the retiring one
    ///
    /// Exit status 1 when clients have not moved and the planned overlap is over.
    #[command(after_long_help = examples(&["vmsgate-keys gateway status", "vmsgate-keys gateway status --json"]))]
    Status,

    /// End the retiring identity for good; its private key is overwritten
    ///
    /// Refuses while a client that was seen lately still uses it.
    #[command(after_long_help = examples(&["vmsgate-keys gateway retire", "vmsgate-keys gateway retire --seen-within 7d"]))]
    Retire {
        /// Only clients seen within this time stand in the way
        #[arg(long, value_name = "LENGTH", default_value = "30d", value_parser = parse_duration)]
        seen_within: Duration,

        /// Retire it all the same: clients that did not move need a new profile
        #[arg(long)]
        force: bool,
    },
}

#[derive(Args, Debug)]
pub struct PasswdArgs {
    /// File whose first line is the new passphrase [default: ask on the terminal]
    #[arg(long, value_name = "FILE")]
    pub new_passphrase_file: Option<PathBuf>,
}

/// When access ends, if ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    At(TimeArg),
    Never,
}

fn expiry(text: &str) -> Result<Expiry, TimeArgError> {
    if text == "never" { Ok(Expiry::Never) } else { text.parse().map(Expiry::At) }
}

fn examples(lines: &[&str]) -> String {
    format!("Examples:\n  {}\n\n{EXIT_STATUS_HELP}", lines.join("\n  "))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn check(command: &mut clap::Command, path: &str) {
        let help = command.render_long_help().to_string();
        assert!(
            help.contains("Examples:") && help.contains("vmsgate-keys "),
            "`{path} --help` lacks an example"
        );
        for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name());
            check(sub, &path);
        }
    }

    #[test]
    fn every_command_s_help_has_an_example() {
        let mut cli = Cli::command();
        cli.build();

        cli.clone().debug_assert();
        check(&mut cli, "vmsgate-keys");
    }

    #[test]
    fn expiry_can_be_never() {
        assert_eq!(expiry("never"), Ok(Expiry::Never));
        assert!(matches!(expiry("90d"), Ok(Expiry::At(TimeArg::Distance(_)))));
        assert!(expiry("nevr").is_err());
    }
}
