//! Compares a document with the schema and finds everything that differs, not just the first.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    bounds::{out_of_range, problem_of, right_for, wrong_type},
    finding::{FINDINGS_MAX, Finding, shown},
    similar::nearest,
    tree::{Entry, Node, Place, Yaml},
};
use crate::{
    rules,
    schema::{KIND_KEY, MAP_KEYS_KEY},
    value::kind::Kind,
};

type Schema = Map<String, Value>;

/// What the walk found.
pub(super) struct Walk<'a> {
    /// What is wrong.
    pub wrong: Vec<Finding>,
    /// Fields that nobody knows: wrong for `check`, a warning for `serve`.
    pub unknown: Vec<Finding>,
    /// The schema of `spec`, for what stands in the wrong place.
    spec: Option<&'a Value>,
}

/// A value of the document, its schema, and where it stands.
#[derive(Clone, Copy)]
struct At<'a> {
    path: &'a str,
    node: &'a Node,
    schema: &'a Schema,
}

impl<'a> Walk<'a> {
    /// Compares a document with its schema.
    pub fn over(document: &Node, schema: &'a Value) -> Self {
        let spec = schema.pointer("/properties/spec");
        let mut walk = Self { wrong: Vec::new(), unknown: Vec::new(), spec };
        if let Value::Object(schema) = schema {
            walk.value(At { path: "", node: document, schema });
        }
        walk
    }

    fn value(&mut self, at: At<'_>) {
        match &at.node.value {
            // The API server takes null for "left out".
            Yaml::Null => {}
            _ if at.schema.contains_key("x-kubernetes-int-or-string") => self.int_or_string(at),
            value => match (at.schema.get("type").and_then(Value::as_str), value) {
                (Some("object"), Yaml::Map(entries)) => self.map(at, entries),
                (Some("array"), Yaml::List(items)) => self.list(at, items),
                (Some("string"), Yaml::Text(text)) => self.text(at, text),
                (Some("integer"), Yaml::Number(number)) => self.number(at, number, true),
                (Some("number"), Yaml::Number(number)) => self.number(at, number, false),
                (Some(wanted), _) => self.wrong(at, wrong_type(wanted), right_for(at.schema)),
                (None, _) => {}
            },
        }
    }

    fn map(&mut self, at: At<'_>, entries: &[Entry]) {
        self.repeated_keys(at, entries);
        match at.schema.get("properties") {
            Some(Value::Object(properties)) => self.fields(at, entries, properties),
            _ => self.free_keys(at, entries),
        }
    }

    fn repeated_keys(&mut self, at: At<'_>, entries: &[Entry]) {
        let mut seen = BTreeSet::new();
        for entry in entries.iter().filter(|entry| !seen.insert(&entry.key)) {
            let path = field(at.path, &entry.key);
            self.add(&path, entry.place, "", "there twice".into(), "write it once".into());
        }
    }

    fn fields(&mut self, at: At<'_>, entries: &[Entry], properties: &Schema) {
        for entry in entries {
            let path = field(at.path, &entry.key);
            match properties.get(&entry.key) {
                Some(Value::Object(schema)) => {
                    self.value(At { path: &path, node: &entry.value, schema });
                }
                _ if at.schema.contains_key("x-kubernetes-preserve-unknown-fields") => {}
                _ => self.unknown(&path, entry, properties),
            }
        }
        let required = at.schema.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            let is_there = at.node.get(name).is_some_and(|node| !matches!(node.value, Yaml::Null));
            if !is_there {
                self.missing(&field(at.path, name), at.node.place, properties.get(name));
            }
        }
    }

    fn missing(&mut self, path: &str, place: Place, schema: Option<&Value>) {
        if path == "spec.auth" {
            return self.add(path, place, "", rules::NO_KEY.into(), rules::NEEDS_KEY.into());
        }
        let right = schema.and_then(Value::as_object).map(right_for).unwrap_or_default();
        self.add(path, place, "", "missing".into(), right);
    }

    fn unknown(&mut self, path: &str, entry: &Entry, properties: &Schema) {
        // Before the search for what was meant: it costs more than the finding.
        if self.unknown.len() >= FINDINGS_MAX {
            return;
        }
        let names = || properties.keys().map(String::as_str);
        let right = match (nearest(&entry.key, names()), home_of(&entry.key, "spec", self.spec)) {
            (Some(name), _) => format!("did you mean {name}?"),
            (None, Some(home)) => format!("did you mean {home}?"),
            (None, None) => format!("known here: {}", names().collect::<Vec<_>>().join(", ")),
        };
        self.unknown.push(finding(path, entry.place, String::new(), "unknown field".into(), right));
    }

    fn free_keys(&mut self, at: At<'_>, entries: &[Entry]) {
        if at.schema.contains_key("x-kubernetes-preserve-unknown-fields") {
            return;
        }
        self.count(at, entries.len(), "maxProperties", "entries");
        let kind = at.schema.get(MAP_KEYS_KEY).and_then(Value::as_str).and_then(Kind::named);
        for entry in entries {
            let path = field(at.path, &entry.key);
            if let Some(problem) = kind.and_then(|kind| problem_of(kind, &entry.key)) {
                let right =
                    kind.map(|kind| format!("must be {}", kind.right())).unwrap_or_default();
                self.add(&path, entry.place, "", problem, right);
            }
            if let Some(Value::Object(schema)) = at.schema.get("additionalProperties") {
                self.value(At { path: &path, node: &entry.value, schema });
            }
        }
    }

    fn list(&mut self, at: At<'_>, items: &[Node]) {
        self.count(at, items.len(), "maxItems", "items");
        let Some(Value::Object(schema)) = at.schema.get("items") else { return };
        let is_set = at.schema.get("x-kubernetes-list-type").is_some_and(|kind| kind == "set");
        let mut seen = BTreeSet::new();
        for (index, node) in items.iter().enumerate() {
            let path = format!("{}[{index}]", at.path);
            let at = At { path: &path, node, schema };
            match &node.value {
                // Elsewhere null is "left out", but an item can't be.
                Yaml::Null => self.wrong(at, "nothing".into(), right_for(schema)),
                Yaml::Text(text) if is_set && !seen.insert(text) => {
                    self.wrong(at, "there twice".into(), "write it once".into());
                }
                _ => self.value(at),
            }
        }
    }

    fn count(&mut self, at: At<'_>, count: usize, bound: &str, what: &str) {
        let most = at
            .schema
            .get(bound)
            .and_then(Value::as_u64)
            .and_then(|most| usize::try_from(most).ok());
        if let Some(most) = most.filter(|most| count > *most) {
            let (problem, right) = (format!("{count} {what}"), format!("must be at most {most}"));
            self.add(at.path, at.node.place, "", problem, right);
        }
    }

    fn int_or_string(&mut self, at: At<'_>) {
        match &at.node.value {
            Yaml::Text(text) => self.text(at, text),
            Yaml::Number(number) if number.is_u64() => self.text(at, &number.to_string()),
            _ => self.wrong(at, "not a size".into(), right_for(at.schema)),
        }
    }

    fn text(&mut self, at: At<'_>, text: &str) {
        if let Some(Value::Array(values)) = at.schema.get("enum") {
            return self.choice(at, text, values);
        }
        let kind = at.schema.get(KIND_KEY).and_then(Value::as_str).and_then(Kind::named);
        let length_max = at.schema.get("maxLength").and_then(Value::as_u64).unwrap_or(u64::MAX);
        let length = text.chars().count();
        if u64::try_from(length).is_ok_and(|length| length > length_max) {
            let (problem, right) =
                (format!("{length} characters long"), format!("must be at most {length_max}"));
            self.wrong(at, problem, right);
        } else if let Some(problem) = kind.and_then(|kind| problem_of(kind, text)) {
            self.wrong(at, problem, right_for(at.schema));
        } else if let Some(problem) = kind.and_then(|kind| out_of_range(kind, text, at.schema)) {
            self.wrong(at, problem.into(), right_for(at.schema));
        }
    }

    fn choice(&mut self, at: At<'_>, text: &str, values: &[Value]) {
        let names = || values.iter().filter_map(Value::as_str);
        if names().any(|name| name == text) {
            return;
        }
        let mut right = right_for(at.schema);
        if let Some(meant) = nearest(text, names()).filter(|_| values.len() > 1) {
            right = format!("{right} (did you mean {meant}?)");
        }
        self.wrong(at, "not one of the choices".into(), right);
    }

    fn number(&mut self, at: At<'_>, number: &serde_json::Number, is_whole: bool) {
        if is_whole && number.is_f64() {
            return self.wrong(at, wrong_type("integer"), right_for(at.schema));
        }
        let value = number.as_f64().unwrap_or(f64::NAN);
        let end = |key: &str| at.schema.get(key).and_then(Value::as_f64);
        if end("minimum").is_some_and(|least| value < least) {
            self.wrong(at, "too small".into(), right_for(at.schema));
        } else if end("maximum").is_some_and(|most| value > most) {
            self.wrong(at, "too large".into(), right_for(at.schema));
        }
    }

    fn wrong(&mut self, at: At<'_>, problem: String, right: String) {
        self.add(at.path, at.node.place, &written(&at.node.value), problem, right);
    }

    fn add(&mut self, path: &str, place: Place, value: &str, problem: String, right: String) {
        if self.wrong.len() < FINDINGS_MAX {
            self.wrong.push(finding(path, place, value.to_owned(), problem, right));
        }
    }
}

fn finding(path: &str, place: Place, value: String, problem: String, right: String) -> Finding {
    let known = |number: usize| Some(number).filter(|number| *number > 0);
    Finding {
        path: path.to_owned(),
        line: known(place.line),
        column: known(place.column),
        value,
        problem,
        right,
    }
}

/// The path of a field. A key that is no plain name is quoted, as in `spec.service.annotations["a.b/c"]`.
fn field(path: &str, key: &str) -> String {
    let is_plain =
        !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match (path.is_empty(), is_plain) {
        (true, true) => shown(key),
        (false, true) => format!("{path}.{}", shown(key)),
        (_, false) => format!("{path}[\"{}\"]", shown(key)),
    }
}

/// The path of the field of this name, wherever it is.
fn home_of(name: &str, path: &str, schema: Option<&Value>) -> Option<String> {
    let Value::Object(properties) = schema?.get("properties")? else { return None };
    if properties.contains_key(name) {
        return Some(field(path, name));
    }
    properties.iter().find_map(|(key, schema)| home_of(name, &field(path, key), Some(schema)))
}

/// A value as the user wrote it, or in a word what it is.
fn written(value: &Yaml) -> String {
    match value {
        Yaml::Null => String::new(),
        Yaml::Bool(value) => value.to_string(),
        Yaml::Number(number) => number.to_string(),
        // In quotes where it would look like nothing, or like the number that is wanted.
        Yaml::Text(text) if text.is_empty() || text.parse::<f64>().is_ok() => format!("{text:?}"),
        Yaml::Text(text) => shown(text),
        Yaml::List(_) => "a list".to_owned(),
        Yaml::Map(_) => "a map".to_owned(),
    }
}
