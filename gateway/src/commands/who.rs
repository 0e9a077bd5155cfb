//! `vmsgate who`

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use vmsgate_audit::{
    UtcTime,
    query::{Candidate, Certainty, SeenAs, Sighting, who},
};
use vmsgate_cli::{CliError, Exit, OrFail, Table, time::TimeArg};

use super::{
    Context,
    on_record::{Act, Reading},
    records::{self, FormatArgs, Shape},
};

#[derive(Debug, Args)]
pub struct WhoArgs {
    /// The address that the other log shows, with its port if that is known: `192.168.10.5:40112`, `[fd00::5]:40112`
    #[arg(value_name = "ADDR[:PORT]")]
    seen: Seen,

    /// When it was there: an RFC 3339 time with its offset, a time without one (UTC), or a distance from now (10m)
    ///
    /// The recording server's log shows the local time of that server. Give its offset, as in
    /// 2026-11-24T11:05:00+01:00; a time without an offset is taken as UTC.
    #[arg(long, value_name = "TIME")]
    at: TimeArg,

    /// By how much the clock of the other system may differ
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = vmsgate_cli::time::parse_duration)]
    within: Duration,

    /// At most this many, the surest first
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    #[command(flatten)]
    format: FormatArgs,
}

pub async fn execute(context: &Context, args: &WhoArgs) -> Result<Exit, CliError> {
    args.format.check(context)?;
    let sighting = Sighting {
        address: args.seen.address,
        port: args.seen.port,
        at: UtcTime::from(args.at.before(Timestamp::now())),
        within: args.within,
        limit: args.limit,
    };
    let database = records::open(context).await?;
    let listing = who(&database, &sighting).await.or_unexpected("cannot read the audit log")?;
    let filters = Asked {
        address: sighting.address,
        port: sighting.port,
        at: sighting.at,
        within_ms: u64::try_from(sighting.within.as_millis()).unwrap_or(u64::MAX),
    };
    let reading = Reading { filters, rows: listing.rows.len() as u64 };
    super::on_record::note(context, &database, Act::Read, "who", &reading).await?;
    database.close().await;

    let nobody = listing.rows.is_empty();
    let exit = records::print(context, &args.format, &listing, &SHAPE)?;
    Ok(if nobody { Exit::No } else { exit })
}

/// The question, as it goes on record.
#[derive(Debug, Serialize)]
struct Asked {
    address: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    at: UtcTime,
    within_ms: u64,
}

const SHAPE: Shape<Candidate> = Shape {
    none: "nobody",
    table,
    headings: &[
        "certainty",
        "seen_as",
        "client",
        "operator",
        "role",
        "key",
        "session",
        "gateway",
        "flow",
        "protocol",
        "server",
        "service",
        "address",
        "port",
        "opened",
        "ended",
    ],
    cells,
};

fn table(rows: &[Candidate]) -> Table {
    let mut table = Table::new(["SURE", "OPERATOR", "CLIENT", "ROLE", "TO", "OPENED", "ENDED", "SESSION"]);
    for row in rows {
        let to = match (row.protocol, &row.destination) {
            (Some(protocol), Some(destination)) => records::destination(protocol, destination),
            _ => String::new(),
        };
        table.row([
            format!("{} ({})", sure(row.certainty), seen_as(row.seen_as)),
            row.operator.to_string(),
            row.client.to_string(),
            row.role.to_string(),
            to,
            records::time(row.opened),
            records::end(row.ended),
            row.session.to_string(),
        ]);
    }
    table
}

fn sure(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Exact => "yes",
        Certainty::Near => "about then",
        Certainty::AddressOnly => "address only",
    }
}

fn seen_as(side: SeenAs) -> &'static str {
    match side {
        SeenAs::LanSource => "gateway's address",
        SeenAs::TunnelAddress => "tunnel address",
        SeenAs::InternetSource => "internet address",
    }
}

fn cells(row: &Candidate) -> Vec<String> {
    let certainty = match row.certainty {
        Certainty::Exact => "exact",
        Certainty::Near => "near",
        Certainty::AddressOnly => "address-only",
    };
    let side = match row.seen_as {
        SeenAs::LanSource => "lan-source",
        SeenAs::TunnelAddress => "tunnel-address",
        SeenAs::InternetSource => "internet-source",
    };
    let destination = row.destination.as_ref();
    vec![
        certainty.to_owned(),
        side.to_owned(),
        row.client.to_string(),
        row.operator.to_string(),
        row.role.to_string(),
        row.key.to_string(),
        row.session.to_string(),
        row.gateway.to_string(),
        records::text(row.flow),
        records::text(row.protocol),
        records::text(destination.and_then(|to| to.server.as_ref())),
        records::text(destination.and_then(|to| to.service.as_ref())),
        records::text(destination.map(|to| to.address)),
        records::text(destination.and_then(|to| to.port)),
        row.opened.to_string(),
        records::text(row.ended),
    ]
}

/// An address with or without a port.
#[derive(Clone, Copy, Debug)]
struct Seen {
    address: IpAddr,
    port: Option<u16>,
}

impl FromStr for Seen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(seen) = text.parse::<SocketAddr>() {
            return Ok(Self { address: seen.ip().to_canonical(), port: Some(seen.port()) });
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        match bare.parse::<IpAddr>() {
            Ok(address) => Ok(Self { address: address.to_canonical(), port: None }),
            Err(_) => Err("expected an address such as 192.168.10.5, or with its port 192.168.10.5:40112"),
        }
    }
}
