//! From text to sections: TOML syntax, section and key names, and what the environment adds.
//!
//! The tree is walked by hand, not deserialised in one go, because serde stops at the first problem and an
//! operator wants them all.

use std::collections::BTreeMap;

use toml::de::{DeArray, DeTable, DeValue};

use super::diagnostics::{At, Diagnostics, Place};
use super::environment::{Environment, variable_name};
use super::keys::{self, SECTIONS};
use super::schema::{Key, Section, Shape};
use super::section::{SectionValues, Value};
use crate::names::{is_name, nearest};

/// A file whose sections and keys all have known names; its values are still to be read.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) gateway: SectionValues,
    pub(crate) servers: Vec<SectionValues>,
    pub(crate) services: Vec<(At<String>, SectionValues)>,
    pub(crate) roles: Vec<(At<String>, SectionValues)>,
    pub(crate) proxy: SectionValues,
    pub(crate) keys: SectionValues,
    pub(crate) limits: SectionValues,
    pub(crate) audit: SectionValues,
    pub(crate) ships: Vec<SectionValues>,
    pub(crate) admin: SectionValues,
    pub(crate) dns: SectionValues,
    /// The environment variables whose values were taken.
    pub(crate) variables: Vec<String>,
}

impl Document {
    /// Reads `text`; what is wrong with its form goes to `diagnostics`. Nothing comes back if it is not TOML: the
    /// tree then has holes, and complaints about them would only distract.
    pub(crate) fn parse(
        text: &str,
        environment: &Environment,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let place = error.span().map_or(Place::File, |span| diagnostics.line(&span));
            diagnostics.error(&place, format!("not valid TOML: {}", error.message()), SYNTAX_HINT);
        }
        if diagnostics.errors() > 0 {
            return None;
        }
        let mut reader =
            Reader { diagnostics, once: BTreeMap::new(), repeated: Vec::new(), named: Vec::new() };
        reader.root(root.get_ref());
        let mut variables = Vec::new();
        let mut once = |section: &'static Section| {
            let mut values = reader
                .once
                .remove(section.name)
                .unwrap_or_else(|| SectionValues::new(section, section.title(), Place::File));
            variables.extend(overlay(section, &mut values, environment));
            values
        };
        let [gateway, lifetimes, proxy, limits, audit, admin, dns] = [
            &keys::gateway::SECTION,
            &keys::keys::SECTION,
            &keys::proxy::SECTION,
            &keys::limits::SECTION,
            &keys::audit::SECTION,
            &keys::admin::SECTION,
            &keys::dns::SECTION,
        ]
        .map(&mut once);
        let (services, roles) =
            reader.named.into_iter().partition(|(_, values)| values.is_of(&keys::service::SECTION));
        let (ships, servers) =
            reader.repeated.into_iter().partition(|values| values.is_of(&keys::ship::SECTION));
        Some(Self {
            gateway,
            servers,
            services,
            roles,
            keys: lifetimes,
            proxy,
            limits,
            audit,
            ships,
            admin,
            dns,
            variables,
        })
    }
}

struct Reader<'a> {
    diagnostics: &'a mut Diagnostics,
    once: BTreeMap<&'static str, SectionValues>,
    repeated: Vec<SectionValues>,
    named: Vec<(At<String>, SectionValues)>,
}

impl Reader<'_> {
    fn root(&mut self, root: &DeTable<'_>) {
        for (name, value) in root {
            let place = self.diagnostics.line(&name.span());
            let name: &str = name.get_ref();
            let Some(section) = SECTIONS.iter().find(|section| section.name == name) else {
                self.unknown_section(&place, name, value.get_ref());
                continue;
            };
            match (section.shape, value.get_ref()) {
                (Shape::Once, DeValue::Table(table)) => {
                    let values = self.table(section, section.title(), place, table);
                    self.once.insert(section.name, values);
                }
                (Shape::Repeated, DeValue::Array(items)) => self.repeated(section, items),
                (Shape::Named, DeValue::Table(tables)) => self.named(section, tables),
                _ => self.wrong_shape(section, &place),
            }
        }
    }

    fn repeated(&mut self, section: &'static Section, items: &DeArray<'_>) {
        for item in items.iter() {
            let place = self.diagnostics.line(&item.span());
            match item.get_ref() {
                DeValue::Table(table) => {
                    let values = self.table(section, section.title(), place, table);
                    self.repeated.push(values);
                }
                _ => self.wrong_shape(section, &place),
            }
        }
    }

    fn named(&mut self, section: &'static Section, tables: &DeTable<'_>) {
        for (name, value) in tables {
            let place = self.diagnostics.line(&name.span());
            let DeValue::Table(table) = value.get_ref() else {
                self.wrong_shape(section, &place);
                continue;
            };
            if !is_name(name.get_ref()) {
                let message = format!("`{}` cannot name a {}", name.get_ref(), section.name);
                self.diagnostics.error(&place, message, NAME_HINT);
            }
            let title = format!("[{}.{}]", section.name, name.get_ref());
            let values = self.table(section, title, place.clone(), table);
            self.named.push((At::new(name.get_ref().to_string(), place), values));
        }
    }

    fn table(
        &mut self,
        section: &'static Section,
        title: String,
        place: Place,
        table: &DeTable<'_>,
    ) -> SectionValues {
        let mut values = SectionValues::new(section, title, place);
        for (name, value) in table {
            let value = Value::from_toml(value, self.diagnostics);
            let place = self.diagnostics.line(&name.span());
            values.insert(name.get_ref(), At::new(value, place), self.diagnostics);
        }
        values
    }

    fn unknown_section(&mut self, place: &Place, name: &str, value: &DeValue<'_>) {
        let is_section = value.is_table()
            || value.as_array().is_some_and(|items| items.iter().any(|item| item.get_ref().is_table()));
        if !is_section {
            let keys = keys::gateway::SECTION.keys;
            let hint = match keys.iter().find(|key| key.name == name) {
                Some(_) => format!("move `{name}` below `[gateway]`"),
                None => "every key belongs below a section such as `[gateway]`".to_owned(),
            };
            self.diagnostics.error(place, format!("the key `{name}` is in no section"), hint);
            return;
        }
        let hint = match nearest(name, SECTIONS.iter().map(|section| section.name)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known sections: {}", names(SECTIONS.iter().map(|section| section.name))),
        };
        self.diagnostics.error(place, format!("unknown section `{name}`"), hint);
    }

    fn wrong_shape(&mut self, section: &Section, place: &Place) {
        let message = format!("`{}` is not written as a section", section.name);
        self.diagnostics.error(
            place,
            message,
            format!("write `{}` on a line of its own, then its keys", section.title()),
        );
    }
}

const SYNTAX_HINT: &str =
    "check the line: text is in quotes, a list in brackets, and every key is written once";

pub(crate) const NAME_HINT: &str =
    "names have up to 63 letters, digits, `-`, `_` and `.`, and begin with a letter or digit";

/// Puts the environment's values over the file's; returns the variables that had one.
fn overlay(section: &'static Section, values: &mut SectionValues, environment: &Environment) -> Vec<String> {
    let mut used = Vec::new();
    for key in section.keys {
        let variable = variable_name(section.name, key.name);
        // Compose files pass on unset variables as empty ones.
        if let Some(text) = environment.get(&variable).filter(|text| !text.is_empty()) {
            values.set(
                key,
                At::new(environment_value(key, text, &variable), Place::Variable(variable.clone())),
            );
            used.push(variable);
        }
    }
    used
}

fn environment_value(key: &Key, text: &str, variable: &str) -> Value {
    if !key.kind.is_list() {
        return Value::Text(text.to_owned());
    }
    let item =
        |item: &str| At::new(Value::Text(item.trim().to_owned()), Place::Variable(variable.to_owned()));
    Value::List(text.split(',').map(item).collect())
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
