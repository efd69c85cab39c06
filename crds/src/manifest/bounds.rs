//! What a schema allows, in words, and whether a text is within it.

use serde_json::{Map, Value};

use crate::{
    schema::{KIND_KEY, range},
    value::{Duration, Size, kind::Kind},
};

type Schema = Map<String, Value>;

/// What is wrong with a value of another type.
pub(super) fn wrong_type(wanted: &str) -> String {
    let what = match wanted {
        "object" => "a map",
        "array" => "a list",
        "string" => "text",
        "integer" => "a whole number",
        _ => "a number",
    };
    format!("not {what}")
}

/// What would be right, as far as the schema says.
pub(super) fn right_for(schema: &Schema) -> String {
    if let Some(Value::Array(values)) = schema.get("enum") {
        let names: Vec<_> = values.iter().filter_map(Value::as_str).collect();
        return format!(
            "must be {}",
            names.join(", ").replacen(", ", " or ", usize::from(names.len() == 2))
        );
    }
    let kind = schema.get(KIND_KEY).and_then(Value::as_str).and_then(Kind::named);
    match (kind, range(schema), schema.get("type").and_then(Value::as_str)) {
        (Some(Kind::Duration), Some([least, most]), _) => {
            format!("must be a duration from {least} to {most}, such as 54s, 1h30m or 250ms")
        }
        (Some(_), Some([least, most]), _) => {
            format!("must be a size from {least} to {most}, such as 512Ki")
        }
        (Some(kind), None, _) => format!("must be {}", kind.right()),
        (None, _, Some("integer")) => format!("must be a whole number{}", bounds(schema)),
        (None, _, Some("number")) => format!("must be a number{}", bounds(schema)),
        (None, _, Some("object")) => format!("must be a map{}", fields(schema)),
        (None, _, Some("array")) => "must be a list".to_owned(),
        (None, ..) => "must be text".to_owned(),
    }
}

/// The fields that a map needs, or else those that it may have.
fn fields(schema: &Schema) -> String {
    let required = schema.get("required").and_then(Value::as_array);
    let needed: Vec<_> = required.into_iter().flatten().filter_map(Value::as_str).collect();
    let known = schema.get("properties").and_then(Value::as_object);
    match (needed.as_slice(), known) {
        ([_, ..], _) => format!(" with {} at least", needed.join(" and ")),
        ([], Some(known)) => {
            format!(" of {}", known.keys().cloned().collect::<Vec<_>>().join(", "))
        }
        ([], None) => String::new(),
    }
}

fn bounds(schema: &Schema) -> String {
    match (schema.get("minimum"), schema.get("maximum")) {
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
        (Some(least), None) => format!(" of at least {least}"),
        (None, Some(most)) => format!(" of at most {most}"),
        (None, None) => String::new(),
    }
}

/// What is wrong with a text of this kind, its length included.
pub(super) fn problem_of(kind: Kind, text: &str) -> Option<String> {
    if text.chars().count() > kind.length_max() {
        return Some(format!("longer than {} characters", kind.length_max()));
    }
    kind.problem(text)
}

/// Whether a duration or a size is below its least or above its most.
pub(super) fn out_of_range(kind: Kind, text: &str, schema: &Schema) -> Option<&'static str> {
    let [least, most] = range(schema)?;
    match kind {
        Kind::Duration => misses::<Duration>(text, &least, &most, ["too short", "too long"]),
        _ => misses::<Size>(text, &least, &most, ["too small", "too large"]),
    }
}

fn misses<T: std::str::FromStr + Ord>(
    text: &str,
    least: &str,
    most: &str,
    [under, over]: [&'static str; 2],
) -> Option<&'static str> {
    let value: T = text.parse().ok()?;
    if least.parse().is_ok_and(|least| value < least) {
        return Some(under);
    }
    most.parse().is_ok_and(|most| value > most).then_some(over)
}
