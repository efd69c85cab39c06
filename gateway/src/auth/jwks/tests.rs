use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::auth::{
    key_set::KeySet,
    signer::{ALGORITHMS, Signer, base64},
    token::Verifier,
};

fn set(keys: &[Value]) -> String {
    json!({"keys": keys}).to_string()
}

fn error(document: &str) -> JwksError {
    parse(document.as_bytes()).map(|keys| keys.len()).unwrap_err()
}

/// The algorithms of the keys that are taken.
fn taken(keys: &[Value]) -> Vec<Algorithm> {
    match parse(set(keys).as_bytes()) {
        Ok(keys) => keys.iter().map(|key| key.algorithm).collect(),
        Err(error) => {
            assert_eq!(error, JwksError::Useless(keys.len()));
            Vec::new()
        }
    }
}

#[test]
fn every_public_key_verifies_what_its_owner_signs() {
    for (alg, algorithm) in ALGORITHMS.iter().filter(|(alg, _)| !alg.starts_with('H')) {
        let provider = Signer::new(alg);
        let jwk = provider.jwk(&json!({"alg": alg, "kid": "1", "use": "sig"}));
        let keys = parse(set(&[jwk]).as_bytes()).unwrap();
        assert_eq!(keys[0].algorithm, *algorithm);
        let set = KeySet::Known { keys: keys.into(), absent: Arc::default() };
        let verifier = Verifier { set, ..Verifier::default() };
        let token = provider.sign(&json!({"kid": "1"}), &json!({"exp": 9}));

        let identity = verifier.verify(&token, 0).unwrap();

        assert!(verifier.vouches(identity.key.unwrap()), "{alg}");
    }
}

#[test]
fn a_key_without_alg_has_the_usual_one() {
    for (alg, usual) in [
        ("PS384", Algorithm::RS256),
        ("ES256", Algorithm::ES256),
        ("ES384", Algorithm::ES384),
        ("EdDSA", Algorithm::EdDSA),
    ] {
        assert_eq!(taken(&[Signer::new(alg).jwk(&json!({}))]), [usual], "{alg}");
    }
}

#[test]
fn an_alg_must_go_with_the_key() {
    let check = |of: &'static str, alg: Value, expected: &[Algorithm]| {
        let jwk = Signer::new(of).jwk(&json!({"alg": alg}));
        assert_eq!(taken(&[jwk]), expected, "{of} as {alg}");
    };

    check("RS256", json!("PS512"), &[Algorithm::PS512]);
    check("EdDSA", json!("Ed25519"), &[Algorithm::EdDSA]);
    check("RS256", json!("ES256"), &[]);
    check("RS256", json!("HS256"), &[]);
    check("RS256", json!("none"), &[]);
    check("RS256", json!("RSA-OAEP"), &[]);
    check("RS256", json!(256), &[]);
    check("ES256", json!("ES384"), &[]);
    check("ES384", json!("ES256"), &[]);
    check("EdDSA", json!("RS256"), &[]);
}

#[test]
fn keys_that_cannot_verify_are_passed_over() {
    let good = Signer::new("ES256");
    let check = |jwk: Value, is_taken: bool| {
        let expected = if is_taken { 2 } else { 1 };
        assert_eq!(taken(&[good.jwk(&json!({})), jwk.clone()]).len(), expected, "{jwk}");
    };
    let rsa = |members: Value| Signer::new("RS256").jwk(&members);
    let ec = |members: Value| Signer::new("ES256").jwk(&members);
    let ed = |members: Value| Signer::new("EdDSA").jwk(&members);

    check(rsa(json!({"use": "sig", "key_ops": ["verify"]})), true);
    check(rsa(json!({"use": "enc"})), false);
    check(rsa(json!({"use": ["sig"]})), false);
    check(rsa(json!({"key_ops": ["encrypt"]})), false);
    check(rsa(json!({"key_ops": []})), false);
    check(rsa(json!({"key_ops": "verify"})), false);
    check(Signer::new("HS256").jwk(&json!({"alg": "HS256"})), false);
    check(json!({"kty": "oct", "k": base64([1; 64]), "alg": "RS256"}), false);
    check(rsa(json!({"d": "AQAB"})), false);
    check(rsa(json!({"kty": "FUTURE"})), false);
    check(rsa(json!({"kty": 1})), false);
    check(json!({"kid": "1"}), false);
    check(json!("RSA"), false);
    check(rsa(json!({"kid": 1})), false);
    check(rsa(json!({"kid": "k".repeat(129)})), false);
    check(rsa(json!({"kid": "k".repeat(128)})), true);
    check(rsa(json!({"kid": ""})), true);
    check(rsa(json!({"n": base64([0xff; 128])})), false);
    check(rsa(json!({"n": base64([0xff; 1025])})), false);
    check(rsa(json!({"n": ""})), false);
    check(rsa(json!({"n": base64([&[0][..], &[0xff; 256]].concat())})), true);
    check(rsa(json!({"e": base64([1])})), false);
    check(rsa(json!({"e": base64([4])})), false);
    check(rsa(json!({"e": base64([0xff; 9])})), false);
    check(rsa(json!({"e": "AQAB=="})), false);
    check(rsa(json!({"crv": "P-256"})), false);
    check(ec(json!({"crv": "P-521"})), false);
    check(ec(json!({"crv": "secp256k1"})), false);
    check(ec(json!({"crv": "P-384"})), false);
    check(ec(json!({"x": base64([1; 32])})), false);
    check(ec(json!({"x": base64([1; 31])})), false);
    check(ec(json!({"x": null})), false);
    check(ed(json!({"crv": "X25519"})), false);
    check(ed(json!({"crv": "Ed448"})), false);
    check(ed(json!({"x": base64([1; 33])})), false);
    check(ed(json!({"kty": "EC"})), false);
}

#[test]
fn a_kid_may_name_two_keys_but_a_key_is_there_once() {
    let (a, b) = (Signer::new("ES256"), Signer::new("EdDSA"));
    let named = |signer: &Signer, kid: &str| signer.jwk(&json!({"kid": kid}));

    assert_eq!(taken(&[named(&a, "1"), named(&b, "1")]), [Algorithm::ES256, Algorithm::EdDSA]);
    assert_eq!(taken(&[named(&a, "1"), named(&a, "1")]), [Algorithm::ES256]);
    assert_eq!(taken(&[named(&a, "1"), named(&a, "2")]).len(), 2);
}

#[test]
fn documents_of_another_form_are_refused() {
    use JwksError::{Form, Long, Many, Useless};
    let key = Signer::new("ES256").jwk(&json!({}));

    for document in
        ["", "{}", "[]", "null", "<html>", r#"{"keys":{}}"#, r#"{"keys":null}"#, r#"{"keys":[]} x"#]
    {
        assert_eq!(error(document), Form, "{document}");
    }
    let list = set(std::slice::from_ref(&key));
    assert_eq!(error(&list.replacen('{', r#"{"keys":[],"#, 1)), Form);
    assert_eq!(error(r#"{"keys":[]}"#), Useless(0));
    assert_eq!(error(&set(&[json!({}), json!(1)])), Useless(2));
    assert_eq!(error(&set(&vec![key.clone(); 65])), Many(65));
    assert_eq!(taken(&vec![key; 64]).len(), 1);
    let padded = |bytes: usize| format!("{list}{}", " ".repeat(bytes - list.len()));
    assert!(parse(padded(BYTES_MAX).as_bytes()).is_ok());
    assert_eq!(error(&padded(BYTES_MAX + 1)), Long);
}

#[test]
fn nesting_costs_no_stack() {
    let deep = |x: &str| format!(r#"{{"keys":{x}}}"#);
    let nested = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));

    assert_eq!(error(&deep(&nested)), JwksError::Useless(1));
}

#[test]
fn errors_quote_nothing() {
    for document in [r#"{"keys":[{"kty":"hunter2"}]}"#, "hunter2", r#"{"keys":"hunter2"}"#] {
        let error = error(document);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

static SIGNERS: LazyLock<[Signer; 3]> =
    LazyLock::new(|| ["RS256", "ES384", "EdDSA"].map(Signer::new));

proptest! {
    #[test]
    fn no_document_does_harm(text in "\\PC{0,200}") {
        let _ = parse(text.as_bytes());
    }

    #[test]
    fn no_member_does_harm(
        name in "kty|use|key_ops|alg|kid|crv|n|e|x|y",
        value in "\\PC{0,20}|[A-Za-z0-9_-]{0,60}",
        at in 0..SIGNERS.len(),
    ) {
        let jwk = SIGNERS[at].jwk(&json!({name: value}));
        let _ = parse(set(&[jwk]).as_bytes());
    }
}
