use serde_json::json;

use super::*;
use crate::auth::claim::TIME_MAX;

const NOW: u64 = 1_000;

fn read(claims: &str) -> Result<Identity, TokenError> {
    let expected = Expected { issuer: None, audience: None, requires_user: true };
    expected.read(claims.as_bytes(), NOW, KeyId(7))
}

fn check(claims: &str, expected: Result<(), TokenError>) {
    assert_eq!(read(claims).map(drop), expected, "{claims}");
}

/// Claims that are good but for what is added.
fn with(more: &str) -> String {
    format!(r#"{{"sub":"al","exp":9999,{more}}}"#)
}

#[test]
fn times_are_numbers_and_count_with_leeway() {
    use TokenError::Expired;
    let no_time = Err(Refused("a claim that must be a time is none"));
    let exp = |exp: &str| format!(r#"{{"sub":"al","exp":{exp}}}"#);

    check(&exp("1000"), Ok(()));
    check(&exp("941"), Ok(()));
    check(&exp("940"), Err(Expired));
    check(&exp("940.9"), Err(Expired));
    check(&exp("941.0"), Ok(()));
    check(&exp("1e3"), Ok(()));
    check(&exp("0"), Err(Expired));
    check(&exp("-1"), no_time);
    check(&exp("-1e300"), no_time);
    check(&exp("1e999"), no_time);
    check(&exp("\"9999\""), no_time);
    check(&exp("null"), no_time);
    check(&exp("true"), no_time);
    check(&exp("[9999]"), no_time);
    check(&exp("{}"), no_time);
    check(r#"{"sub":"al"}"#, Err(Refused("no exp")));
    check(&with(r#""nbf":1060"#), Ok(()));
    check(&with(r#""nbf":1061"#), Err(Refused("nbf is in the future")));
    check(&with(r#""nbf":1e300"#), Err(Refused("nbf is in the future")));
    check(&with(r#""nbf":"0""#), no_time);
    check(&with(r#""iat":"now""#), no_time);
    check(&with(r#""iat":999999"#), Ok(()));
}

#[test]
fn an_end_beyond_all_time_is_one_that_can_be_counted_with() {
    for exp in ["9007199254740992", "9223372036854775807", "18446744073709551615", "1e300"] {
        let identity = read(&format!(r#"{{"sub":"al","exp":{exp}}}"#)).unwrap();
        assert_eq!(identity.expires, Some(TIME_MAX), "{exp}");
    }
}

#[test]
fn what_is_refused_has_not_expired() {
    check(r#"{"exp":1}"#, Err(Refused("no sub")));
    check(r#"{"sub":"al","exp":1,"headgate":1}"#, Err(Refused(OURS)));
}

const OURS: &str = "headgate is no object, or has a name twice";

#[test]
fn names_are_strings_of_1_to_255_bytes() {
    let no_text = Err(Refused("a claim that must be a string is none"));
    let length = Err(Refused("sub or jti is not 1 to 255 bytes"));
    let sub = |sub: &str| format!(r#"{{"sub":{sub},"exp":9999}}"#);

    check(&sub(&json!("a".repeat(255)).to_string()), Ok(()));
    check(&sub(&json!("a".repeat(256)).to_string()), length);
    check(&sub(r#""""#), length);
    check(&sub("5"), no_text);
    check(&sub("null"), no_text);
    check(&sub(r#"["al"]"#), no_text);
    check(&sub(r#"{"al":1}"#), no_text);
    check(&sub(r#""\ud800""#), no_text);
    check(r#"{"exp":9999}"#, Err(Refused("no sub")));
    check(&with(r#""jti":7"#), no_text);
    check(&with(r#""jti":"""#), length);
    let identity = read(r#"{"sub":"\u0061l","exp":9999,"jti":"j"}"#).unwrap();
    assert_eq!((identity.user.as_deref(), identity.jti.as_deref()), (Some("al"), Some("j")));
}

#[test]
fn a_name_that_is_there_twice_spoils_the_claims() {
    let twice = Err(Refused("claims are no JSON object, or have a name twice"));

    check(&with(r#""exp":9999"#), twice);
    check(&with(r#""\u0065xp":9999"#), twice);
    check(&with(r#""x":1,"x":1"#), twice);
    check("[]", twice);
    check("{} {}", twice);
    check("\"al\"", twice);
    check("", twice);
    check(&with(r#""headgate":{"info":1,"info":2}"#), Err(Refused(OURS)));
    check(&with(r#""headgate":{"x":1,"x":2}"#), Err(Refused(OURS)));
    assert_eq!(
        Expected { issuer: None, audience: None, requires_user: true }
            .read(b"{\"sub\":\"\xff\",\"exp\":9999}", NOW, KeyId(7))
            .map(drop),
        twice,
    );
}

#[test]
fn nesting_costs_no_stack() {
    let deep = format!(r#""x":{}{}"#, "[".repeat(3_000), "]".repeat(3_000));
    check(&with(&deep), Ok(()));
    let deep = format!(r#""sub":{}{}"#, "[".repeat(3_000), "]".repeat(3_000));
    check(
        &format!(r#"{{"exp":9999,{deep}}}"#),
        Err(Refused("a claim that must be a string is none")),
    );
}

#[test]
fn issuer_and_audience_are_those_of_the_manifest() {
    let expected =
        Expected { issuer: Some("https://me"), audience: Some("chat"), requires_user: false };
    let check = |iss: &str, aud: &str, result: Result<(), TokenError>| {
        let claims = format!(r#"{{"exp":9999{iss}{aud}}}"#);
        let read = expected.read(claims.as_bytes(), NOW, KeyId(7)).map(drop);
        assert_eq!(read, result, "{claims}");
    };
    let (iss, aud) = (r#","iss":"https://me""#, r#","aud":"chat""#);
    let no_text = Err(Refused("a claim that must be a string is none"));
    let no_audience = Err(Refused("aud is neither a string nor strings"));

    check(iss, aud, Ok(()));
    check(iss, r#","aud":["x","chat"]"#, Ok(()));
    check("", aud, Err(Refused("iss")));
    check(r#","iss":"https://me/""#, aud, Err(Refused("iss")));
    check(r#","iss":"HTTPS://ME""#, aud, Err(Refused("iss")));
    check(r#","iss":["https://me"]"#, aud, no_text);
    check(iss, "", Err(Refused("aud")));
    check(iss, r#","aud":[]"#, Err(Refused("aud")));
    check(iss, r#","aud":["Chat","chats"]"#, Err(Refused("aud")));
    check(iss, r#","aud":["chat",5]"#, no_audience);
    check(iss, r#","aud":null"#, no_audience);
    check(iss, r#","aud":{"chat":1}"#, no_audience);
}

#[test]
fn grants_are_lists_of_patterns() {
    let ours = |ours: &str| with(&format!(r#""headgate":{ours}"#));
    let no_list = Err(Refused("a grant is no list of strings"));
    let many = |name: &str, count: usize| ours(&json!({name: vec!["a"; count]}).to_string());
    let too_many = Err(Refused("more than 64 patterns and channels"));

    check(&ours("{}"), Ok(()));
    check(&ours("null"), Err(Refused(OURS)));
    check(&ours("[]"), Err(Refused(OURS)));
    check(&ours(r#"{"subscribe":"a"}"#), no_list);
    check(&ours(r#"{"subscribe":["a",1]}"#), no_list);
    check(&ours(r#"{"subscribe":null}"#), no_list);
    check(&ours(r#"{"publish":["a*"]}"#), Err(Refused("a pattern that is none")));
    check(&ours(r#"{"channels":["a.*"]}"#), Err(Refused("a channel that has no name of one")));
    check(&ours(r#"{"channels":["@all"]}"#), Err(Refused("a channel that has no name of one")));
    check(&many("publish", 64), Ok(()));
    check(&many("publish", 65), too_many);
    check(&many("channels", 65), too_many);
    check(
        &ours(&json!({"history": vec!["a"; 33], "channels": vec!["a"; 32]}).to_string()),
        too_many,
    );
}

#[test]
fn what_is_granted_is_read_whole() {
    let identity = read(&with(
        r#""headgate":{"subscribe":["room.*","b"],"publish":["c"],"presence":["d"],
           "history":["e"],"channels":["room.1"],"info":{"name": "Al \u00e9"},"x":1}"#,
    ))
    .unwrap();

    let text = |patterns: &[headgate_crds::value::ChannelPattern]| {
        patterns.iter().map(|it| it.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(text(&identity.grants.subscribe), ["room.*", "b"]);
    assert_eq!(text(&identity.grants.publish), ["c"]);
    assert_eq!(text(&identity.grants.presence), ["d"]);
    assert_eq!(text(&identity.grants.history), ["e"]);
    assert_eq!(identity.grants.channels, ["room.1"]);
    assert_eq!(identity.info.as_deref(), Some(r#"{"name":"Al \u00e9"}"#));
    assert_eq!(identity.key, Some(KeyId(7)));
    assert_eq!(identity.expires, Some(9_999));
}

#[test]
fn info_has_at_most_1_kib() {
    let info = |bytes: usize| with(&format!(r#""headgate":{{"info":"{}"}}"#, "x".repeat(bytes)));

    check(&info(1_022), Ok(()));
    check(&info(1_023), Err(Refused("info is longer than 1 KiB")));
}
