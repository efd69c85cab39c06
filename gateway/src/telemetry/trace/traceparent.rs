//! The header `traceparent` (W3C Trace Context, section 3.2).

use opentelemetry::{SpanId, TraceId};

/// The caller's span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The trace that it belongs to.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether the caller records it.
    pub is_sampled: bool,
}

impl Parent {
    /// Reads the value of the header; `None` if it says nothing that counts.
    ///
    /// A later version may have more parts behind the four of version `00`.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let header = str::from_utf8(header).ok()?;
        let mut parts = header.trim_ascii().split('-');
        let version = hex(parts.next()?, 2)?;
        let trace = hex(parts.next()?, 32)?;
        let span = hex(parts.next()?, 16)?;
        let flags = hex(parts.next()?, 2)?;
        let is_whole = if version == 0 { parts.next().is_none() } else { version != 0xff };
        let parent = Self {
            trace: TraceId::from(trace),
            span: SpanId::from(u64::try_from(span).ok()?),
            is_sampled: flags & 1 == 1,
        };
        (is_whole && trace != 0 && span != 0).then_some(parent)
    }
}

/// A number of exactly `digits` lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != digits || !text.bytes().all(is_hex) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, expected: Option<(u128, u64, bool)>) {
        let parent = expected.map(|(trace, span, is_sampled)| Parent {
            trace: TraceId::from(trace),
            span: SpanId::from(span),
            is_sampled,
        });
        assert_eq!(Parent::parse(header.as_bytes()), parent, "{header}");
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        let (trace, span) = (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331);

        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Some((trace, span, true)));
        check(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            Some((trace, span, false)),
        );
        check(
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            Some((trace, span, true)),
        );
    }

    #[test]
    fn what_the_standard_forbids_says_nothing() {
        check("", None);
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", None);
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", None);
        check("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None);
        check("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", None);
        check("00-00000000000000000000000000000000-b7ad6b7169203331-01", None);
        check("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", None);
        check("00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None);
        assert_eq!(Parent::parse(b"\xff"), None);
    }
}
