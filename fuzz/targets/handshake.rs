//! An upgrade request as bytes: what is accepted is what RFC 6455 section 4.2.1 says, and the answer
//! can be sent.
#![no_main]

use headgate_gateway::websocket::{
    handshake::{Upgrade, accept_key, check},
    head::{HeadScan, ScanResult},
};
use http::{HeaderName, HeaderValue, Request, request::Parts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(parts) = parse(data) else { return };
    let Ok(upgrade) = check(&parts, "/ws", true) else { return };

    let headers = |name: &str| -> Vec<String> {
        let values = parts.headers.get_all(name).iter();
        values.map(|it| String::from_utf8_lossy(it.as_bytes()).trim().to_lowercase()).collect()
    };
    let lists = |name, word| headers(name).join(",").split(',').any(|it| it.trim() == word);
    assert!(matches!(HeadScan::default().feed(data), ScanResult::End(_) | ScanResult::Refused(_)));
    assert_eq!((parts.method.as_str(), parts.version), ("GET", http::Version::HTTP_11));
    assert_eq!(parts.uri.path(), "/ws");
    assert_eq!(headers("host").len(), 1);
    assert!(lists("connection", "upgrade") && lists("upgrade", "websocket"));
    assert_eq!(headers("sec-websocket-version"), ["13"]);
    assert!(headers("content-length").is_empty() && headers("transfer-encoding").is_empty());
    let keys: Vec<_> = parts.headers.get_all("sec-websocket-key").iter().collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(upgrade.accept, accept_key(keys[0].as_bytes().trim_ascii()));
    may_be_sent(&upgrade, &headers("sec-websocket-protocol").join(","));
});

/// As hyper has it: the parser's work, in types.
fn parse(bytes: &[u8]) -> Option<Parts> {
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Request::new(&mut headers);
    if !parsed.parse(bytes).ok()?.is_complete() {
        return None;
    }
    let version =
        if parsed.version == Some(1) { http::Version::HTTP_11 } else { http::Version::HTTP_10 };
    let mut request = Request::builder()
        .method(parsed.method?)
        .uri(parsed.path?)
        .version(version)
        .body(())
        .ok()?;
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(header.value).ok()?);
    }
    Some(request.into_parts().0)
}

fn may_be_sent(upgrade: &Upgrade, offered: &str) {
    if let Some(echo) = upgrade.echo {
        assert!(offered.split(',').any(|name| name.trim() == echo), "not offered");
    } else {
        assert!(offered.split(',').all(|name| name.trim().is_empty()), "nothing echoed");
    }
    if let Some(agreement) = &upgrade.agreement {
        assert!((8..=15).contains(&agreement.server_window_bits));
        HeaderValue::from_str(&agreement.answer).expect("an answer that can be sent");
    }
    if let Some(token) = upgrade.token.as_ref().filter(|token| token.0.len() > 8) {
        assert!(!format!("{upgrade:?}").contains(&token.0), "a token is printed");
    }
}
