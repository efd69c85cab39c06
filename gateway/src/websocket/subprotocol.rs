//! What a client offers in `Sec-WebSocket-Protocol`: dialects, and the token that a browser has no
//! other header for.

use std::fmt;

use http::HeaderValue;

use super::{extension::is_token_byte, handshake::HandshakeError};

/// How the gateway's protocol is spoken on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `headgate.v1`.
    V1,
    /// `headgate.plain`, and what a client gets that offers nothing.
    #[default]
    Plain,
}

impl Dialect {
    /// The name of its subprotocol.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "headgate.v1",
            Self::Plain => "headgate.plain",
        }
    }

    fn named(name: &[u8]) -> Option<Self> {
        [Self::V1, Self::Plain].into_iter().find(|dialect| dialect.name().as_bytes() == name)
    }
}

/// What stands before a token in the list.
const TOKEN_PREFIX: &[u8] = b"headgate.token.";

/// A token as a client sent it, not checked in any way.
///
/// `Debug` does not print it: a token is never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What was offered, as far as we know it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Offered {
    /// The first known dialect in the client's order.
    pub(super) dialect: Option<Dialect>,
    pub(super) token: Option<Token>,
}

/// Reads the values of `Sec-WebSocket-Protocol`. Linear in their length.
pub(super) fn offered<'a>(
    values: impl IntoIterator<Item = &'a HeaderValue>,
) -> Result<Offered, HandshakeError> {
    let mut offered = Offered::default();
    let mut is_any = false;
    let names = values.into_iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    for name in names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()) {
        is_any = true;
        if !name.iter().copied().all(is_token_byte) {
            return Err(HandshakeError::BadHandshake("Sec-WebSocket-Protocol is malformed"));
        }
        if let Some(token) = name.strip_prefix(TOKEN_PREFIX) {
            if offered.token.is_some() {
                return Err(HandshakeError::BadHandshake("Sec-WebSocket-Protocol has two tokens"));
            }
            // Its bytes are ASCII, as was just seen.
            offered.token = str::from_utf8(token).ok().map(|it| Token(it.to_owned()));
        } else {
            offered.dialect = offered.dialect.or(Dialect::named(name));
        }
    }
    // A browser fails where it offered something and nothing of that is echoed.
    if is_any && offered.dialect.is_none() {
        return Err(HandshakeError::Subprotocol);
    }
    Ok(offered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[&[u8]], expected: Result<(Option<Dialect>, Option<&str>), HandshakeError>) {
        let values: Vec<_> = values.iter().map(|it| HeaderValue::from_bytes(it).unwrap()).collect();

        let offered = offered(&values).map(|it| (it.dialect, it.token.map(|it| it.0)));

        assert_eq!(offered, expected.map(|(dialect, token)| (dialect, token.map(str::to_owned))));
    }

    #[test]
    fn the_first_known_dialect_counts() {
        check(&[], Ok((None, None)));
        check(&[b"", b" ,"], Ok((None, None)));
        check(&[b"headgate.v1"], Ok((Some(Dialect::V1), None)));
        check(&[b"chat, headgate.plain,headgate.v1"], Ok((Some(Dialect::Plain), None)));
        check(&[b"chat", b"headgate.v1"], Ok((Some(Dialect::V1), None)));
    }

    #[test]
    fn unknown_dialects_are_refused() {
        check(&[b"chat"], Err(HandshakeError::Subprotocol));
        check(&[b"Headgate.v1"], Err(HandshakeError::Subprotocol));
        check(&[b"headgate.token.e30.e30.x"], Err(HandshakeError::Subprotocol));
    }

    #[test]
    fn a_token_is_taken_out() {
        check(&[b"headgate.v1, headgate.token.a.b-_c"], Ok((Some(Dialect::V1), Some("a.b-_c"))));
        check(&[b"headgate.token.a", b"headgate.v1"], Ok((Some(Dialect::V1), Some("a"))));
        check(&[b"headgate.v1, headgate.token."], Ok((Some(Dialect::V1), Some(""))));
        check(
            &[b"headgate.v1, headgate.token.a, headgate.token.a"],
            Err(HandshakeError::BadHandshake("Sec-WebSocket-Protocol has two tokens")),
        );
    }

    #[test]
    fn odd_bytes_are_malformed() {
        let malformed = HandshakeError::BadHandshake("Sec-WebSocket-Protocol is malformed");
        check(&[b"\x80\xff"], Err(malformed));
        check(&[b"headgate.v1, headgate.token.\xff"], Err(malformed));
        check(&[b"b       x"], Err(malformed));
        check(&[b"\"headgate.v1\""], Err(malformed));
    }

    #[test]
    fn a_token_is_not_printed() {
        assert_eq!(format!("{:?}", Token("secret".to_owned())), "Token(..)");
    }
}
