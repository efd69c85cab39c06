//! The few pieces of JSON that envelopes are written with.
//!
//! By hand, because a reply is a dozen known tokens around a name: no value tree, no formatter and
//! no error to handle. Tests hold it to what `serde_json` reads.

/// The fields of one object, being appended.
#[derive(Debug)]
pub struct Fields<'o> {
    out: &'o mut Vec<u8>,
    is_first: bool,
}

impl Fields<'_> {
    /// A field with a string.
    pub fn string(&mut self, name: &str, text: &str) -> &mut Self {
        self.field(name, |out| string(out, text))
    }

    /// A field with a number.
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.field(name, |out| out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()))
    }

    /// A field with `true` or `false`.
    pub fn boolean(&mut self, name: &str, value: bool) -> &mut Self {
        self.raw(name, if value { b"true" } else { b"false" })
    }

    /// A field with a value that is JSON already.
    pub fn raw(&mut self, name: &str, json: &[u8]) -> &mut Self {
        self.field(name, |out| out.extend_from_slice(json))
    }

    /// A field with an object.
    pub fn object(&mut self, name: &str, fields: impl FnOnce(&mut Fields<'_>)) -> &mut Self {
        self.field(name, |out| object(out, fields))
    }

    /// A field with a list of objects.
    pub fn objects<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut fields: impl FnMut(&mut Fields<'_>, T),
    ) -> &mut Self {
        self.list(name, items, |out, item| object(out, |object| fields(object, item)))
    }

    /// A field with a list.
    pub fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Vec<u8>, T),
    ) -> &mut Self {
        self.field(name, |out| {
            out.push(b'[');
            for (at, item) in items.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(out, item);
            }
            out.push(b']');
        })
    }

    /// Adds `write`'s fields where there is a value.
    pub fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) -> &mut Self {
        if let Some(value) = value {
            write(self, value);
        }
        self
    }

    fn field(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        if !self.is_first {
            self.out.push(b',');
        }
        self.is_first = false;
        // Names are ours and need no escapes.
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        write(self.out);
        self
    }
}

/// Appends an object.
pub fn object(out: &mut Vec<u8>, fields: impl FnOnce(&mut Fields<'_>)) {
    out.push(b'{');
    fields(&mut Fields { out, is_first: true });
    out.push(b'}');
}

/// Appends `text` as a JSON string.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| escape(byte).is_some()) {
        // Only ASCII is escaped, so both cuts fall on character boundaries.
        let (clean, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.extend_from_slice(clean.as_bytes());
        if let Some(&byte) = from.as_bytes().first() {
            escaped(out, byte);
        }
        rest = from.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

/// The letter after the backslash, `u` where only the number will do; `None`: it stands for itself.
const fn escape(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' => Some(byte),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        b'\t' => Some(b't'),
        0x08 => Some(b'b'),
        0x0c => Some(b'f'),
        0..0x20 => Some(b'u'),
        _ => None,
    }
}

fn escaped(out: &mut Vec<u8>, byte: u8) {
    let letter = escape(byte).unwrap_or(byte);
    out.extend_from_slice(&[b'\\', letter]);
    if letter == b'u' {
        let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
        out.extend_from_slice(&[b'0', b'0', digit(byte >> 4), digit(byte & 0xf)]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) {
        let mut out = Vec::new();

        string(&mut out, text);

        assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(text).unwrap());
    }

    #[test]
    fn every_control_character_is_escaped_as_serde_json_does() {
        let text: String = ('\0'..='\u{a0}').collect();
        check(&text);
    }

    proptest! {
        #[test]
        fn any_text_is_escaped_as_serde_json_does(text in "(\\PC|[\"\\\\\\x00-\\x20]){0,40}") {
            check(&text);
        }
    }
}
