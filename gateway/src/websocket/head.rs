//! Watches the head of a request go by, before hyper has it.
//!
//! hyper takes a bare LF for the end of a line, and so does not agree with every proxy on where a
//! request ends; it also has no bound of its own on the target. Both are seen in the raw bytes only.

use memchr::memchr;

use super::handshake::HandshakeError;

/// The longest request target.
pub(super) const TARGET_BYTES_MAX: usize = 8 * 1024;

/// The most bytes of headers, line ends included.
pub(super) const HEADERS_BYTES_MAX: usize = 16 * 1024;

/// What a request line has beside its target, with room for any method: what is only a little too
/// long is for [`check`](super::handshake::check) to see.
const REQUEST_LINE_REST_BYTES: usize = 64;

const BARE_LF: &str = "a line of the head ends without CR";

/// How a head is so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanResult {
    /// It goes on.
    More,
    /// It has ended, after this many bytes of the piece: what follows is the client's first frame.
    End(usize),
    /// A line ends without CR, or the request line or the headers are too long.
    Refused(HandshakeError),
}

/// The scanner of one request's head.
#[derive(Clone, Copy, Debug)]
pub struct HeadScan {
    section: Section,
    section_bytes: usize,
    /// Of the line that has not ended.
    line_bytes: usize,
    is_after_cr: bool,
    said: ScanResult,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    /// The request line, and the empty lines that may come before it (RFC 9112, section 2.2).
    Request,
    Headers,
}

impl Default for HeadScan {
    fn default() -> Self {
        Self {
            section: Section::Request,
            section_bytes: 0,
            line_bytes: 0,
            is_after_cr: false,
            said: ScanResult::More,
        }
    }
}

impl HeadScan {
    /// Looks at the next piece. Once it has said anything but [`ScanResult::More`], it says so ever
    /// after, of an end that it was after 0 bytes.
    pub fn feed(&mut self, piece: &[u8]) -> ScanResult {
        if self.said != ScanResult::More {
            return self.said;
        }
        let result = self.scan(piece);
        self.said = if let ScanResult::End(_) = result { ScanResult::End(0) } else { result };
        result
    }

    /// What it says ever after, [`ScanResult::More`] so far.
    pub fn said(&self) -> ScanResult {
        self.said
    }

    fn scan(&mut self, piece: &[u8]) -> ScanResult {
        let mut rest = piece;
        while let Some(lf) = memchr(b'\n', rest) {
            let (line, after) = rest.split_at(lf);
            self.count(line);
            if !self.is_after_cr {
                return ScanResult::Refused(HandshakeError::BadHandshake(BARE_LF));
            }
            rest = after.get(1..).unwrap_or_default();
            let is_last = self.end_line();
            if let Some(too_long) = self.too_long() {
                return too_long;
            }
            if is_last {
                return ScanResult::End(piece.len() - rest.len());
            }
        }
        self.count(rest);
        self.too_long().unwrap_or(ScanResult::More)
    }

    fn count(&mut self, bytes: &[u8]) {
        self.line_bytes += bytes.len();
        self.section_bytes += bytes.len();
        self.is_after_cr = bytes.last().map_or(self.is_after_cr, |last| *last == b'\r');
    }

    /// Goes on behind a line's LF; whether that was the head's last.
    fn end_line(&mut self) -> bool {
        let is_empty = self.line_bytes == 1;
        self.line_bytes = 0;
        self.section_bytes += 1;
        self.is_after_cr = false;
        match self.section {
            Section::Headers => return is_empty,
            Section::Request if is_empty => {}
            Section::Request => {
                if self.too_long().is_none() {
                    self.section = Section::Headers;
                    self.section_bytes = 0;
                }
            }
        }
        false
    }

    fn too_long(&self) -> Option<ScanResult> {
        let (bytes_max, too_long) = match self.section {
            Section::Request => (
                TARGET_BYTES_MAX + REQUEST_LINE_REST_BYTES,
                ScanResult::Refused(HandshakeError::Uri),
            ),
            Section::Headers => {
                (HEADERS_BYTES_MAX + b"\r\n".len(), ScanResult::Refused(HandshakeError::Headers))
            }
        };
        (self.section_bytes > bytes_max).then_some(too_long)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is said of a head that comes in one piece and of one that comes byte by byte.
    #[track_caller]
    fn check(head: &[u8], expected: ScanResult) {
        assert_eq!(HeadScan::default().feed(head), expected);
        assert_eq!(in_pieces(head, &[1]), expected);
    }

    /// The first result that is not `More`; an end counts from the start of the head.
    fn in_pieces(head: &[u8], sizes: &[usize]) -> ScanResult {
        let mut scan = HeadScan::default();
        let mut sizes = sizes.iter().cycle();
        let mut fed = 0;
        while fed < head.len() {
            let piece = &head[fed..head.len().min(fed + sizes.next().unwrap())];
            match scan.feed(piece) {
                ScanResult::More => fed += piece.len(),
                ScanResult::End(bytes) => return ScanResult::End(fed + bytes),
                result @ ScanResult::Refused(_) => return result,
            }
        }
        ScanResult::More
    }

    #[test]
    fn the_end_is_where_the_first_frame_begins() {
        check(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\x81\x80\n\n", ScanResult::End(27));
        check(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", ScanResult::End(22));
        check(b"GET / HTTP/1.1\r\nHost: a\r\n\r", ScanResult::More);
        check(b"", ScanResult::More);
    }

    #[test]
    fn a_bare_lf_is_noticed() {
        for head in [
            "\n",
            "GET / HTTP/1.1\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\r\nHost: a\r b\n",
        ] {
            check(head.as_bytes(), ScanResult::Refused(HandshakeError::BadHandshake(BARE_LF)));
        }
    }

    #[test]
    fn a_target_up_to_the_bound_passes() {
        let request = |bytes| format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(bytes - 1));

        check(request(TARGET_BYTES_MAX).as_bytes(), ScanResult::End(TARGET_BYTES_MAX + 17));
        check(request(TARGET_BYTES_MAX + 50).as_bytes(), ScanResult::Refused(HandshakeError::Uri));
        check(
            "x".repeat(TARGET_BYTES_MAX * 2).as_bytes(),
            ScanResult::Refused(HandshakeError::Uri),
        );
        check("\r\n".repeat(TARGET_BYTES_MAX).as_bytes(), ScanResult::Refused(HandshakeError::Uri));
    }

    #[test]
    fn headers_up_to_the_bound_pass() {
        let request = |bytes| format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(bytes - 5));

        check(request(HEADERS_BYTES_MAX).as_bytes(), ScanResult::End(HEADERS_BYTES_MAX + 18));
        check(
            request(HEADERS_BYTES_MAX + 1).as_bytes(),
            ScanResult::Refused(HandshakeError::Headers),
        );
    }

    #[test]
    fn what_was_said_is_final() {
        let mut scan = HeadScan::default();
        scan.feed(b"GET / HTTP/1.1\r\n\r\nframe");

        assert_eq!(scan.feed(b"\n"), ScanResult::End(0));
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(
            head in "(GET|\r|\n|\r\n|\r\n\r\n|a: b){0,12}",
            sizes in prop::collection::vec(1_usize..9, 1..9),
        ) {
            let whole = HeadScan::default().feed(head.as_bytes());

            prop_assert_eq!(in_pieces(head.as_bytes(), &sizes), whole);
        }
    }
}
