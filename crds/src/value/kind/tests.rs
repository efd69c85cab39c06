use proptest::{prelude::*, string::string_regex};

use super::*;

/// Kinds of which the pattern is all there is to check, once the length is.
const EXACT: [Kind; 8] = [
    Kind::GatewayName,
    Kind::Namespace,
    Kind::Quantity,
    Kind::ObjectName,
    Kind::Image,
    Kind::LabelValue,
    Kind::Line,
    Kind::UrlPath,
];

proptest! {
    #[test]
    fn what_an_exact_pattern_takes_is_right(
        (kind, text) in prop::sample::select(&EXACT[..]).prop_flat_map(|kind| {
            let pattern = kind.pattern().trim_start_matches('^').trim_end_matches('$');
            (Just(kind), string_regex(pattern).unwrap())
        })
    ) {
        prop_assert_eq!(kind.problem(&text), None, "{:?} {:?}", kind, text);
    }

    #[test]
    fn no_text_panics(text in "(https?|nats)?(://)?[ -~é]{0,24}") {
        for kind in Kind::ALL {
            let _ = kind.problem(&text);
        }
    }
}

fn check(kind: Kind, right: &[&str], wrong: &[&str]) {
    for text in right {
        assert_eq!(kind.problem(text), None, "{kind:?} {text}");
    }
    for text in wrong {
        assert!(kind.problem(text).is_some(), "{kind:?} {text}");
    }
}

#[test]
fn names_and_addresses_are_what_kubernetes_takes() {
    check(Kind::ObjectName, &["a", "chat-jwt", "a.b-c.d"], &["", "A", "-a", "a-", "a..b", "a_b"]);
    check(
        Kind::FileName,
        &["hmac", "tls.crt", "..data".trim_start_matches('.')],
        &["", ".", "..", "..data", "a/b"],
    );
    check(Kind::UrlPath, &["/", "/ws", "/a%20b"], &["", "ws", "/ws?x", "/ws#x", "/w s", "/é"]);
    check(
        Kind::Hostname,
        &["a.example.com", "*.example.com"],
        &["", "*", "a.*.com", "A.com", "a:80"],
    );
    check(Kind::Quantity, &["250m", "2", "0.5", "1Gi"], &["", "m", "1Q", "-1", "1.", "1 Gi"]);
    check(Kind::LabelKey, &["a", "example.com/a_b"], &["", "/a", "a/", "a/b/c", "-a"]);
}

#[test]
fn a_url_has_a_host_and_no_user_or_fragment() {
    check(
        Kind::HttpsUrl,
        &["https://a", "https://a.example:8443/jwks?x=1", "https://[::1]:1/"],
        &[
            "http://a",
            "https://",
            "https://me:pw@a/",
            "https://a/#x",
            "https://a:0",
            "https://a:99999",
            "https://a b",
        ],
    );
    check(
        Kind::HttpUrl,
        &["http://otel:4317", "https://otel"],
        &["otel:4317", "grpc://otel", "http://:1"],
    );
    check(
        Kind::NatsUrl,
        &["nats://a:4222", "tls://a,nats://b:1"],
        &["", "nats://u:p@a", "nats://a,", "nats://a/x", "http://a"],
    );
}
