//! The command line: types only. What a command does is in the file of its name under `commands/`.

use clap::{Parser, Subcommand};
use vmsgate_cli::{
    DocumentCommand, EXIT_STATUS_HELP,
    args::{InstallationArgs, OutputArgs},
};

use crate::commands::{
    audit::AuditCommand, check::CheckArgs, explain::ExplainArgs, health::HealthArgs, policy::PolicyCommand,
    records::RecordArgs, run::RunArgs, top::TopArgs, who::WhoArgs,
};

/// VPN gateway for video management systems
///
/// Ends WireGuard tunnels, forwards only the ports that each client's role needs, and can answer at any time
/// who accessed the system, from where, when, and what was refused.
#[derive(Debug, Parser)]
#[command(name = "vmsgate", version, propagate_version = true, after_long_help = EXIT_STATUS_HELP)]
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
    /// Run the gateway in the foreground
    ///
    /// Stops in order on SIGTERM and SIGINT. SIGHUP or a changed file reloads the configuration: whole or not at
    /// all. Changes of the registry apply within two seconds by themselves. With --endpoint the first start makes what
    /// is missing: the data directory's keystore and registry, and a starter configuration.
    #[command(after_long_help = after_help(&[
        "vmsgate run --passphrase-file /run/secrets/vmsgate",
        "vmsgate -c gateway.toml --data ./data --passphrase-file ./passphrase run",
    ]))]
    Run(RunArgs),

    /// Show the whole product on this machine: no root, no configuration, no network
    ///
    /// A simulated VMS, a gateway, and a client behind the shim, in one process. Ends by itself in under 30 seconds.
    /// Exit status 0 if every step held.
    #[command(after_long_help = after_help(&["vmsgate demo"]))]
    Demo,

    /// Check the configuration file and say what is wrong with it
    ///
    /// Reads the file as `run` would, changes nothing, and prints every finding with its line and a hint.
    /// Exit status 1 if the file cannot be used; warnings alone are no failure. With --compliance it lists the measures
    /// of docs/compliance.md, met or not met and why; exit status 1 if one is not met.
    ///
    /// With --diff the running gateway says what the file would change: what each role loses and gains, and which live
    /// flows of whom would be cut. Nothing is changed. As with `diff`, exit status 0 means that nothing changes for anybody
    /// and 1 that something does, or that the file cannot be used. Work on a copy: the gateway takes its own file by itself.
    #[command(after_long_help = after_help(&[
        "vmsgate check",
        "vmsgate -c new.toml check --json",
        "vmsgate check --compliance",
        "vmsgate -c new.toml check --diff",
    ]))]
    Check(CheckArgs),

    /// Put the configuration file in force now, and say what changed or why it was refused
    ///
    /// The running gateway also does so by itself within a second of a change of the file, and on SIGHUP; it takes a file
    /// whole or not at all. Exit status 0 if the file is in force, 1 if it was refused and the old one stays.
    #[command(after_long_help = after_help(&[
        "vmsgate reload",
        "vmsgate --data /var/lib/vmsgate reload --json",
    ]))]
    Reload,

    /// Say whether a client may reach something, and by which rule
    ///
    /// Asks the same function that judges packets, and names the rule that decided, with the line of the file that has it,
    /// or the role that lacks one. Exit status 0 if all of it is allowed, 1 if not.
    #[command(after_long_help = after_help(&[
        "vmsgate explain --role smart-client --to rec01:recording-server",
        "vmsgate explain --client anna-laptop --to 192.168.10.10:1433",
        "vmsgate explain --role integration --to '[fd00:10::21]:554/udp'",
    ]))]
    Explain(ExplainArgs),

    /// Show the running gateway: health, sessions, counters
    ///
    /// Asks through `control.sock` in the data directory, which only the gateway's own user may open. Exit
    /// status 0 if the gateway is ready, 1 if it is not or does not run.
    #[command(after_long_help = after_help(&[
        "vmsgate status",
        "vmsgate --data /var/lib/vmsgate status --json",
    ]))]
    Status,

    /// Watch the running gateway: who is there, what they move, what is refused, as it happens
    ///
    /// Sort (s), filter (/), look at one client and its open flows (Enter), and cut a client off (c): that suspends it, for a
    /// reason which is recorded, and `vmsgate-keys client resume` lets it in again. Rates are those of the last second; refused
    /// attempts come from the audit log and are there after ten seconds at most. That the log is read is recorded. Without a
    /// terminal, or with --json, it prints what it saw in one second and ends.
    #[command(after_long_help = after_help(&[
        "vmsgate top",
        "vmsgate top --sort flows --filter smart-client",
        "vmsgate top --json",
    ]))]
    Top(TopArgs),

    /// Ask the running gateway whether it can do its job: for probes of containers and supervisors
    ///
    /// Prints what does not hold. Asks through `control.sock` in the data directory, which only the gateway's own user
    /// may open. Exit status 0 if the gateway is ready (with --alive: if it needs no restart), 1 if not.
    #[command(after_long_help = after_help(&[
        "vmsgate health",
        "vmsgate --data /var/lib/vmsgate health --alive",
    ]))]
    Health(HealthArgs),

    /// Hold the configuration file against what was recorded
    #[command(subcommand, after_long_help = after_help(&[
        "vmsgate -c new.toml policy replay --since 30d",
        "vmsgate policy learn --client anna-laptop --since 7d",
    ]))]
    Policy(PolicyCommand),

    /// List who was connected: from where, when, how much
    ///
    /// Newest first. A session without an end is open now.
    #[command(after_long_help = after_help(&[
        "vmsgate sessions --since 24h",
        "vmsgate sessions --operator 'Anna Berg' --since 2026-11-01 --until 2026-12-01",
        "vmsgate sessions --json --limit 1000",
    ]))]
    Sessions(RecordArgs),

    /// List what was reached: every TCP connection and UDP or ICMP exchange
    ///
    /// Newest first. A flow without an end is open now.
    #[command(after_long_help = after_help(&[
        "vmsgate flows --client anna-laptop --since 1h",
        "vmsgate flows --server rec01 --json",
    ]))]
    Flows(RecordArgs),

    /// List what was refused, and which rule would have allowed it
    ///
    /// Newest first. Repeated attempts appear once with their number.
    #[command(after_long_help = after_help(&[
        "vmsgate denials --since 24h",
        "vmsgate denials --client anna-laptop --server mgmt",
    ]))]
    Denials(RecordArgs),

    /// Say who was behind an address that another system's log shows
    ///
    /// The recording server's log has the gateway's address and port, or with egress `tun` the client's tunnel
    /// address; a firewall's log has the client's internet address. All of them are looked for. Exit status 1 if it
    /// was nobody.
    #[command(after_long_help = after_help(&[
        "vmsgate who 192.168.10.5:40112 --at 2026-11-24T11:05:00+01:00",
        "vmsgate who 203.0.113.7 --at '2026-11-24 10:05' --within 5m",
    ]))]
    Who(WhoArgs),

    /// The audit log as a whole: prove it, keep what proves it elsewhere, hand it out, delete what is old enough
    #[command(subcommand, after_long_help = after_help(&[
        "vmsgate audit verify",
        "vmsgate audit checkpoint > checkpoints.txt",
        "vmsgate audit export --since 7d --out week.jsonl",
    ]))]
    Audit(AuditCommand),

    #[command(flatten)]
    Document(DocumentCommand),
}

/// The end of a command's long help: examples, then what the exit status means.
pub(crate) fn after_help(examples: &[&str]) -> String {
    format!("Examples:\n  {}\n\n{EXIT_STATUS_HELP}", examples.join("\n  "))
}

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
            assert!(help.contains("Examples:\n  vmsgate "), "{help}");
            assert!(help.contains("Exit status:\n  0  done"), "{help}");
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
