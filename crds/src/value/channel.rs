//! Which channels a rule or a grant is about.

use std::{fmt, str::FromStr};

use super::{kind::Kind, written_as_text};

/// A pattern for channel names: parts between dots, where `*` is one part and `**`, only at the end, is one part or more.
///
/// A star never matches the first part of a name that begins with `@`: those channels are the gateway's own, and only a
/// pattern that names one is about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelPattern {
    text: Box<str>,
}

/// Why a text is not a [`ChannelPattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelPatternError {
    /// Nothing, or more bytes than a channel's name may have.
    #[error("{0} bytes long")]
    Length(usize),
    /// Nothing before, between or after dots.
    #[error("has an empty part")]
    EmptyPart,
    /// A star beside other characters.
    #[error("has a * that is not a whole part")]
    Star,
    /// A double star before the end.
    #[error("has a ** that is not the last part")]
    NotLast,
    /// A control character, which no channel's name has.
    #[error("has a control character")]
    Control,
}

impl ChannelPattern {
    /// As many bytes as a channel's name may have.
    pub const BYTES_MAX: usize = 255;

    /// `**`: every channel but the gateway's own.
    pub fn everything() -> Self {
        Self { text: "**".into() }
    }

    /// Whether the pattern is about the channel of this name. Allocates nothing.
    pub fn matches(&self, channel: &str) -> bool {
        let mut parts = channel.split('.');
        let mut is_own = channel.starts_with('@');
        for wanted in self.text.split('.') {
            let Some(part) = parts.next() else { return false };
            match wanted {
                "**" => return !is_own,
                "*" if !is_own => {}
                _ if wanted == part => {}
                _ => return false,
            }
            is_own = false;
        }
        parts.next().is_none()
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for ChannelPattern {
    type Err = ChannelPatternError;

    fn from_str(text: &str) -> Result<Self, ChannelPatternError> {
        if text.is_empty() || text.len() > Self::BYTES_MAX {
            return Err(ChannelPatternError::Length(text.len()));
        }
        if text.contains(char::is_control) {
            return Err(ChannelPatternError::Control);
        }
        let mut parts = text.split('.').peekable();
        while let Some(part) = parts.next() {
            check_part(part, parts.peek().is_none())?;
        }
        Ok(Self { text: text.into() })
    }
}

fn check_part(part: &str, is_last: bool) -> Result<(), ChannelPatternError> {
    match part {
        "" => Err(ChannelPatternError::EmptyPart),
        "**" if !is_last => Err(ChannelPatternError::NotLast),
        "*" | "**" => Ok(()),
        _ if part.contains('*') => Err(ChannelPatternError::Star),
        _ => Ok(()),
    }
}

impl fmt::Display for ChannelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

written_as_text!(ChannelPattern, Kind::ChannelPattern);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let parsed: ChannelPattern = pattern.parse().unwrap();
        for channel in matching {
            assert!(parsed.matches(channel), "{pattern} should match {channel}");
        }
        for channel in others {
            assert!(!parsed.matches(channel), "{pattern} should not match {channel}");
        }
    }

    #[test]
    fn a_star_is_one_part_and_two_are_the_rest() {
        check("room.42", &["room.42"], &["room", "room.4", "room.42.a", "ROOM.42"]);
        check("room.*", &["room.1", "room.é"], &["room", "room.1.a", "rooms.1"]);
        check("*.news", &["de.news"], &["news", "de.at.news"]);
        check("public.**", &["public.a", "public.a.b.c"], &["public", "publics.a"]);
        check("**", &["a", "a.b.c"], &[]);
        check("*", &["a"], &["a.b"]);
    }

    #[test]
    fn a_star_does_not_match_the_gateways_own_channels() {
        check("**", &["a.@b"], &["@user", "@all"]);
        check("*", &[], &["@user"]);
        check("@user", &["@user"], &["@all", "user"]);
    }

    #[test]
    fn what_no_channel_can_be_named_is_refused() {
        let check = |text: &str, expected| {
            assert_eq!(text.parse::<ChannelPattern>(), Err(expected), "{text}");
        };
        check("", ChannelPatternError::Length(0));
        check(&"a".repeat(256), ChannelPatternError::Length(256));
        check(".a", ChannelPatternError::EmptyPart);
        check("a..b", ChannelPatternError::EmptyPart);
        check("a.", ChannelPatternError::EmptyPart);
        check("room-*", ChannelPatternError::Star);
        check("***", ChannelPatternError::Star);
        check("**.a", ChannelPatternError::NotLast);
        check("a\n", ChannelPatternError::Control);
    }

    proptest! {
        /// The same decision by another way: both sides as lists of parts, from the end.
        #[test]
        fn it_decides_as_a_recursive_definition_does(pattern in "(a|b|\\*)(\\.(a|b|\\*)){0,3}(\\.\\*\\*)?", channel in "(a|b|@a)(\\.(a|b|@a)){0,4}") {
            fn agrees(pattern: &[&str], channel: &[&str]) -> bool {
                match (pattern, channel) {
                    ([], []) => true,
                    (["**"], [_, ..]) => true,
                    ([wanted, pattern @ ..], [part, channel @ ..]) => {
                        (*wanted == "*" || wanted == part) && agrees(pattern, channel)
                    }
                    _ => false,
                }
            }
            let parsed: ChannelPattern = pattern.parse().unwrap();
            let pattern: Vec<_> = pattern.split('.').collect();
            let parts: Vec<_> = channel.split('.').collect();
            let expected = !channel.starts_with('@') && agrees(&pattern, &parts);

            prop_assert_eq!(parsed.matches(&channel), expected);
        }
    }
}
