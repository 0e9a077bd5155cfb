//! `docs/configuration.md`: the tables of this crate as a page for people.

use crate::catalogue::sources::SOURCES;
use crate::catalogue::{BUILT_IN_ROLES, BuiltInService, Encryption, NEVER_EXPOSE, services};
use crate::file::environment::variable_name;
use crate::file::keys::SECTIONS;
use crate::file::schema::{Absent, Key, Section, Shape};
use crate::ports::ProtocolPorts;

/// The text of `docs/configuration.md`.
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    for section in SECTIONS {
        page.push_str(&format!("\n## `{}`\n\n{}\n\n", section.title(), section.meaning));
        page.push_str(&keys(section));
    }
    page.push_str(SERVICES);
    let rows = services().map(service).collect();
    page.push_str(&table(&["service", "ports", "encryption", "what it is", "sources"], rows));
    page.push_str(ROLES);
    let rows = BUILT_IN_ROLES.iter().map(|role| {
        let allow: Vec<String> = role.allow.iter().map(|rule| format!("`{rule}`")).collect();
        vec![format!("`{}`", role.name), role.description.to_owned(), allow.join(" ")]
    });
    page.push_str(&table(&["role", "for", "allow"], rows.collect()));
    page.push_str(NEVER);
    let rows = NEVER_EXPOSE.iter().map(|entry| {
        let sources = entry.sources.join(", ");
        vec![entry.ports.to_string(), entry.name.to_owned(), entry.reason.to_owned(), sources]
    });
    page.push_str(&table(&["ports", "what listens there", "why not", "sources"], rows.collect()));
    page.push_str("\n## Sources\n\n");
    let rows = SOURCES.iter().map(|(tag, text)| vec![(*tag).to_owned(), (*text).to_owned()]);
    page.push_str(&table(&["tag", "source"], rows.collect()));
    page
}

const INTRODUCTION: &str = "\
<!-- Generated from crates/config. Change it there, then:
     VMSGATE_UPDATE_DOCS=1 cargo test -p vmsgate-config --test documentation -->

# Configuration

One TOML file, by default `/etc/vmsgate/gateway.toml`; `-c FILE` or `VMSGATE_CONFIG` names another. A complete, commented
sample is [deploy/gateway.toml](../deploy/gateway.toml). `vmsgate check` reports every problem at once, each with file, line
and what to do. Unknown keys are refused.

A running gateway takes up a changed file by itself, and at once on SIGHUP. A file with an error is refused whole: the gateway
reports it and goes on with the configuration that it has.

**Environment.** A key of a section that exists once can be given as `VMSGATE_SECTION_KEY`, as the tables say, and then takes
the place of the file's value. It is written without quotes, a list is separated by commas, and an empty variable counts as
not set.

**Names** of gateways, servers, services and roles have up to 63 letters, digits, `-`, `_` and `.`, and begin with a letter or
digit.

**Storage** is SQLite in `[gateway] data`. There is no key for another database in this version.
";

const SERVICES: &str = "
## Built-in services

Default ports of the vendors. A site that changed one overrides the service, e.g. `[service.recording-server] tcp = [7564]`;
the built-in roles follow. Nothing is opened by being listed here: a server runs only the services that its `[[server]]`
names. Ports marked (u) are unconfirmed: general knowledge, or a vendor's text that does not quite say so.

Encryption is between client and server, inside the tunnel and beyond it: `site` = TLS once the site has installed
certificates, clear text until then; `plain` = never, and `check` warns of it; `?` = not known.

";

const ROLES: &str = "
## Built-in roles

A `[role.NAME]` of the same name takes the place of a built-in role. All of them may ping the servers that they reach
(`icmp = true`). For another VMS, write a role of its own, e.g. `[role.operator] allow = [\"*:nx-witness\"]`.

";

const NEVER: &str = "
## Ports that are never exposed

No role opens them, whatever it allows: `check` refuses such a configuration, unless the server lists the port under
`expose-anyway` with a reason. The built-in services marked \"excepted\" above open their own ports on this list; naming such a
service is the explicit choice. Cameras are never reachable unless someone writes them down as servers.

";

fn keys(section: &Section) -> String {
    let once = section.shape == Shape::Once;
    let rows = section.keys.iter().map(|key| {
        let mut row = vec![
            format!("`{}`", key.name),
            key.kind.describe().to_owned(),
            key.range_text().unwrap_or_else(|| "—".to_owned()),
            default(key),
        ];
        if once {
            row.push(format!("`{}`", variable_name(section.name, key.name)));
        }
        row.push(format!("{} Example: `{}`", key.meaning, key.example));
        row
    });
    let head: &[&str] = match once {
        true => &["key", "type", "range", "default", "variable", "meaning"],
        false => &["key", "type", "range", "default", "meaning"],
    };
    table(head, rows.collect())
}

fn default(key: &Key) -> String {
    match key.absent {
        Absent::Required => "**required**".to_owned(),
        Absent::Nothing => "none".to_owned(),
        Absent::Default(text) => format!("`{text}`"),
    }
}

fn service(service: &BuiltInService) -> Vec<String> {
    let confirmed = service.ports.iter().map(ProtocolPorts::to_string);
    let unconfirmed = service.unconfirmed.iter().map(|ports| format!("{ports} (u)"));
    let mut text = format!("{}. {}", service.description, service.note);
    if let Some(reason) = service.exposes {
        text = format!("{} Excepted from the never-expose list: {reason}.", text.trim_end());
    }
    let encryption = match service.encryption {
        Encryption::Tls => "TLS",
        Encryption::Site => "site",
        Encryption::Plain => "plain",
        Encryption::Unknown => "?",
    };
    vec![
        format!("`{}`", service.name),
        confirmed.chain(unconfirmed).collect::<Vec<_>>().join(", "),
        encryption.to_owned(),
        text,
        service.sources.join(", "),
    ]
}

fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule: Vec<String> = head.iter().map(|_| "---".to_owned()).collect();
    let cell = |cell: &String| cell.trim().replace('|', "\\|");
    let rows = rows.iter().map(|row| line(&row.iter().map(cell).collect::<Vec<_>>()));
    [line(&head), line(&rule)].into_iter().chain(rows).collect()
}
