//! Looks at the raw bytes of a request's head, for what hyper lets through.
//!
//! hyper takes a bare line feed for the end of a line, as RFC 9112 allows; two parsers that differ
//! on where a line ends are how requests are smuggled, so an edge refuses it.

/// The longest request line: a URI of 8 KiB and what stands around it.
pub const URI_BYTES_MAX: usize = 8 * 1024;

/// Headers at most.
pub const HEADERS_MAX: usize = 100;

/// All headers together, in bytes.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// What has been seen of a head.
#[expect(clippy::struct_excessive_bools, reason = "facts that do not exclude each other")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScan {
    line_bytes: usize,
    bytes: usize,
    last: u8,
    is_in_headers: bool,
    is_over: bool,
    /// A line ended without a carriage return.
    pub has_bare_line_feed: bool,
    /// The request line is too long.
    pub is_uri_too_long: bool,
    /// The headers are too large.
    pub are_headers_too_large: bool,
}

impl HeadScan {
    /// Looks at the next bytes; returns whether the head may go on.
    pub fn feed(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            if self.is_over {
                break;
            }
            self.step(*byte);
        }
        !(self.is_uri_too_long || self.are_headers_too_large)
    }

    fn step(&mut self, byte: u8) {
        let last = std::mem::replace(&mut self.last, byte);
        if byte == b'\n' {
            self.has_bare_line_feed |= last != b'\r';
            // Empty lines before the request line are allowed (RFC 9112, section 2.2).
            let is_empty = self.line_bytes == 0;
            self.is_over = is_empty && self.is_in_headers;
            self.is_in_headers |= !is_empty;
            self.line_bytes = 0;
            return;
        }
        if byte != b'\r' {
            self.line_bytes += 1;
        }
        if self.is_in_headers {
            self.bytes += 1;
            self.are_headers_too_large |= self.bytes > HEADER_BYTES_MAX;
        } else {
            self.is_uri_too_long |= self.line_bytes > URI_BYTES_MAX + 32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(head: &str) -> HeadScan {
        let mut scan = HeadScan::default();
        for piece in head.as_bytes().chunks(7) {
            scan.feed(piece);
        }
        scan
    }

    #[test]
    fn a_bare_line_feed_is_seen_in_the_head_only() {
        assert!(!scan("GET / HTTP/1.1\r\nHost: a\r\n\r\nbody\n").has_bare_line_feed);
        assert!(scan("GET / HTTP/1.1\nHost: a\r\n\r\n").has_bare_line_feed);
        assert!(scan("GET / HTTP/1.1\r\nHost: a\r\n\n").has_bare_line_feed);
    }

    #[test]
    fn what_is_too_large_is_named() {
        assert!(scan(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(9_000))).is_uri_too_long);
        let headers = format!("GET / HTTP/1.1\r\nA: {}\r\n", "a".repeat(17_000));
        assert!(scan(&headers).are_headers_too_large);
    }
}
