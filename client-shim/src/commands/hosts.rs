//! `vmsgate-shim hosts`

mod elevation;
mod names;

use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;
use vmsgate_cli::{CliError, Exit, OrFail, Printer, Table, human};
use vmsgate_shim::Report;
use vmsgate_shim::hosts::{
    Block, BlockError, HostsError, HostsFile, NameCheck, Verdict, check, literal_addresses,
};
use vmsgate_shim::report::SCHEMA_VERSION;

use crate::cli::HostsArgs;
use crate::commands::status;
use elevation::Elevation;

pub use names::Names;

/// A block from standard input is not read to its end if that is this far away.
const MAX_BLOCK_BYTES: u64 = 16 << 20;
/// In place of a profile: the block comes from standard input.
const STDIN: &str = "-";

pub fn execute(args: &HostsArgs, printer: &Printer) -> Result<Exit, CliError> {
    let file = args.file.clone().map_or_else(HostsFile::of_this_machine, HostsFile::at);
    let profile = args.profile.as_deref();
    if profile == Some(Path::new(STDIN)) && !args.apply {
        let error = CliError::user("a block from standard input can be applied and nothing else");
        return Err(error.hint("vmsgate-shim hosts --apply -"));
    }
    if args.apply {
        apply(&file, profile, printer)
    } else if args.remove {
        remove(&file, profile, printer)
    } else if args.check {
        check_names(&file, profile, printer)
    } else {
        print(profile, printer)
    }
}

/// What `--json` prints of a change.
#[derive(Serialize)]
struct Change<'a> {
    file: &'a Path,
    profile: &'a str,
    changed: bool,
}

fn print(profile: Option<&Path>, printer: &Printer) -> Result<Exit, CliError> {
    let (report, block) = ask(profile)?;
    if printer.is_json() {
        printer.json(SCHEMA_VERSION, &block)?;
    } else {
        printer.raw(block.to_text())?;
    }
    warn_of_addresses(&report, printer)?;
    Ok(Exit::Done)
}

fn apply(file: &HostsFile, profile: Option<&Path>, printer: &Printer) -> Result<Exit, CliError> {
    let (report, block) = if profile == Some(Path::new(STDIN)) {
        (None, read_block(io::stdin().lock())?)
    } else {
        let (report, block) = ask(profile)?;
        (Some(report), block)
    };
    let elevation = match report {
        Some(_) => Elevation::PipedInto(&block.profile),
        None => Elevation::Apply,
    };
    let changed = file.apply(&block).map_err(|error| refused(error, file, &elevation))?;
    let (path, name) = (file.path(), &block.profile);
    if printer.is_json() {
        printer.json(SCHEMA_VERSION, &Change { file: path, profile: name, changed })?;
    } else {
        let already = if changed { "" } else { " already" };
        printer.note(format_args!("the names of {name} are{already} in {}", path.display()))?;
    }
    report.map_or(Ok(()), |report| warn_of_addresses(&report, printer))?;
    Ok(Exit::Done)
}

fn remove(file: &HostsFile, profile: Option<&Path>, printer: &Printer) -> Result<Exit, CliError> {
    let name = match profile {
        Some(profile) => Some(profile.file_stem().unwrap_or_default().to_string_lossy().into_owned()),
        None => only_profile(file)?,
    };
    let elevation = Elevation::Remove(name.as_deref().unwrap_or_default());
    let removed = match &name {
        Some(name) => file.remove(name).map_err(|error| refused(error, file, &elevation))?,
        None => false,
    };
    let path = file.path();
    if printer.is_json() {
        let profile = name.as_deref().unwrap_or_default();
        printer.json(SCHEMA_VERSION, &Change { file: path, profile, changed: removed })?;
    } else if let Some(name) = name.filter(|_| removed) {
        printer.note(format_args!("the names of {name} are out of {}", path.display()))?;
    } else {
        printer.note(format_args!("there were none in {}", path.display()))?;
    }
    Ok(Exit::Done)
}

/// The profile that has a block, if one has; several cannot be meant.
fn only_profile(file: &HostsFile) -> Result<Option<String>, CliError> {
    let mut profiles = file.profiles().map_err(|error| refused(error, file, &Elevation::None))?;
    if profiles.len() > 1 {
        let error = format!("{} has blocks of several: {}", file.path().display(), profiles.join(", "));
        return Err(CliError::user(error).hint("name one of them"));
    }
    Ok(profiles.pop())
}

fn check_names(file: &HostsFile, profile: Option<&Path>, printer: &Printer) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Checked {
        profile: String,
        names: Vec<NameCheck>,
        /// Servers that a VMS may be handing out addresses of.
        literal_addresses: Vec<String>,
    }
    let (report, block) = ask(profile)?;
    let names = check(&block);
    let wrong = names.iter().filter(|name| name.verdict != Verdict::Here).count();
    if printer.is_json() {
        let literal_addresses = literal_addresses(&report).into_iter().map(|server| server.name.clone());
        let checked =
            Checked { profile: block.profile, names, literal_addresses: literal_addresses.collect() };
        printer.json(SCHEMA_VERSION, &checked)?;
    } else {
        print_checks(&names, printer)?;
        if wrong > 0 {
            let apply = Elevation::PipedInto(&block.profile).command(file);
            printer
                .hint(format_args!("{wrong} of {} names do not lead to the shim: {apply}", names.len()))?;
        }
    }
    warn_of_addresses(&report, printer)?;
    Ok(if wrong == 0 { Exit::Done } else { Exit::No })
}

fn print_checks(names: &[NameCheck], printer: &Printer) -> io::Result<()> {
    let mut table = Table::new(["NAME", "SHOULD LEAD TO", "LEADS TO", "VERDICT"]);
    for check in names {
        let resolved: Vec<String> = check.resolved.iter().map(ToString::to_string).collect();
        let verdict = match (check.verdict, &check.error) {
            (Verdict::Here, _) => "ok".to_owned(),
            (Verdict::Elsewhere, _) => "elsewhere".to_owned(),
            (Verdict::Unresolved, Some(error)) => format!("not known: {}", reason(error)),
            (Verdict::Unresolved, None) => "not known".to_owned(),
        };
        table.row([check.name.clone(), check.expected.to_string(), resolved.join(", "), verdict]);
    }
    printer.table(&table)
}

/// What the resolver said, without what Rust says before.
fn reason(error: &str) -> &str {
    error.rsplit(": ").next().unwrap_or(error)
}

/// The report of a running shim and its block.
fn ask(profile: Option<&Path>) -> Result<(Report, Block), CliError> {
    let report = status::ask(profile).map_err(|error| match elevation::of_somebody_else() {
        // With sudo, shims are looked for that root started.
        Some(person) => error.hint(format!(
            "a shim of {person} is not found as root: vmsgate-shim hosts | {}",
            Elevation::Apply.command(&HostsFile::of_this_machine())
        )),
        None => error,
    })?;
    let block = Block::of(&report).map_err(no_block)?;
    Ok((report, block))
}

fn no_block(error: BlockError) -> CliError {
    let hint = match &error {
        BlockError::NoServers => "`vmsgate-shim status` shows what it is waiting for",
        BlockError::NoAddresses => {
            "the hosts file is for `up --mode loopback`; in the other modes names are found without it"
        }
        BlockError::Profile(_) => "give the profile's file a plain name",
        BlockError::Foreign { .. } => "vmsgate-shim hosts | sudo vmsgate-shim hosts --apply -",
    };
    CliError::user(error).hint(hint)
}

fn read_block(input: impl Read) -> Result<Block, CliError> {
    let mut text = String::new();
    input.take(MAX_BLOCK_BYTES).read_to_string(&mut text).or_user("cannot read standard input")?;
    Block::parse(&text).map_err(no_block)
}

/// The hosts file was left as it is.
fn refused(error: HostsError, file: &HostsFile, elevation: &Elevation<'_>) -> CliError {
    let hint = match &error {
        HostsError::Denied { .. } => Some(elevation.advice(file)),
        HostsError::Broken { .. } => Some("take the lines of that block out with an editor".to_owned()),
        HostsError::Unusable { .. } => None,
    };
    let error = CliError::user(error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Says so where names may not be what the VMS hands out.
fn warn_of_addresses(report: &Report, printer: &Printer) -> io::Result<()> {
    let servers = literal_addresses(report);
    if servers.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = servers
        .iter()
        .map(|server| {
            let addresses: Vec<String> = server.addresses.iter().map(ToString::to_string).collect();
            format!("{} ({})", server.name, addresses.join(", "))
        })
        .collect();
    printer.warning(human::printable(&format!(
        "a VMS that hands out addresses is not helped by names, and these have no host name or an address for one: {}",
        list.join(", ")
    )))?;
    printer.hint("use `up --mode socks` or `up --mode tun` if programs are sent to addresses")
}
