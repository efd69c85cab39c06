//! A YAML document as a tree that knows where in the text each of its parts stands.
//!
//! YAML is read as version 1.2 has it: only `true` and `false` are booleans. Depth, nodes and aliases are bounded, so a
//! hostile document costs no more than its own length.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::{Number, Value};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

/// One value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub value: Yaml,
    pub place: Place,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Yaml {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value. A key may be there twice: that is for the caller to refuse.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub place: Place,
    pub value: Node,
}

/// A line and a column, both from 1. Zero is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub line: usize,
    pub column: usize,
}

/// Reads one document.
///
/// # Errors
///
/// What is wrong with the text as YAML, and where.
pub(super) fn parse(text: &str) -> Result<Node, (Place, String)> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: 32, max_nodes: 50_000, max_aliases: 100 },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error.location().map(Place::from).unwrap_or_default();
        (place, plain_message(&error))
    })
}

/// The parser's words without the place, which is reported beside them, and without its hints to programmers.
fn plain_message(error: &serde_saphyr::Error) -> String {
    if let serde_saphyr::Error::MultipleDocuments { .. } = error.without_snippet() {
        return "more than one YAML document".to_owned();
    }
    let message = error.without_snippet().to_string();
    let first_line = message.lines().next().unwrap_or_default();
    let end = first_line.find(" at line ").unwrap_or(first_line.len());
    first_line.get(..end).unwrap_or_default().trim_start_matches("error: ").to_owned()
}

impl Node {
    /// The value of a key, where this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Yaml::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The same as JSON. What is null is left out, as the API server does it.
    pub fn to_json(&self) -> Value {
        match &self.value {
            Yaml::Null => Value::Null,
            Yaml::Bool(value) => Value::Bool(*value),
            Yaml::Number(number) => Value::Number(number.clone()),
            Yaml::Text(text) => Value::String(text.clone()),
            Yaml::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Yaml::Map(entries) => {
                let there = entries.iter().filter(|entry| !matches!(entry.value.value, Yaml::Null));
                let fields = there.map(|entry| (entry.key.clone(), entry.value.to_json()));
                Value::Object(fields.collect())
            }
        }
    }
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        let number = |number: u64| usize::try_from(number).unwrap_or_default();
        Self { line: number(location.line()), column: number(location.column()) }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Yaml>::deserialize(from)?;
        Ok(Self { value, place: referenced.into() })
    }
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(YamlVisitor)
    }
}

struct YamlVisitor;

impl<'de> de::Visitor<'de> for YamlVisitor {
    type Value = Yaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Yaml, D::Error> {
        Yaml::deserialize(from)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Yaml, E> {
        Ok(Yaml::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Yaml, E> {
        Ok(Yaml::Number(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Yaml, E> {
        Ok(Yaml::Number(value.into()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Yaml, E> {
        Ok(Yaml::Text(value.to_string()))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Yaml, E> {
        Ok(Yaml::Text(value.to_string()))
    }

    /// What no JSON number can say (`.inf`, `.nan`) is text.
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Yaml, E> {
        Ok(Number::from_f64(value).map_or_else(|| Yaml::Text(value.to_string()), Yaml::Number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Yaml, E> {
        Ok(Yaml::Text(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Yaml, E> {
        Ok(Yaml::Text(text))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut from: A) -> Result<Yaml, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            items.push(item);
        }
        Ok(Yaml::List(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut from: A) -> Result<Yaml, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = from.next_entry::<Spanned<String>, Node>()? {
            entries.push(Entry { key: key.value, place: key.referenced.into(), value });
        }
        Ok(Yaml::Map(entries))
    }
}
