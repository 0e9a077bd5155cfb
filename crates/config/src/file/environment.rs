//! Values from the environment.
//!
//! A key of a section that exists once can be given as `VMSGATE_SECTION_KEY`, in capitals and with `-` written
//! as `_`: `VMSGATE_GATEWAY_LISTEN`, `VMSGATE_DNS_TTL`. Such a value takes the place of the file's. It is
//! written without quotes, and a list is separated by commas.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostics::{Diagnostics, Place};
use super::keys::SECTIONS;
use super::schema::Shape;
use crate::names::nearest;

const PREFIX: &str = "VMSGATE_";

/// The variables that may hold values: those whose name begins with `VMSGATE_`.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// The variables of this process.
    pub fn of_process() -> Self {
        // What is not UTF-8 can be no value of ours; its name is kept, so that a key of ours is refused.
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
    }

    pub(crate) fn get(&self, variable: &str) -> Option<&str> {
        self.variables.get(variable).map(String::as_str)
    }

    /// The variables whose values take the place of the file's, with those values, by name.
    pub(crate) fn taken(&self) -> impl Iterator<Item = (&str, &str)> {
        let known: BTreeSet<String> = known_variables().collect();
        let all = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        all.filter(move |(name, value)| !value.is_empty() && known.contains(*name))
    }

    /// Warns of variables that look like a misspelt key. Others are left alone: container platforms set
    /// variables of their own under names like these.
    pub(crate) fn warn_of_misspellings(&self, diagnostics: &mut Diagnostics) {
        let known: Vec<String> = known_variables().collect();
        for name in self.variables.keys().filter(|name| !known.contains(name)) {
            let section = |section: &str| name.starts_with(&variable_name(section, ""));
            let ours = SECTIONS.iter().any(|one| one.shape == Shape::Once && section(one.name));
            let Some(meant) = nearest(name, known.iter().map(String::as_str)).filter(|_| ours) else {
                continue;
            };
            if strsim::damerau_levenshtein(name, meant) <= 2 {
                diagnostics.warning(
                    &Place::Variable(name.clone()),
                    "the variable is not a key of the configuration and has no effect",
                    format!("did you mean `{meant}`?"),
                );
            }
        }
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        let ours = variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX));
        Self { variables: ours.collect() }
    }
}

/// The variable that stands for a key of a section.
pub(crate) fn variable_name(section: &str, key: &str) -> String {
    format!("{PREFIX}{section}_{key}").to_uppercase().replace('-', "_")
}

fn known_variables() -> impl Iterator<Item = String> {
    let once = SECTIONS.iter().filter(|section| section.shape == Shape::Once);
    once.flat_map(|section| section.keys.iter().map(|key| variable_name(section.name, key.name)))
}
