//! From the types to one structural schema without alternatives.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{MEANINGS_KEY, for_each};

/// The schema of a type, all in one piece and structural.
pub(super) fn cleaned<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    clean(&mut schema);
    schema
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
