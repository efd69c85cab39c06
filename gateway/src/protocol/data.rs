//! `data` as it is passed on: what the publisher wrote, but for insignificant white space.

use std::borrow::Cow;

/// Takes the white space outside strings out of a JSON text; numbers, escapes and the order of
/// fields stay as they were written.
///
/// `json` must be one JSON value, as [`envelopes`](super::request::envelopes) gives it.
pub fn compact(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    if memchr::memchr3(b' ', b'\n', b'\t', bytes).is_none() && !bytes.contains(&b'\r') {
        // What programs send: nothing to look for, string by string.
        return Cow::Borrowed(json);
    }
    let mut pieces = pieces(json);
    let first = pieces.next().unwrap_or_default();
    if first.len() == json.len() {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    out.push_str(first);
    out.extend(pieces);
    Cow::Owned(out)
}

/// The runs of `json` between insignificant white space.
fn pieces(json: &str) -> impl Iterator<Item = &str> {
    let mut is_in_string = false;
    let mut is_escaped = false;
    json.split(move |c| {
        if is_in_string {
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '"' => is_in_string = false,
                _ => {}
            }
            return false;
        }
        is_in_string = c == '"';
        matches!(c, ' ' | '\t' | '\n' | '\r')
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn only_white_space_outside_strings_goes() {
        let table = [
            ("1", "1"),
            (" null ", "null"),
            ("\r[1]", "[1]"),
            ("{ \"a\" : [ 1 ,\t2 ]\r\n}", "{\"a\":[1,2]}"),
            (r#"" a \" b ""#, r#"" a \" b ""#),
            (r#"["\\" , " "]"#, r#"["\\"," "]"#),
            ("[1.50e+3, \"\\u00e9\" ]", "[1.50e+3,\"\\u00e9\"]"),
            ("{\"a\":1, \"a\":2}", "{\"a\":1,\"a\":2}"),
        ];
        for (json, expected) in table {
            assert_eq!(compact(json), expected, "{json}");
        }
    }

    #[test]
    fn compact_json_is_not_copied() {
        assert!(matches!(compact("{\"a\":\" \"}"), Cow::Borrowed(_)));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "(\\PC|[\"\\\\ \n]){0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a \"\\\\]{0,3}", inner, 0..4)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn pretty_json_becomes_what_serde_json_writes_without_white_space(value in json()) {
            let pretty = serde_json::to_string_pretty(&value).unwrap();

            prop_assert_eq!(compact(&pretty), serde_json::to_string(&value).unwrap());
        }
    }
}
