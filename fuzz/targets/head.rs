//! The head of a request: the scanner says the same in any pieces, and where it sees the head's end
//! the HTTP parser sees it too, or a request could hide in another.
#![no_main]

use headgate_fuzz::{pieces, settings};
use headgate_gateway::websocket::head::{HeadScan, ScanResult};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(([size], bytes)) = settings(data) else { return };

    let whole = scan(bytes, 0);

    assert_eq!(scan(bytes, 1), whole);
    assert_eq!(scan(bytes, size), whole);
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let parsed = httparse::Request::new(&mut headers).parse(bytes);
    match (whole, parsed) {
        (ScanResult::End(ours), Ok(httparse::Status::Complete(theirs))) => assert_eq!(ours, theirs),
        (ScanResult::End(_), Ok(httparse::Status::Partial)) => panic!("the parser goes on"),
        (ScanResult::More, Ok(httparse::Status::Complete(_))) => panic!("the scanner goes on"),
        _ => {}
    }
});

fn scan(bytes: &[u8], size: u8) -> ScanResult {
    let mut scan = HeadScan::default();
    let mut fed = 0;
    for piece in pieces(bytes, size) {
        match scan.feed(piece) {
            ScanResult::More => fed += piece.len(),
            ScanResult::End(used) => {
                assert_eq!(scan.feed(b"\n"), ScanResult::End(0));
                return ScanResult::End(fed + used);
            }
            refused @ ScanResult::Refused(_) => {
                assert_eq!(scan.said(), refused);
                return refused;
            }
        }
    }
    ScanResult::More
}
