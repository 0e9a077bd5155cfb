//! The values of one section, read one key at a time.
//!
//! Each reader answers with something usable: what is written, else the key's default. A value that is no good
//! becomes a finding, and the caller goes on; the configuration as a whole is refused in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::diagnostics::{At, Diagnostics, Place};
use super::schema::{Absent, Key, Kind, Section};
use super::units::{parse_duration, parse_rate, parse_size};
use crate::names::nearest;

/// A value as it is written.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// A string of the file; anything from the environment, and every default.
    Text(String),
    Integer(i64),
    Flag(bool),
    List(Vec<At<Value>>),
    Table(Vec<(At<String>, At<Value>)>),
    /// A type that no key has.
    Other(&'static str),
}

/// The keys of one section that are written.
#[derive(Debug)]
pub(crate) struct SectionValues {
    section: &'static Section,
    title: String,
    /// The line of its header.
    pub(crate) place: Place,
    values: BTreeMap<&'static str, At<Value>>,
}

impl SectionValues {
    pub(crate) fn new(section: &'static Section, title: String, place: Place) -> Self {
        Self { section, title, place, values: BTreeMap::new() }
    }

    pub(crate) fn is_of(&self, section: &Section) -> bool {
        self.section.name == section.name
    }

    /// Adds a key of the file, which may turn out not to exist.
    pub(crate) fn insert(&mut self, name: &str, value: At<Value>, diagnostics: &mut Diagnostics) {
        if let Some(key) = self.section.keys.iter().find(|key| key.name == name) {
            self.values.insert(key.name, value);
            return;
        }
        let known = self.section.keys.iter().map(|key| key.name);
        let hint = match nearest(name, known.clone()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known keys: {}", known.collect::<Vec<_>>().join(", ")),
        };
        diagnostics.error(&value.place, format!("unknown key `{name}` in {}", self.title), hint);
    }

    /// Sets a key that is known to exist.
    pub(crate) fn set(&mut self, key: &'static Key, value: At<Value>) {
        self.values.insert(key.name, value);
    }

    /// Whether a key is written.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.values.contains_key(key.name)
    }

    /// The place of a key, or of the section if the key is not written.
    pub(crate) fn place_of(&self, key: &Key) -> Place {
        self.values.get(key.name).map_or_else(|| self.place.clone(), |value| value.place.clone())
    }

    /// Every text of a key that holds one or a list.
    pub(crate) fn texts(&self, key: &Key, diagnostics: &mut Diagnostics) -> Vec<At<String>> {
        let Some(written) = self.written(key, diagnostics) else { return Vec::new() };
        let items = match written.value {
            Value::List(items) if key.kind.is_list() => items,
            value => vec![At::new(value, written.place.clone())],
        };
        if items.is_empty() && key.absent == Absent::Required {
            let message = format!("`{}` in {} is an empty list", key.name, self.title);
            diagnostics.error(&written.place, message, like(key));
        }
        let mut texts = Vec::new();
        for item in items {
            match item.value {
                Value::Text(text) => texts.push(At::new(text, item.place)),
                Value::Integer(number) if key.kind == Kind::Ports => {
                    texts.push(At::new(number.to_string(), item.place));
                }
                other => self.wrong_type(key, &item.place, &other, diagnostics),
            }
        }
        texts
    }

    /// Every item of a key that holds one or a list, parsed.
    pub(crate) fn parsed<T>(
        &self,
        key: &Key,
        parse: impl Fn(&str) -> Result<T, String>,
        diagnostics: &mut Diagnostics,
    ) -> Vec<At<T>> {
        let mut items = Vec::new();
        for text in self.texts(key, diagnostics) {
            match parse(&text.value) {
                Ok(value) => items.push(At::new(value, text.place)),
                Err(message) => diagnostics.error(&text.place, message, like(key)),
            }
        }
        items
    }

    /// The one text of a key.
    pub(crate) fn text(&self, key: &Key, diagnostics: &mut Diagnostics) -> Option<At<String>> {
        self.texts(key, diagnostics).into_iter().next()
    }

    /// One of several words, as what each stands for.
    pub(crate) fn choice<T: Copy, const N: usize>(
        &self,
        key: &Key,
        choices: [(&str, T); N],
        diagnostics: &mut Diagnostics,
    ) -> Option<T> {
        let words = choices.map(|(word, _)| format!("`{word}`")).join(" or ");
        let read = |text: &str| match choices.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(*value),
            None => Err(format!("unknown value `{text}` of `{}`: write {words}", key.name)),
        };
        self.parsed(key, read, diagnostics).first().map(|choice| choice.value)
    }

    pub(crate) fn flag(&self, key: &Key, diagnostics: &mut Diagnostics) -> bool {
        let read = |value: &Value| match value {
            Value::Flag(flag) => Some(*flag),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        self.scalar(key, read, diagnostics).unwrap_or_default()
    }

    pub(crate) fn duration(&self, key: &Key, diagnostics: &mut Diagnostics) -> Duration {
        let read = |value: &Value| match value {
            Value::Text(text) => parse_duration(text).map(|duration| duration.as_secs()),
            _ => None,
        };
        Duration::from_secs(self.ranged(key, read, diagnostics))
    }

    /// None when it is not written.
    pub(crate) fn optional_duration(&self, key: &Key, diagnostics: &mut Diagnostics) -> Option<Duration> {
        self.values.contains_key(key.name).then(|| self.duration(key, diagnostics))
    }

    pub(crate) fn size(&self, key: &Key, diagnostics: &mut Diagnostics) -> u64 {
        let read = |value: &Value| match value {
            Value::Text(text) => parse_size(text),
            _ => None,
        };
        self.ranged(key, read, diagnostics)
    }

    /// In bits per second; none when it is not written.
    pub(crate) fn optional_rate(&self, key: &Key, diagnostics: &mut Diagnostics) -> Option<u64> {
        let read = |value: &Value| match value {
            Value::Text(text) => parse_rate(text),
            _ => None,
        };
        self.values.contains_key(key.name).then(|| self.ranged(key, read, diagnostics))
    }

    /// A whole number that the key's range keeps within `T`.
    pub(crate) fn count<T: TryFrom<u64> + Default>(&self, key: &Key, diagnostics: &mut Diagnostics) -> T {
        let read = |value: &Value| match value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        T::try_from(self.ranged(key, read, diagnostics)).unwrap_or_default()
    }

    /// The tables of a key that holds a list of them.
    pub(crate) fn tables(
        &self,
        key: &Key,
        section: &'static Section,
        diagnostics: &mut Diagnostics,
    ) -> Vec<SectionValues> {
        let Some(written) = self.written(key, diagnostics) else { return Vec::new() };
        let items = match written.value {
            Value::List(items) => items,
            value => vec![At::new(value, written.place)],
        };
        let mut tables = Vec::new();
        for item in items {
            let Value::Table(entries) = item.value else {
                self.wrong_type(key, &item.place, &item.value, diagnostics);
                continue;
            };
            let mut values = SectionValues::new(section, format!("`{}`", key.name), item.place);
            for (name, value) in entries {
                values.insert(&name.value, value, diagnostics);
            }
            tables.push(values);
        }
        tables
    }

    fn scalar<T>(
        &self,
        key: &Key,
        read: impl Fn(&Value) -> Option<T>,
        diagnostics: &mut Diagnostics,
    ) -> Option<T> {
        let written = self.written(key, diagnostics)?;
        let value = read(&written.value);
        if value.is_none() {
            self.wrong_type(key, &written.place, &written.value, diagnostics);
        }
        value
    }

    fn ranged(&self, key: &Key, read: impl Fn(&Value) -> Option<u64>, diagnostics: &mut Diagnostics) -> u64 {
        let Some(number) = self.scalar(key, read, diagnostics) else { return 0 };
        let (lowest, highest) = key.range.unwrap_or((0, u64::MAX));
        if !(lowest..=highest).contains(&number) {
            let range = key.range_text().unwrap_or_default();
            let message = format!("`{}` in {} is out of range", key.name, self.title);
            diagnostics.error(&self.place_of(key), message, format!("it may be {range}"));
        }
        number
    }

    fn written(&self, key: &Key, diagnostics: &mut Diagnostics) -> Option<At<Value>> {
        if let Some(written) = self.values.get(key.name) {
            return Some(written.clone());
        }
        match key.absent {
            Absent::Nothing => None,
            Absent::Default(text) => Some(At::new(Value::Text(text.to_owned()), self.place.clone())),
            Absent::Required => {
                let hint = match &self.place {
                    Place::File => format!("add `{} = {}` below `{}`", key.name, key.example, self.title),
                    _ => format!("add `{} = {}`", key.name, key.example),
                };
                diagnostics.error(&self.place, format!("`{}` is missing in {}", key.name, self.title), hint);
                None
            }
        }
    }

    fn wrong_type(&self, key: &Key, place: &Place, found: &Value, diagnostics: &mut Diagnostics) {
        let message = format!("`{}` in {} cannot be {}", key.name, self.title, found.describe());
        diagnostics.error(place, message, like(key));
    }
}

impl Value {
    pub(crate) fn from_toml(value: &Spanned<DeValue<'_>>, diagnostics: &Diagnostics) -> Self {
        match value.get_ref() {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Self::Integer(number),
                Err(_) => Self::Other("a number that is too large"),
            },
            DeValue::Boolean(flag) => Self::Flag(*flag),
            DeValue::Float(_) => Self::Other("a number with a fraction"),
            DeValue::Datetime(_) => Self::Other("a date"),
            DeValue::Array(items) => Self::List(
                items
                    .iter()
                    .map(|item| At::new(Self::from_toml(item, diagnostics), diagnostics.line(&item.span())))
                    .collect(),
            ),
            DeValue::Table(table) => {
                let entry = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                    let place = diagnostics.line(&name.span());
                    let name: &std::borrow::Cow<'_, str> = name.get_ref();
                    let value = At::new(Self::from_toml(value, diagnostics), place.clone());
                    (At::new(name.to_string(), place), value)
                };
                Self::Table(table.iter().map(entry).collect())
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Text(text) => format!("`{text}`"),
            Self::Integer(number) => format!("the number {number}"),
            Self::Flag(flag) => format!("`{flag}`"),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::Other(what) => (*what).to_owned(),
        }
    }
}

fn like(key: &Key) -> String {
    format!("write it like `{} = {}`", key.name, key.example)
}
