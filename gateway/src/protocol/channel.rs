//! What a channel may be called.
//!
//! Checked once, where a name comes in. The rules keep names printable, keep them apart from the
//! patterns of the manifest (`*`), and keep `@` for the gateway's own topics.

/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// A name that a client or the server API may use: 1 to 255 bytes, no control character, no `*`,
/// no empty part between dots, not beginning with `@`. Compared as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelName<'a>(&'a str);

/// Why a text is no channel name. The words go to the client with `channel_invalid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelInvalid {
    /// No bytes, or more than 255.
    #[error("channel name has {0} bytes, must have 1 to {NAME_BYTES_MAX}")]
    Length(usize),
    /// A control character (Unicode category Cc).
    #[error("channel name has a control character")]
    Control,
    /// `*` belongs to patterns.
    #[error("channel name has a *")]
    Pattern,
    /// A dot at either end, or two in a row.
    #[error("channel name has an empty part")]
    EmptyPart,
    /// Names that begin with `@` are the gateway's.
    #[error("channel name begins with @")]
    Reserved,
}

impl<'a> ChannelName<'a> {
    /// Reads a name.
    ///
    /// # Errors
    ///
    /// [`ChannelInvalid`]: the first rule that the text breaks.
    pub fn parse(text: &'a str) -> Result<Self, ChannelInvalid> {
        if text.is_empty() || text.len() > NAME_BYTES_MAX {
            return Err(ChannelInvalid::Length(text.len()));
        }
        if text.starts_with('@') {
            return Err(ChannelInvalid::Reserved);
        }
        if text.split('.').any(str::is_empty) {
            return Err(ChannelInvalid::EmptyPart);
        }
        if text.contains('*') {
            return Err(ChannelInvalid::Pattern);
        }
        if text.chars().any(char::is_control) {
            return Err(ChannelInvalid::Control);
        }
        Ok(Self(text))
    }

    /// The name as it came.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_rule_refuses_the_name_that_breaks_it() {
        use ChannelInvalid::{Control, EmptyPart, Length, Pattern, Reserved};
        let longest = "x".repeat(255);
        let too_long = "x".repeat(256);
        let table = [
            ("room", Ok(())),
            ("room.42", Ok(())),
            ("a b.\u{e9}\u{1f600}", Ok(())),
            ("mail@example", Ok(())),
            (&longest, Ok(())),
            (&too_long, Err(Length(256))),
            ("", Err(Length(0))),
            ("@all", Err(Reserved)),
            ("@", Err(Reserved)),
            (".", Err(EmptyPart)),
            ("a.", Err(EmptyPart)),
            (".a", Err(EmptyPart)),
            ("a..b", Err(EmptyPart)),
            ("a.*", Err(Pattern)),
            ("a\nb", Err(Control)),
            ("a\0", Err(Control)),
            ("a\u{7f}", Err(Control)),
            ("a\u{85}", Err(Control)),
        ];
        for (text, expected) in table {
            assert_eq!(ChannelName::parse(text).map(|_| ()), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_that_passes_is_what_was_asked_for(text in "\\PC{0,300}") {
            if let Ok(name) = ChannelName::parse(&text) {
                prop_assert_eq!(name.as_str(), &text);
            }
        }
    }
}
