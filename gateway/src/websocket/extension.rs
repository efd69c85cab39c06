//! What is agreed on about compression (RFC 6455, section 9.1; RFC 7692, section 7.1).
//!
//! The first offer that we can keep counts: without context takeover, either way, always. A client
//! with a smaller window gets the same bytes as all others where these cannot look further back
//! than its window is long, and the rest plain; so any window is fine.

use std::{borrow::Cow, fmt::Write, mem};

use http::HeaderValue;
use smallvec::SmallVec;

/// The extension's name (RFC 7692, section 7).
const NAME: &[u8] = b"permessage-deflate";

/// The window of a client that names none, which is all that deflate can use.
const WINDOW_BITS_MAX: u8 = 15;

/// Compression as it was agreed on for one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The logarithm of the client's window in bytes, 8 to 15.
    pub server_window_bits: u8,
    /// The value of `Sec-WebSocket-Extensions` in the response.
    pub answer: String,
}

/// `Sec-WebSocket-Extensions` is not what its grammar allows, which fails the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("extensions are malformed")]
pub struct Malformed;

impl Agreement {
    fn new(server_window_bits: Option<u8>) -> Self {
        let mut answer =
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned();
        if let Some(bits) = server_window_bits {
            // Writing to a string does not fail.
            let _ = write!(answer, "; server_max_window_bits={bits}");
        }
        Self { server_window_bits: server_window_bits.unwrap_or(WINDOW_BITS_MAX), answer }
    }
}

/// Whether a payload of this length, deflated for all, is one that a client with this window can
/// inflate: nothing in it looks further back than it is long.
pub fn window_holds(server_window_bits: u8, payload_bytes: usize) -> bool {
    server_window_bits >= WINDOW_BITS_MAX || payload_bytes <= 1 << server_window_bits
}

/// Takes the first offer that can be kept from the values of `Sec-WebSocket-Extensions`; `None` if
/// there is none, or compression is not enabled.
///
/// Linear in the length of the values.
pub fn negotiate<'a>(
    values: impl IntoIterator<Item = &'a HeaderValue>,
    is_enabled: bool,
) -> Result<Option<Agreement>, Malformed> {
    let mut agreement = None;
    for value in values {
        let mut list = Scanner { rest: value.as_bytes() };
        while let Some(offer) = offer(&mut list)? {
            agreement = agreement.or_else(|| offer.agreement());
        }
    }
    Ok(agreement.filter(|_| is_enabled))
}

/// One extension with its parameters.
#[derive(Default)]
struct Offer {
    parameters: SmallVec<[Parameter; 4]>,
    /// Another extension, or with a parameter that we do not know or that is there twice.
    is_declined: bool,
}

/// What may be said about permessage-deflate.
enum Parameter {
    ServerNoContextTakeover,
    ClientNoContextTakeover,
    /// How small a window the client could do with; we inflate any.
    ClientMaxWindowBits,
    ServerMaxWindowBits(u8),
}

impl Offer {
    fn add(&mut self, parameter: Option<Parameter>) {
        let is_same = |a: &Parameter, b| mem::discriminant(a) == mem::discriminant(b);
        match parameter {
            Some(new) if !self.parameters.iter().any(|it| is_same(it, &new)) => {
                self.parameters.push(new);
            }
            _ => self.is_declined = true,
        }
    }

    fn agreement(&self) -> Option<Agreement> {
        let server_window_bits = self.parameters.iter().find_map(|it| match it {
            Parameter::ServerMaxWindowBits(bits) => Some(*bits),
            _ => None,
        });
        (!self.is_declined).then(|| Agreement::new(server_window_bits))
    }
}

impl Parameter {
    fn parse(name: &[u8], value: Option<&[u8]>) -> Option<Self> {
        match (name, value) {
            (b"server_no_context_takeover", None) => Some(Self::ServerNoContextTakeover),
            (b"client_no_context_takeover", None) => Some(Self::ClientNoContextTakeover),
            (b"client_max_window_bits", None) => Some(Self::ClientMaxWindowBits),
            (b"client_max_window_bits", Some(bits)) => {
                window_bits(bits).map(|_| Self::ClientMaxWindowBits)
            }
            (b"server_max_window_bits", Some(bits)) => {
                window_bits(bits).map(Self::ServerMaxWindowBits)
            }
            _ => None,
        }
    }
}

/// 8 to 15, without leading zeros (RFC 7692, section 7.1.2.1).
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// The next element of the list; empty elements are passed over.
fn offer(list: &mut Scanner<'_>) -> Result<Option<Offer>, Malformed> {
    list.skip(|byte| is_space(byte) || byte == b',');
    if list.rest.is_empty() {
        return Ok(None);
    }
    let mut offer = Offer { is_declined: list.token()? != NAME, ..Offer::default() };
    list.skip(is_space);
    while list.eat(b';') {
        list.skip(is_space);
        let name = list.token()?;
        list.skip(is_space);
        let value = if list.eat(b'=') { Some(list.value()?) } else { None };
        list.skip(is_space);
        offer.add(Parameter::parse(name, value.as_deref()));
    }
    if list.rest.is_empty() || list.eat(b',') { Ok(Some(offer)) } else { Err(Malformed) }
}

/// The part of a header's value that has not been read.
struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    fn skip(&mut self, is_skipped: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !is_skipped(*byte)).unwrap_or(self.rest.len());
        let (skipped, rest) = self.rest.split_at(end);
        self.rest = rest;
        skipped
    }

    fn eat(&mut self, expected: u8) -> bool {
        let rest = self.rest.split_first().filter(|(first, _)| **first == expected);
        self.rest = rest.map_or(self.rest, |(_, rest)| rest);
        rest.is_some()
    }

    fn token(&mut self) -> Result<&'a [u8], Malformed> {
        let token = self.skip(is_token_byte);
        if token.is_empty() { Err(Malformed) } else { Ok(token) }
    }

    /// A token, or a quoted string that would be one without its quotes and backslashes.
    fn value(&mut self) -> Result<Cow<'a, [u8]>, Malformed> {
        self.skip(is_space);
        if !self.eat(b'"') {
            return self.token().map(Cow::Borrowed);
        }
        let mut value = Vec::new();
        while !self.eat(b'"') {
            self.eat(b'\\');
            let (first, rest) = self.rest.split_first().ok_or(Malformed)?;
            if !is_token_byte(*first) {
                return Err(Malformed);
            }
            value.push(*first);
            self.rest = rest;
        }
        if value.is_empty() { Err(Malformed) } else { Ok(Cow::Owned(value)) }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// What a token is made of (RFC 9110, section 5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
