//! What a client says with a whole message or control frame.

use std::fmt;

use super::{frame::Kind, limits::Violation};

/// What a client has said.
///
/// `Debug` tells sizes only: what clients say, tokens among it, is not for logs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// To be answered by a pong with the same payload, at most 125 bytes.
    Ping(&'a [u8]),
    /// The answer to a ping, or an unasked sign of life.
    Pong(&'a [u8]),
    /// The client's close frame: its status code, which is one that may be sent, and its reason.
    Close(Option<(u16, &'a str)>),
}

impl<'a> Event<'a> {
    /// Reads a payload, without mask and inflated.
    pub(super) fn read(kind: Kind, payload: &'a [u8]) -> Result<Self, Violation> {
        match kind {
            Kind::Text => text(payload).map(Self::Text),
            Kind::Binary => Ok(Self::Binary(payload)),
            Kind::Ping => Ok(Self::Ping(payload)),
            Kind::Pong => Ok(Self::Pong(payload)),
            Kind::Close => close(payload).map(Self::Close),
        }
    }
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Binary(bytes) => write!(f, "Binary({} bytes)", bytes.len()),
            Self::Ping(bytes) => write!(f, "Ping({} bytes)", bytes.len()),
            Self::Pong(bytes) => write!(f, "Pong({} bytes)", bytes.len()),
            Self::Close(None) => f.write_str("Close"),
            Self::Close(Some((code, _))) => write!(f, "Close({code})"),
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, Violation> {
    str::from_utf8(bytes).map_err(|_| Violation::InvalidText)
}

/// The status code and reason of a close frame (RFC 6455, section 5.5.1).
fn close(payload: &[u8]) -> Result<Option<(u16, &str)>, Violation> {
    match payload.split_first_chunk() {
        None if payload.is_empty() => Ok(None),
        None => Err(Violation::Protocol("close frame holds half a status code")),
        Some((code, reason)) => {
            let code = u16::from_be_bytes(*code);
            if !may_be_sent(code) {
                return Err(Violation::Protocol("close frame holds a status code not to be sent"));
            }
            Ok(Some((code, text(reason)?)))
        }
    }
}

/// The status codes for close frames: RFC 6455 section 7.4, and 1012 to 1014 from its registry.
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(payload: &[u8], expected: Result<Option<(u16, &str)>, Violation>) {
        assert!(Event::read(Kind::Close, payload) == expected.map(Event::Close), "{payload:?}");
    }

    #[test]
    fn close_frames_are_read() {
        check(b"", Ok(None));
        check(b"\x03\xe8", Ok(Some((1000, ""))));
        check(b"\x11\x4fslow", Ok(Some((4431, "slow"))));
        check(b"\x03\xe8\xff", Err(Violation::InvalidText));
        check(b"\x03\xe8\xe2\x82", Err(Violation::InvalidText));
        check(b"\x03", Err(Violation::Protocol("close frame holds half a status code")));
    }

    #[test]
    fn codes_that_must_not_be_sent_are_refused() {
        let refused = [0..=999, 1004..=1006, 1015..=2999, 5000..=u16::MAX];
        for code in 0..=u16::MAX {
            let is_refused = refused.iter().any(|codes| codes.contains(&code));

            assert_eq!(
                Event::read(Kind::Close, &code.to_be_bytes()).is_err(),
                is_refused,
                "{code}"
            );
        }
    }

    #[test]
    fn what_clients_say_is_not_printed() {
        assert_eq!(format!("{:?}", Event::Text("secret")), "Text(6 bytes)");
        assert_eq!(format!("{:?}", Event::Close(Some((1000, "secret")))), "Close(1000)");
    }
}
