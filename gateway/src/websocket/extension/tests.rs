use super::*;

const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// What is answered to these header lines.
#[track_caller]
fn check(values: &[&str], expected: Result<Option<&str>, Malformed>) {
    let values: Vec<_> = values.iter().map(|it| HeaderValue::from_str(it).unwrap()).collect();

    let agreed = negotiate(&values, true).map(|it| it.map(|it| it.answer));

    assert_eq!(agreed, expected.map(|it| it.map(str::to_owned)));
}

#[test]
fn an_offer_that_can_be_kept_is_taken() {
    check(&["permessage-deflate"], Ok(Some(AGREED)));
    check(&["permessage-deflate; client_max_window_bits"], Ok(Some(AGREED)));
    check(&["permessage-deflate;client_max_window_bits=8"], Ok(Some(AGREED)));
    check(&[AGREED], Ok(Some(AGREED)));
}

#[test]
fn a_window_that_was_offered_is_answered() {
    let with = |bits| format!("{AGREED}; server_max_window_bits={bits}");
    for bits in 8..=15 {
        let offer = format!("permessage-deflate; server_max_window_bits={bits}");
        check(&[&offer], Ok(Some(&with(bits))));
    }
    check(&["permessage-deflate; server_max_window_bits=\"1\\0\""], Ok(Some(&with(10))));
    check(&["permessage-deflate ;\tserver_max_window_bits = 9 "], Ok(Some(&with(9))));
}

#[test]
fn an_offer_that_cannot_be_kept_is_declined() {
    let declined = [
        "x-webkit-deflate-frame",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; server_max_window_bits=+9",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
        "permessage-deflate; unknown",
    ];
    for offer in declined {
        check(&[offer], Ok(None));
        check(&[&format!("{offer}, permessage-deflate")], Ok(Some(AGREED)));
        check(&[offer, "permessage-deflate"], Ok(Some(AGREED)));
    }
    check(&[], Ok(None));
    check(&["", " , ,"], Ok(None));
}

#[test]
fn the_first_offer_counts() {
    let ten = format!("{AGREED}; server_max_window_bits=10");
    let offers = "foo; bar=\"baz\", permessage-deflate; server_max_window_bits=10, \
                  permessage-deflate";
    check(&[offers], Ok(Some(&ten)));
}

#[test]
fn what_is_not_in_the_grammar_fails() {
    let malformed = [
        "permessage-deflate;",
        "permessage-deflate foo",
        "permessage-deflate; a=",
        "permessage-deflate; a=\"",
        "permessage-deflate; a=\"\"",
        "permessage-deflate; a=\"b",
        "permessage-deflate; a=\"b c\"",
        "permessage-deflate; a=\"b\\",
        "permessage-deflate, ;",
        "=",
        "\"permessage-deflate\"",
    ];
    for value in malformed {
        check(&[value], Err(Malformed));
    }
    let bytes = HeaderValue::from_bytes(b"permessage-deflate; \x80\xff").unwrap();
    assert_eq!(negotiate([&bytes], true), Err(Malformed));
}

#[test]
fn nothing_is_agreed_where_compression_is_not_enabled() {
    let value = HeaderValue::from_static("permessage-deflate");
    assert_eq!(negotiate([&value], false), Ok(None));
}

#[test]
fn a_window_holds_what_is_no_longer_than_itself() {
    assert!(window_holds(8, 256));
    assert!(!window_holds(8, 257));
    assert!(window_holds(14, 16_384));
    assert!(!window_holds(14, 16_385));
    assert!(window_holds(15, usize::MAX));
}
