//! permessage-deflate without context takeover (RFC 7692).
//!
//! No message refers to another one, so a worker needs one compressor and one inflater for all its
//! connections, and a publication is compressed once for everybody.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What every compressed message ends with, and the wire leaves out (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// What the two sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The client keeps 2^N bytes of what it inflates; 8 to 15.
    pub server_window_bits: u8,
    /// The value of `Sec-WebSocket-Extensions` in the answer.
    pub answer: String,
}

/// Accepts the first offer that can be met; `None` where there is none.
pub fn negotiate<'a>(headers: impl Iterator<Item = &'a [u8]>) -> Option<Agreement> {
    headers
        .filter_map(|value| std::str::from_utf8(value).ok())
        .flat_map(|value| value.split(','))
        .find_map(accept)
}

/// Reads one offer; parameters that are unknown, twice there or out of bounds decline it
/// (RFC 7692, section 7.1).
fn accept(offer: &str) -> Option<Agreement> {
    let mut parts = offer.split(';').map(str::trim);
    if parts.next()? != "permessage-deflate" {
        return None;
    }
    let mut seen = [false; 4];
    let mut server_window_bits = None;
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim(), Some(unquote(value.trim()))),
            None => (part, None),
        };
        let at = match (name, value) {
            ("server_no_context_takeover", None) => 0,
            ("client_no_context_takeover", None) => 1,
            ("server_max_window_bits", Some(bits)) => {
                server_window_bits = Some(window_bits(bits)?);
                2
            }
            ("client_max_window_bits", bits) => {
                if let Some(bits) = bits {
                    window_bits(bits)?;
                }
                3
            }
            _ => return None,
        };
        if std::mem::replace(seen.get_mut(at)?, true) {
            return None;
        }
    }
    let mut answer =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned();
    if let Some(bits) = server_window_bits {
        answer.push_str("; server_max_window_bits=");
        answer.push_str(&bits.to_string());
    }
    Some(Agreement { server_window_bits: server_window_bits.unwrap_or(15), answer })
}

fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(value)
}

/// 8 to 15 without leading zeros (RFC 7692, section 7.1.2).
fn window_bits(text: &str) -> Option<u8> {
    let bits: u8 = text.parse().ok()?;
    ((8..=15).contains(&bits) && bits.to_string() == text).then_some(bits)
}

/// A worker's compressor.
#[derive(Debug)]
pub struct Deflater {
    compress: Compress,
    level: u32,
}

impl Deflater {
    /// A compressor of level 0 to 9.
    pub fn new(level: u32) -> Self {
        Self { compress: Compress::new(Compression::new(level), false), level }
    }

    /// Compresses a message; `None` where that makes it no smaller.
    pub fn deflate(&mut self, payload: &[u8], level: u32) -> Option<Vec<u8>> {
        if level != self.level {
            *self = Self::new(level);
        }
        self.compress.reset();
        let mut out = Vec::with_capacity(payload.len() / 2 + 64);
        loop {
            let read = usize::try_from(self.compress.total_in()).ok()?;
            let rest = payload.get(read..)?;
            self.compress.compress_vec(rest, &mut out, FlushCompress::Sync).ok()?;
            let is_whole = usize::try_from(self.compress.total_in()).ok()? == payload.len();
            if is_whole && out.len() < out.capacity() {
                break;
            }
            out.reserve(out.capacity());
        }
        if out.ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
        }
        (out.len() < payload.len()).then_some(out)
    }
}

/// Why a compressed message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inflation {
    /// Not DEFLATE.
    Corrupt,
    /// Larger than a message may be.
    TooBig,
}

/// A worker's decompressor, and the message that it read last.
#[derive(Debug)]
pub struct Inflater {
    decompress: Decompress,
    out: Vec<u8>,
}

/// What is kept between messages, in bytes.
const KEPT: usize = 64 * 1024;

impl Default for Inflater {
    fn default() -> Self {
        Self { decompress: Decompress::new(false), out: Vec::new() }
    }
}

impl Inflater {
    /// Inflates a whole message, but never more than `bytes_max` and a little.
    ///
    /// # Errors
    ///
    /// [`Inflation::TooBig`] as soon as it is, whatever the rest would be.
    pub fn inflate(&mut self, payload: &[u8], bytes_max: usize) -> Result<&[u8], Inflation> {
        self.decompress.reset(false);
        self.out.clear();
        self.out.shrink_to(KEPT);
        let mut is_ended = self.feed(payload, bytes_max)?;
        if !is_ended {
            is_ended = self.feed(&TAIL, bytes_max)?;
        }
        // A stream that ends by itself may be followed by nothing but the empty block's rest.
        let _ = is_ended;
        if self.out.len() > bytes_max { Err(Inflation::TooBig) } else { Ok(&self.out) }
    }

    /// Feeds input; whether the stream has ended by itself.
    fn feed(&mut self, input: &[u8], bytes_max: usize) -> Result<bool, Inflation> {
        let start = self.decompress.total_in();
        loop {
            if self.out.len() > bytes_max {
                return Err(Inflation::TooBig);
            }
            if self.out.len() == self.out.capacity() {
                let room = (bytes_max + 1 - self.out.len()).min(self.out.len().max(4_096));
                self.out.reserve_exact(room);
            }
            let read = usize::try_from(self.decompress.total_in() - start)
                .map_err(|_| Inflation::Corrupt)?;
            let rest = input.get(read..).unwrap_or_default();
            let before = (self.decompress.total_in(), self.decompress.total_out());
            let status = self
                .decompress
                .decompress_vec(rest, &mut self.out, FlushDecompress::Sync)
                .map_err(|_| Inflation::Corrupt)?;
            if status == Status::StreamEnd {
                return Ok(true);
            }
            let is_stuck = before == (self.decompress.total_in(), self.decompress.total_out());
            if self.out.len() < self.out.capacity()
                && (is_stuck || self.decompress.total_in() - start == input.len() as u64)
            {
                return Ok(false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(offer: &str, expected: Option<&str>) {
        let prefix = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        let got = negotiate(std::iter::once(offer.as_bytes())).map(|it| it.answer);
        assert_eq!(got, expected.map(|more| format!("{prefix}{more}")), "{offer}");
    }

    #[test]
    fn offers_are_met_in_order_or_declined() {
        check("permessage-deflate", Some(""));
        check("permessage-deflate; client_max_window_bits", Some(""));
        check("permessage-deflate; server_max_window_bits=10", Some("; server_max_window_bits=10"));
        check(
            "permessage-deflate; server_max_window_bits=\"8\"",
            Some("; server_max_window_bits=8"),
        );
        check("permessage-deflate; server_max_window_bits=7", None);
        check("permessage-deflate; server_max_window_bits=08", None);
        check("permessage-deflate; server_max_window_bits", None);
        check("permessage-deflate; new; x=1, permessage-deflate", Some(""));
        check("permessage-deflate; client_max_window_bits; client_max_window_bits", None);
        check("x-webkit-deflate-frame", None);
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = Deflater::new(9).deflate(&vec![0; 50 << 20], 9).unwrap();
        let mut inflater = Inflater::default();

        assert_eq!(inflater.inflate(&bomb, 1 << 20), Err(Inflation::TooBig));
        assert!(inflater.out.capacity() <= (1 << 20) + 8_192);
    }

    #[test]
    fn streams_that_end_by_themselves_are_read() {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::new(6));
        std::io::Write::write_all(&mut encoder, b"hello hello hello").unwrap();
        let ended = encoder.finish().unwrap();

        assert_eq!(Inflater::default().inflate(&ended, 99), Ok(&b"hello hello hello"[..]));
        assert_eq!(Inflater::default().inflate(&[0x00], 99), Ok(&b""[..]));
        assert_eq!(Inflater::default().inflate(&[0xff; 9], 99), Err(Inflation::Corrupt));
    }

    proptest! {
        #[test]
        fn what_was_deflated_is_inflated(words in prop::collection::vec("[a-c]{0,9}", 0..4_000)) {
            let text = words.concat();
            let mut deflater = Deflater::new(6);
            if let Some(deflated) = deflater.deflate(text.as_bytes(), 6) {
                let mut inflater = Inflater::default();
                prop_assert_eq!(inflater.inflate(&deflated, text.len()).unwrap(), text.as_bytes());
                prop_assert_eq!(inflater.inflate(&deflated, text.len() - 1), Err(Inflation::TooBig));
            }
        }
    }
}
