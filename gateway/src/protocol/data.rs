//! `data` passes as it came, but for insignificant white space.

use std::borrow::Cow;

/// Strips the white space outside strings from valid JSON.
///
/// A line feed between tokens would break clients that split joined envelopes at line feeds.
pub fn compact(json: &str) -> Cow<'_, str> {
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let mut is_in_string = false;
    let mut is_escaped = false;
    let mut out: Option<String> = None;
    let mut kept = 0;
    for (at, byte) in json.bytes().enumerate() {
        if is_in_string {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => is_in_string = false,
                _ => {}
            }
        } else if byte == b'"' {
            is_in_string = true;
        } else if is_space(byte) {
            let out = out.get_or_insert_with(|| String::with_capacity(json.len()));
            out.push_str(json.get(kept..at).unwrap_or_default());
            kept = at + 1;
        }
    }
    match out {
        None => Cow::Borrowed(json),
        Some(mut out) => {
            out.push_str(json.get(kept..).unwrap_or_default());
            Cow::Owned(out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_outside_strings_goes() {
        assert_eq!(compact("{ \"a b\\\" \" : [1,\n 2] }\t"), "{\"a b\\\" \":[1,2]}");
        assert!(matches!(compact("{\"a b\":1}"), Cow::Borrowed(_)));
    }
}
