//! Which strings of a record are names, of what class, and which are free text.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a string is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    Operator,
    Client,
    Key,
    /// Of a client or of a client's host: an address alone, with a port, or with the length of a prefix.
    Address,
    /// The operating system's user behind an administrative act, or one of several.
    Actor,
    /// Text in which names may occur.
    Free,
}

impl Class {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Client => "client",
            Self::Key => "key",
            Self::Address => "address",
            Self::Actor => "actor",
            Self::Free => "text",
        }
    }
}

/// Members that hold words of this program, times, or hashes: never a name.
const VOCABULARY: [&str; 14] = [
    "chain",
    "gateway",
    "kind",
    "policy",
    "previous_policy",
    "protocol",
    "time",
    "opened",
    "first",
    "last",
    "hash",
    "config_hash",
    "signature",
    "version",
];

/// Shows every string of a record that is or may hold a name.
pub(super) fn visit(record: &mut Value, see: &mut impl FnMut(Class, &mut String)) {
    let act_on_client = record["kind"].as_str().is_some_and(|kind| kind.starts_with("admin.client."));
    let Value::Object(members) = record else { return };
    for (name, value) in members {
        match name.as_str() {
            "reason" => {}
            "object" if act_on_client => strings(value, Class::Client, see),
            "before" | "after" => visit_state(value, act_on_client, see),
            "destination" => strings(value, Class::Free, see),
            name => visit_member(name, value, see),
        }
    }
}

fn visit_member(name: &str, value: &mut Value, see: &mut impl FnMut(Class, &mut String)) {
    match (class_of(name), value) {
        (None, _) if VOCABULARY.contains(&name) => {}
        (Some(class), value) => strings(value, class, see),
        (None, Value::Object(members)) => {
            for (name, value) in members {
                match name.as_str() {
                    "destination" => strings(value, Class::Free, see),
                    name => visit_member(name, value, see),
                }
            }
        }
        (None, value) => strings(value, Class::Free, see),
    }
}

/// The state of an object before or after an administrative act. A client's own name is its `name`.
fn visit_state(value: &mut Value, of_client: bool, see: &mut impl FnMut(Class, &mut String)) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match class_of(name) {
                    _ if of_client && name == "name" => strings(value, Class::Client, see),
                    Some(class) => strings(value, class, see),
                    None => visit_state(value, of_client, see),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| visit_state(item, of_client, see)),
        value => strings(value, Class::Free, see),
    }
}

fn class_of(name: &str) -> Option<Class> {
    Some(match name {
        "operator" | "subject" => Class::Operator,
        "client" => Class::Client,
        "key" | "public_key" | "fingerprint" => Class::Key,
        "source" | "previous_source" | "lan_source" | "tunnel" | "address" | "addresses" => Class::Address,
        "actor" => Class::Actor,
        _ => return None,
    })
}

/// Every string in a value, all of one class, but for those that are words of this program.
fn strings(value: &mut Value, class: Class, see: &mut impl FnMut(Class, &mut String)) {
    match value {
        Value::String(text) => see(class, text),
        Value::Array(items) => items.iter_mut().for_each(|item| strings(item, class, see)),
        Value::Object(members) => members.values_mut().for_each(|member| strings(member, class, see)),
        _ => {}
    }
}

/// The names in a string of a class; the first is the one that stands for the whole string.
pub(super) fn names_in(class: Class, text: &str) -> impl Iterator<Item = (Class, &str)> {
    let whole = match class {
        Class::Free => None,
        Class::Address => Some((class, address_in(text))),
        _ => Some((class, text)),
    };
    // `anna (uid 1000), logged in as bo (uid 1001)`: either user may be named elsewhere.
    let users = text.split(", logged in as ").filter_map(|user| user.split_once(" (uid "));
    let users = users.map(|(name, _)| (Class::Actor, name)).filter(move |_| class == Class::Actor);
    whole.into_iter().chain(users).filter(|(_, name)| !name.is_empty())
}

/// The text with the name in it replaced: an address keeps its port or the length of its prefix.
pub(super) fn put(text: &str, name: &str, pseudonym: &str) -> String {
    if let (Ok(seen), Ok(address)) = (text.parse::<SocketAddr>(), pseudonym.parse::<IpAddr>()) {
        return SocketAddr::new(address, seen.port()).to_string();
    }
    match text.strip_prefix(name) {
        Some(prefix) if prefix.starts_with('/') => format!("{pseudonym}{prefix}"),
        _ => pseudonym.to_owned(),
    }
}

fn address_in(text: &str) -> &str {
    let end = match text.strip_prefix('[') {
        Some(rest) => return rest.split(']').next().unwrap_or(rest),
        None => text.find('/').unwrap_or(text.len()),
    };
    let bare = &text[..end];
    match (bare.parse::<IpAddr>(), bare.rsplit_once(':')) {
        (Err(_), Some((address, _))) if address.parse::<IpAddr>().is_ok() => address,
        _ => bare,
    }
}
