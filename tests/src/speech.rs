//! What a client says to each kind of server.

use std::fmt::Write;

/// Whose protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// Headgate's, which the reference loop understands as far as it must.
    Headgate,
    /// Centrifugo's JSON protocol.
    Centrifugo,
}

impl Speech {
    /// What must be said and answered before a connection can be used.
    pub const fn greeting(self) -> Option<&'static str> {
        match self {
            Self::Headgate => None,
            Self::Centrifugo => Some(r#"{"id":1,"connect":{}}"#),
        }
    }

    /// Asks for the messages of a channel; is answered with one message.
    pub fn subscribe(self, channel: &str) -> String {
        match self {
            Self::Headgate => {
                format!(r#"{{"type":"subscribe","payload":{{"channel":"{channel}"}},"id":1}}"#)
            }
            Self::Centrifugo => format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}"}}}}"#),
        }
    }

    /// Publishes 128 bytes that begin with `number`.
    pub fn publish(self, channel: &str, number: u64) -> String {
        let mut text = match self {
            Self::Headgate => {
                format!(r#"{{"type":"message","payload":{{"channel":"{channel}","data":""#)
            }
            Self::Centrifugo => format!(r#"{{"id":3,"publish":{{"channel":"{channel}","data":""#),
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "{number:0128}");
        text.push_str(r#""}}"#);
        text
    }

    /// The number in a message that [`Self::publish`] made.
    pub fn number(message: &[u8]) -> Option<u64> {
        const BEFORE: &[u8] = br#""data":""#;
        let at = memchr::memmem::find(message, BEFORE)? + BEFORE.len();
        std::str::from_utf8(message.get(at..at + 128)?).ok()?.parse().ok()
    }

    /// The answer to a message that is only a heartbeat. Headgate's pings are frames of their own.
    pub fn heartbeat(self, message: &[u8]) -> Option<&'static str> {
        (self == Self::Centrifugo && message == b"{}").then_some("{}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_comes_back() {
        for speech in [Speech::Headgate, Speech::Centrifugo] {
            let message = speech.publish("a", 42);
            assert_eq!(Speech::number(message.as_bytes()), Some(42));
        }
        assert_eq!(Speech::number(b"{}"), None);
    }
}
