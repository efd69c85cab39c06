//! From our own keys to what an API server reads.

use serde_json::{Map, Value, json};

use super::{KIND_KEY, MAP_KEYS_KEY, MEANINGS_KEY, RANGE_KEY, for_each};
use crate::value::kind::Kind;

/// Says in the API server's words what our own keys say, and takes them out.
pub(super) fn publish(schema: &mut Value) {
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
