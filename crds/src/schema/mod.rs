//! The schema of the resource: from the types, in the form the API server takes, with the rules in it.
//!
//! Structural, nothing nullable, no unsigned formats, every default written in full (rules that read a nested default
//! need it there). Keys that begin with `x-headgate-` are ours: what `check` and the documentation need to know beyond
//! what a CRD can say. They are taken out of what is published.

mod generate;
use generate::cleaned;

mod publish;
use publish::publish;
pub(crate) use publish::range;

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
