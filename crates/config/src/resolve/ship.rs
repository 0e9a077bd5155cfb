//! `[[ship]]`: the receivers of the audit log.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::file::diagnostics::Diagnostics;
use crate::file::document::NAME_HINT;
use crate::file::keys::ship as key;
use crate::file::section::SectionValues;
use crate::names::is_name;
use crate::ship::{Receiver, Ship};

pub(super) fn read(sections: &[SectionValues], out: &mut Diagnostics) -> Vec<Ship> {
    let mut taken = BTreeSet::new();
    sections.iter().filter_map(|section| ship(section, &mut taken, out)).collect()
}

fn ship(section: &SectionValues, taken: &mut BTreeSet<String>, out: &mut Diagnostics) -> Option<Ship> {
    let name = name(section, taken, out);
    let to = receiver(section, out);
    let headers_file = section.text(&key::HEADERS_FILE, out).map(|file| PathBuf::from(file.value));
    let kinds = kinds(section, out);
    let to = to?;
    if headers_file.is_some() && !to.transport.is_otlp() {
        let message = format!("`headers-file` has no meaning for `{}`", to.transport.scheme());
        out.error(&section.place_of(&key::HEADERS_FILE), message, "remove it: only OTLP has headers");
    }
    Some(Ship { name: name?, to, headers_file, kinds })
}

fn name(section: &SectionValues, taken: &mut BTreeSet<String>, out: &mut Diagnostics) -> Option<String> {
    let name = section.text(&key::NAME, out)?;
    if !is_name(&name.value) {
        out.error(&name.place, format!("`{}` cannot name a receiver", name.value), NAME_HINT);
    } else if !taken.insert(name.value.clone()) {
        let message = format!("there are two receivers named `{}`", name.value);
        out.error(
            &name.place,
            message,
            "give each [[ship]] a name of its own: each has its own place in the log",
        );
    }
    Some(name.value)
}

fn receiver(section: &SectionValues, out: &mut Diagnostics) -> Option<Receiver> {
    let written = section.text(&key::TO, out)?;
    let to = match written.value.parse::<Receiver>() {
        Ok(to) => to,
        Err(error) => {
            out.error(&written.place, error.message, error.hint);
            return None;
        }
    };
    let here = to.endpoint.host == "localhost"
        || to.endpoint.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if !to.transport.is_encrypted() && !here {
        out.warning(
            &written.place,
            format!(
                "the audit log goes to `{}` in clear text, with names and addresses of people",
                to.endpoint
            ),
            "use `syslog+tls` or `otlp+https`, or make sure that only a management network carries it",
        );
    }
    Some(to)
}

fn kinds(section: &SectionValues, out: &mut Diagnostics) -> Vec<String> {
    let mut kinds = Vec::new();
    for kind in section.texts(&key::KINDS, out) {
        let known =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '*' | '?');
        if kind.value.is_empty() || !kind.value.chars().all(known) {
            let message = format!("`{}` is no kind of record", kind.value);
            out.error(
                &kind.place,
                message,
                "write kinds like `session.closed` or `flow.*`: see docs/audit-format.md",
            );
        }
        kinds.push(kind.value);
    }
    kinds
}
