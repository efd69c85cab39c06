//! The schema of the resource: from the types, in the form the API server takes, with the rules in it.
//!
//! Structural, nothing nullable, no unsigned formats, every default written in full (rules that read a nested default
//! need it there). Keys that begin with `x-headgate-` are ours: what `check` and the documentation need to know beyond
//! what a CRD can say. They are taken out of what is published.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    rules,
    v1alpha1::{GROUP, KIND, RealtimeGatewaySpec, RealtimeGatewayStatus, VERSION},
    value::kind::Kind,
};

/// The kind of a text ([`Kind::name`]).
pub const KIND_KEY: &str = "x-headgate-kind";
/// The least and the most of a duration or a size.
pub const RANGE_KEY: &str = "x-headgate-range";
/// The kind of a map's keys.
pub const MAP_KEYS_KEY: &str = "x-headgate-keys";
/// For each value of an enum, what it means.
pub const MEANINGS_KEY: &str = "x-headgate-meanings";

/// The JSON Schema of a manifest, for editors and other tools.
pub fn schema() -> Value {
    let mut schema = annotated();
    publish(&mut schema);
    let Value::Object(published) = schema else { return schema };
    let head = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": format!("{KIND} ({GROUP}/{VERSION})"),
    });
    let Value::Object(mut whole) = head else { return head };
    whole.extend(published);
    int_or_string_for_editors(&mut whole);
    Value::Object(whole)
}

/// The schema of the custom resource in its CRD: `spec` and `status`.
pub fn custom_resource() -> Value {
    let mut spec = spec();
    let mut status = cleaned::<RealtimeGatewayStatus>();
    publish(&mut spec);
    publish(&mut status);
    forget_defaults(&mut status);
    json!({
        "type": "object",
        "description": "A WebSocket hub: one gateway and its pods.",
        "required": ["spec"],
        "properties": {"spec": spec, "status": status},
        "x-kubernetes-validations": [{
            "rule": format!("self.metadata.name.matches('{}')", Kind::GatewayName.pattern()),
            "message": format!("metadata.name must be {}", Kind::GatewayName.right()),
        }],
    })
}

/// The schema of a manifest with our own keys in it.
pub fn annotated() -> Value {
    json!({
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"type": "string", "enum": [format!("{GROUP}/{VERSION}")]},
            "kind": {"type": "string", "enum": [KIND]},
            "metadata": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": Kind::GatewayName.schema(), "namespace": Kind::Namespace.schema()},
                "x-kubernetes-preserve-unknown-fields": true,
            },
            "spec": spec(),
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        },
    })
}

/// The schema of `spec`, with the rules of [`rules::RULES`] where they belong.
fn spec() -> Value {
    let mut spec = cleaned::<RealtimeGatewaySpec>();
    // Whether clients need a token is the one decision that nobody but the user can take.
    spec["required"] = json!(["auth"]);
    if let Some(auth) = spec["properties"]["auth"].as_object_mut() {
        auth.remove("default");
    }
    for rule in rules::RULES {
        if let Some(cel) = rule.cel {
            add_rule(at(&mut spec, rule.at), cel, rule.message);
        }
    }
    spec
}

fn at<'a>(schema: &'a mut Value, path: &str) -> &'a mut Value {
    path.split('.').filter(|part| !part.is_empty()).fold(schema, |schema, part| {
        let schema = &mut schema["properties"][part];
        if schema.get("items").is_some() { &mut schema["items"] } else { schema }
    })
}

fn add_rule(schema: &mut Value, rule: &str, message: &str) {
    let rules = schema.as_object_mut().map(|schema| {
        schema.entry("x-kubernetes-validations").or_insert_with(|| Value::Array(Vec::new()))
    });
    if let Some(Value::Array(rules)) = rules {
        rules.push(json!({"rule": rule, "message": message}));
    }
}

/// The schema of a type, all in one piece and structural.
fn cleaned<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    clean(&mut schema);
    schema
}

/// Visits every schema in this one, the innermost first.
fn for_each(schema: &mut Value, visit: &mut impl FnMut(&mut Map<String, Value>)) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(|property| for_each(property, visit));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(key) {
            for_each(inner, visit);
        }
    }
    if let Value::Object(schema) = schema {
        visit(schema);
    }
}

fn clean(schema: &mut Value) {
    for_each_alternative(schema);
    for_each(schema, &mut |schema| {
        schema.remove("title");
        let format = schema.get("format").and_then(Value::as_str);
        if format.is_some_and(|format| format != "date-time") {
            schema.remove("format");
        }
        if schema.get("default").is_some_and(Value::is_null) {
            schema.remove("default");
        }
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        }
    });
}

/// Makes one schema of what the generator writes as alternatives: optional fields, and enums with a text for each value.
fn for_each_alternative(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [kind] = types.as_slice() {
            let kind = kind.clone();
            map.insert("type".to_owned(), kind);
        }
    }
    if let Some(Value::Array(choices)) = map.remove("anyOf") {
        let real = choices.into_iter().find(|choice| choice["type"] != "null");
        merge(map, real);
    }
    if let Some(Value::Array(values)) = map.remove("oneOf") {
        merge(map, Some(enumeration(&values)));
    }
    if let Some(Value::Array(values)) = map.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    map.values_mut().for_each(for_each_alternative);
}

/// Adds what the other schema has; what is said at the field itself counts more.
fn merge(schema: &mut Map<String, Value>, other: Option<Value>) {
    let Some(mut other) = other else { return };
    for_each_alternative(&mut other);
    if let Value::Object(other) = other {
        for (key, value) in other {
            schema.entry(key).or_insert(value);
        }
    }
}

fn enumeration(values: &[Value]) -> Value {
    let mut names = Vec::new();
    let mut meanings = Map::new();
    for value in values {
        match (&value["const"], &value["enum"]) {
            (Value::String(name), _) => {
                names.push(json!(name));
                meanings.insert(name.clone(), value["description"].clone());
            }
            (_, Value::Array(several)) => names.extend(several.iter().cloned()),
            _ => {}
        }
    }
    json!({"type": "string", "enum": names, MEANINGS_KEY: meanings})
}

/// Says in the API server's words what our own keys say, and takes them out.
fn publish(schema: &mut Value) {
    for_each(schema, &mut |schema| {
        let kind = schema.remove(KIND_KEY);
        let kind = kind.as_ref().and_then(Value::as_str).and_then(Kind::named);
        schema.remove(MAP_KEYS_KEY);
        if let Some(Value::Object(meanings)) = schema.remove(MEANINGS_KEY) {
            describe(schema, &meanings);
        }
        if let (Some(kind), Some([least, most])) = (kind, range(schema)) {
            let rule = range_rule(kind, &least, &most);
            let message = format!("must be from {least} to {most}");
            schema.remove(RANGE_KEY);
            schema.insert(
                "x-kubernetes-validations".to_owned(),
                json!([{"rule": rule, "message": message}]),
            );
        }
    });
}

/// The least and the most of a duration or a size, where there are any.
pub(crate) fn range(schema: &Map<String, Value>) -> Option<[String; 2]> {
    let Value::Array(ends) = schema.get(RANGE_KEY)? else { return None };
    let [least, most] = ends.as_slice() else { return None };
    Some([least.as_str()?.to_owned(), most.as_str()?.to_owned()])
}

fn range_rule(kind: Kind, least: &str, most: &str) -> String {
    match kind {
        Kind::Duration => {
            format!("duration(self) >= duration('{least}') && duration(self) <= duration('{most}')")
        }
        _ => format!(
            "isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('{least}')) >= 0 \
             && quantity(string(self)).compareTo(quantity('{most}')) <= 0"
        ),
    }
}

/// Appends to the description what each value means.
fn describe(schema: &mut Map<String, Value>, meanings: &Map<String, Value>) {
    let said: Vec<_> = meanings
        .iter()
        .filter_map(|(name, meaning)| Some(format!("{name}: {}", lower_first(meaning.as_str()?))))
        .collect();
    if said.is_empty() {
        return;
    }
    let before = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let text = format!("{before} {}", said.join(" "));
    schema.insert("description".to_owned(), text.trim().into());
}

/// `Let in.` as the continuation of a sentence. Names with a second capital stay.
pub(crate) fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            format!("{}{second}{}", first.to_lowercase(), chars.as_str())
        }
        _ => text.to_owned(),
    }
}

/// A status has no defaults, and in it nothing is required: it grows.
fn forget_defaults(status: &mut Value) {
    for_each(status, &mut |schema| {
        schema.remove("default");
    });
    if let Value::Object(status) = status {
        status.remove("required");
    }
}

/// `x-kubernetes-int-or-string` in words that every JSON Schema reader knows, and no field that nobody knows.
fn int_or_string_for_editors(schema: &mut Map<String, Value>) {
    let mut whole = Value::Object(std::mem::take(schema));
    for_each(&mut whole, &mut |schema| {
        if schema.remove("x-kubernetes-int-or-string").is_some() {
            schema.insert("type".to_owned(), json!(["integer", "string"]));
            schema.insert("minimum".to_owned(), json!(0));
        }
        let is_open = schema.remove("x-kubernetes-preserve-unknown-fields").is_some();
        if schema.contains_key("properties") && !is_open {
            schema.insert("additionalProperties".to_owned(), json!(false));
        }
    });
    if let Value::Object(whole) = whole {
        *schema = whole;
    }
}
