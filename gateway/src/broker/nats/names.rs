//! What topics, rules and streams are called between pods.
//!
//! A channel's name is never interpreted by NATS: it becomes one token, and two names never become
//! the same one. `_` begins an escape and stands for nothing else, so a token can be read back, and
//! names of the gateway's own that begin with another `_` sequence cannot be met by a channel's.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::protocol::topic::Topic;

/// The longest token that a rule has in the name of its stream. NATS takes 255 bytes for the whole
/// name, of which namespace and name may take 115.
const RULE_TOKEN_BYTES_MAX: usize = 120;

/// The subjects and streams of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    subjects: String,
    streams: String,
}

impl Names {
    /// The names of the gateway `name` in `namespace`, both DNS labels (RFC 1123), so that neither
    /// a dot nor an underscore of theirs can be taken for a separator.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            subjects: format!("headgate.{namespace}.{name}"),
            streams: format!("headgate_{namespace}_{name}"),
        }
    }

    /// The beginning of all subjects, without a dot at the end.
    pub fn prefix(&self) -> &str {
        &self.subjects
    }

    /// Where subscribers of a topic listen.
    pub fn live(&self, topic: &Topic) -> String {
        format!("{}.live.{}", self.subjects, token(topic.key()))
    }

    /// Where publications of a topic go that the stream of `rule` stores.
    pub fn stored(&self, rule: &str, topic: &Topic) -> String {
        format!("{}.hist.{rule}.{}", self.subjects, token(topic.key()))
    }

    /// All that the stream of `rule` stores.
    pub fn all_stored(&self, rule: &str) -> String {
        format!("{}.hist.{rule}.*", self.subjects)
    }

    /// Where that is published again.
    pub fn republished(&self) -> String {
        format!("{}.live.{{{{wildcard(1)}}}}", self.subjects)
    }

    /// A subject of the pods' own talk: `pods`, `ask`, `inbox`.
    pub fn own(&self, what: &str) -> String {
        format!("{}.{what}", self.subjects)
    }

    /// The stream of a rule.
    pub fn stream(&self, rule: &str) -> String {
        format!("{}_{rule}", self.streams)
    }

    /// The stream of revocations. No rule's token begins so.
    pub fn revocations(&self) -> String {
        format!("{}__revocations", self.streams)
    }
}

/// A text as one token: `[A-Za-z0-9-]` as they are, every other byte as `_` and two hexadecimal digits.
pub fn token(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut token = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            token.push(byte.into());
        } else {
            token.push('_');
            for digit in [byte >> 4, byte & 15] {
                token.push(DIGITS.get(usize::from(digit)).copied().unwrap_or(b'0').into());
            }
        }
    }
    token
}

/// The token of a rule, by its `match`. A long one is known by its hash: `_h` begins no escape.
pub fn rule_token(pattern: &str) -> String {
    let token = token(pattern);
    if token.len() <= RULE_TOKEN_BYTES_MAX {
        return token;
    }
    format!("_h{}", URL_SAFE_NO_PAD.encode(Sha256::digest(pattern)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::channel::ChannelName;

    fn decoded(token: &str) -> Vec<u8> {
        let mut bytes = token.bytes();
        let mut text = Vec::new();
        while let Some(byte) = bytes.next() {
            if byte == b'_' {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                let digits = str::from_utf8(&digits).unwrap();
                text.push(u8::from_str_radix(digits, 16).unwrap());
            } else {
                text.push(byte);
            }
        }
        text
    }

    fn is_token(text: &str) -> bool {
        text.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-' || it == b'_')
    }

    proptest! {
        #[test]
        fn a_token_can_be_read_back(text: String) {
            let token = token(&text);
            prop_assert!(is_token(&token), "{}", token);
            prop_assert_eq!(decoded(&token), text.as_bytes());
        }

        #[test]
        fn rules_of_any_length_have_streams_of_their_own(a in ".{0,255}", b in ".{0,255}") {
            let (one, other) = (rule_token(&a), rule_token(&b));
            prop_assert_eq!(one == other, a == b);
            prop_assert!(is_token(&one) && one.len() <= RULE_TOKEN_BYTES_MAX, "{}", one);
        }
    }

    #[test]
    fn names_are_one_token_each() {
        let names = Names::new("demo", "chat");
        let room = Topic::channel(ChannelName::parse("room.>").unwrap());
        let rule = rule_token("room.**");

        assert_eq!(names.live(&room), "headgate.demo.chat.live.room_2E_3E");
        assert_eq!(names.live(&Topic::all()), "headgate.demo.chat.live._40all");
        assert_eq!(names.stored(&rule, &room), "headgate.demo.chat.hist.room_2E_2A_2A.room_2E_3E");
        assert_eq!(names.stream(&rule), "headgate_demo_chat_room_2E_2A_2A");
        assert_eq!(names.republished(), "headgate.demo.chat.live.{{wildcard(1)}}");
    }

    #[test]
    fn the_longest_channel_fits_a_line_of_the_protocol() {
        let longest = "é".repeat(127);
        let topic = Topic::channel(ChannelName::parse(&longest).unwrap());
        let names = Names::new(&"n".repeat(63), &"g".repeat(40));

        let subject = names.stored(&rule_token(&longest), &topic);

        // A server refuses longer lines than 4,096 bytes by default (`max_control_line`).
        assert!(subject.len() < 1_200, "{}", subject.len());
        assert!(names.stream(&rule_token(&longest)).len() <= 255);
    }
}
