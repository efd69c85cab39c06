use std::{cell::RefCell, sync::Arc};

use ahash::AHashSet;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::auth::signer::{ALGORITHMS, Signer, base64};

/// A gateway that has these keys in its manifest.
fn with(keys: Vec<Key>) -> Verifier {
    Verifier { keys, ..Verifier::default() }
}

fn known(keys: Vec<Key>, absent: &[&str]) -> KeySet {
    let absent: AHashSet<Box<str>> = absent.iter().map(|name| (*name).into()).collect();
    KeySet::Known { keys: keys.into(), absent: Arc::new(absent) }
}

fn refusal(verifier: &Verifier, token: &str) -> TokenError {
    verifier.verify(token, 0).map(drop).unwrap_err()
}

fn claims() -> Value {
    json!({"sub": "al", "exp": 9_999})
}

#[test]
fn every_algorithm_verifies_its_own_signature_and_no_other() {
    for (alg, _) in ALGORITHMS {
        let (signer, stranger) = (Signer::new(alg), Signer::new(alg));
        let verifier = with(vec![signer.verifying(None)]);
        let token = signer.sign(&json!({}), &claims());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let other = signer.sign(&json!({}), &json!({"sub": "eve", "exp": 9_999}));
        let (_, other) = other.rsplit_once('.').unwrap();

        assert_eq!(verifier.verify(&token, 0).unwrap().user.as_deref(), Some("al"), "{alg}");
        let foreign = stranger.sign(&json!({}), &claims());
        assert_eq!(refusal(&verifier, &foreign), Refused("signature"), "{alg}");
        assert_eq!(refusal(&verifier, &format!("{signed}.{other}")), Refused("signature"), "{alg}");
        assert_eq!(refusal(&verifier, &format!("{signed}.")), Refused("signature"), "{alg}");
        let cut = format!("{signed}.{}", &signature[..4]);
        assert_eq!(refusal(&verifier, &cut), Refused("signature"), "{alg}");
        let zeros = base64(vec![0; signature.len() / 4 * 3]);
        assert_eq!(refusal(&verifier, &format!("{signed}.{zeros}")), Refused("signature"), "{alg}");
    }
}

#[test]
fn a_key_verifies_its_own_algorithm_alone() {
    for (alg, _) in ALGORITHMS {
        let signer = Signer::new(alg);
        let verifier = with(vec![signer.verifying(None)]);
        for (claimed, _) in ALGORITHMS.iter().filter(|(claimed, _)| *claimed != alg) {
            let header = json!({"alg": claimed}).to_string();
            let token = signer.sign_parts(&header, &claims().to_string());

            let refused = refusal(&verifier, &token);

            assert_eq!(refused, Refused("no key for alg and kid"), "{alg} as {claimed}");
        }
    }
}

#[test]
fn a_public_key_is_no_secret() {
    let provider = Signer::new("RS256");
    let verifier = with(vec![provider.verifying(None)]);
    let secret = jsonwebtoken::EncodingKey::from_secret(&provider.file);
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);

    let token = jsonwebtoken::encode(&header, &claims(), &secret).unwrap();

    assert_eq!(refusal(&verifier, &token), Refused("no key for alg and kid"));
}

#[test]
fn a_token_without_signature_or_of_an_unknown_algorithm_is_refused() {
    let verifier = with(vec![Signer::new("HS256").verifying(None)]);
    for alg in ["none", "None", "NONE", "hs256", "HS1", "ES512", "ES256K", "RSA-OAEP", ""] {
        for signature in ["", "AAAA"] {
            let header = json!({"alg": alg}).to_string();
            let token = format!("{}.{}.{signature}", base64(header), base64(claims().to_string()));

            assert_eq!(refusal(&verifier, &token), Refused("alg is not supported"), "{alg}");
        }
    }
}

#[test]
fn headers_that_could_mean_something_else_are_refused() {
    let signer = Signer::new("HS256");
    let verifier = with(vec![signer.verifying(None)]);
    let check = |header: &str, expected: Result<(), TokenError>| {
        let token = signer.sign_parts(header, &claims().to_string());
        assert_eq!(verifier.verify(&token, 0).map(drop), expected, "{header}");
    };
    let twice = Err(Refused("header is no JSON object, or has a name twice"));
    let kind = Err(Refused("typ is neither JWT nor at+jwt"));
    let no_text = Err(Refused("a claim that must be a string is none"));
    let special = Err(Refused("crit and b64 are not supported"));

    check(r#"{"alg":"HS256"}"#, Ok(()));
    check(r#"{"alg":"HS\u003256","typ":"jwt"}"#, Ok(()));
    check(r#"{"alg":"HS256","typ":"at+JWT","x5c":["junk"],"jku":"https://evil"}"#, Ok(()));
    check(r#"{"alg":"HS256","typ":"application/at+jwt"}"#, Ok(()));
    check(r#"{"alg":"HS256","typ":"logout+jwt"}"#, kind);
    check(r#"{"alg":"HS256","typ":"dpop+jwt"}"#, kind);
    check(r#"{"alg":"HS256","typ":5}"#, no_text);
    check(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, special);
    check(r#"{"alg":"HS256","crit":[]}"#, special);
    check(r#"{"alg":"HS256","crit":null}"#, special);
    check(r#"{"alg":"HS256","b64":false}"#, special);
    check(r#"{"alg":"HS256","alg":"HS256"}"#, twice);
    check(r#"{"alg":"none","\u0061lg":"HS256"}"#, twice);
    check(r#"{"alg":"HS256","x":1,"x":1}"#, twice);
    check(r#"{"typ":"JWT"}"#, Err(Refused("no alg")));
    check(r#"{"alg":null}"#, no_text);
    check(r#"{"alg":["HS256"]}"#, no_text);
    check(r#"{"alg":"HS256","kid":7}"#, no_text);
    check(r#"{"alg":"HS256"} {}"#, twice);
    check(r#"["HS256"]"#, twice);
    check("", twice);
}

#[test]
fn a_kid_is_a_name_and_nothing_else() {
    let signer = Signer::new("HS256");
    let verifier = with(vec![signer.verifying(Some("a"))]);
    for kid in ["../../etc/passwd", "' OR 1=1 --", "A", "a\0", "a "] {
        let token = signer.sign(&json!({"kid": kid}), &claims());
        assert_eq!(refusal(&verifier, &token), Refused("no key for alg and kid"), "{kid}");
    }
    let token = signer.sign(&json!({"kid": "k".repeat(129)}), &claims());
    assert_eq!(refusal(&verifier, &token), Refused("kid is longer than 128 bytes"));
}

#[test]
fn tokens_of_another_form_are_refused() {
    let signer = Signer::new("HS256");
    let verifier = with(vec![signer.verifying(None)]);
    let good = signer.sign(&json!({}), &claims());
    let (header, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let check = |token: &str, why| assert_eq!(refusal(&verifier, token), Refused(why), "{token}");

    let form = "not a JWS in compact form";
    check("", form);
    check("a", form);
    check("a.b", form);
    check(&format!("{good}.x"), form);
    check("a.b.c.d.e", form);
    check("..", "header is no JSON object, or has a name twice");
    check(&format!("{header}=.{rest}"), "header is not base64url");
    check(&format!(" {good}"), "header is not base64url");
    check(&format!("{header}.{payload}=.{signature}"), "signature");
    check(&format!("{header}.{payload}\n.{signature}"), "signature");
    check(&format!("{good}="), "signature is not base64url");
    check(&format!("{good}\n"), "signature is not base64url");
    check(&format!("{header}.{payload}.+/=="), "signature is not base64url");
    check(&"a".repeat(8 * 1024 + 1), "longer than 8 KiB");
    check(&format!("{good}{}", "a".repeat(9 * 1024)), "longer than 8 KiB");
    let nested = signer.sign_parts(r#"{"alg":"HS256","cty":"JWT"}"#, &good);
    check(&nested, "claims are no JSON object, or have a name twice");
}

#[test]
fn bits_left_over_in_a_signature_are_refused() {
    let signer = Signer::new("HS256");
    let verifier = with(vec![signer.verifying(None)]);
    let token = signer.sign(&json!({}), &claims());
    // 32 bytes leave two bits of the last letter unused, which must be zero.
    let last = token.as_bytes()[token.len() - 1];
    let next = char::from(last + 1);

    assert_eq!(
        refusal(&verifier, &format!("{}{next}", &token[..token.len() - 1])),
        Refused("signature is not base64url"),
    );
}

#[test]
fn a_token_of_8_kib_is_read() {
    let signer = Signer::new("HS256");
    let verifier = with(vec![signer.verifying(None)]);
    let token = |bytes: usize| {
        signer.sign(&json!({}), &json!({"sub": "al", "exp": 9_999, "x": "x".repeat(bytes)}))
    };
    let bytes = (0..7_000).rev().find(|bytes| token(*bytes).len() <= 8 * 1024).unwrap();

    assert!(token(bytes).len() > 8 * 1024 - 4);
    assert!(verifier.verify(&token(bytes), 0).is_ok());
    assert_eq!(refusal(&verifier, &token(bytes + 3)), Refused("longer than 8 KiB"));
}

#[test]
fn a_kid_chooses_among_keys() {
    let (a, b, nameless) = (Signer::new("HS256"), Signer::new("HS256"), Signer::new("ES256"));
    let verifier =
        with(vec![a.verifying(Some("a")), b.verifying(Some("b")), nameless.verifying(None)]);
    let is_good = |signer: &Signer, header: Value| {
        verifier.verify(&signer.sign(&header, &claims()), 0).is_ok()
    };

    assert!(is_good(&b, json!({"kid": "b"})));
    assert!(!is_good(&b, json!({"kid": "a"})));
    assert!(!is_good(&b, json!({"kid": "c"})));
    assert!(is_good(&b, json!({})));
    assert!(is_good(&b, json!({"kid": ""})));
    assert!(is_good(&nameless, json!({"kid": "c"})));
}

#[test]
fn a_rotation_takes_both_keys_until_the_old_one_is_gone() {
    let (old, new) = (Signer::new("ES256"), Signer::new("ES256"));
    let token = |signer: &Signer, kid: &str| signer.sign(&json!({"kid": kid}), &claims());
    let (of_old, of_new) = (token(&old, "1"), token(&new, "2"));
    let both = with(vec![old.verifying(Some("1")), new.verifying(Some("2"))]);
    let key = both.verify(&of_old, 0).unwrap().key.unwrap();

    assert!(both.verify(&of_new, 0).is_ok());
    assert!(both.vouches(key));

    let one = with(vec![new.verifying(Some("2"))]);
    assert!(one.verify(&of_new, 0).is_ok());
    assert_eq!(refusal(&one, &of_old), Refused("no key for alg and kid"));
    assert!(!one.vouches(key));
}

#[test]
fn a_key_vouches_until_it_or_the_issuer_is_gone() {
    let signer = Signer::new("HS256");
    let verifier = with(vec![signer.verifying(Some("old"))]);
    let token = signer.sign(&json!({}), &claims());
    let key = verifier.verify(&token, 0).unwrap().key.unwrap();

    assert!(verifier.vouches(key));
    assert!(with(vec![signer.verifying(Some("new"))]).vouches(key), "a name is no key");
    let elsewhere = Verifier { issuer: Some("new".into()), ..verifier };
    assert!(!elsewhere.vouches(key));
    assert!(!Verifier::default().vouches(key));
}

#[test]
fn a_key_set_that_is_awaited_leaves_open_what_its_keys_could_decide() {
    let (ours, theirs) = (Signer::new("HS256"), Signer::new("RS256"));
    let keys = vec![ours.verifying(None)];
    let before = Verifier { keys: keys.clone(), ..Verifier::default() };
    let awaited = Verifier {
        keys,
        set: KeySet::Awaited { former: [theirs.verifying(None)].into() },
        ..Verifier::default()
    };
    let token = |signer: &Signer| signer.sign(&json!({"kid": "x"}), &claims());

    assert!(awaited.verify(&token(&ours), 0).is_ok());
    assert_eq!(refusal(&awaited, &token(&theirs)), TokenError::Undecided);
    assert_eq!(refusal(&awaited, &token(&Signer::new("HS256"))), Refused("signature"));
    assert_eq!(refusal(&awaited, "junk"), Refused("not a JWS in compact form"));
    assert_eq!(refusal(&before, &token(&theirs)), Refused("no key for alg and kid"));
}

#[test]
fn a_key_set_that_went_stale_goes_on_to_vouch() {
    let provider = Signer::new("ES256");
    let fresh = Verifier { set: known(vec![provider.verifying(None)], &[]), ..Verifier::default() };
    let token = provider.sign(&json!({}), &claims());
    let key = fresh.verify(&token, 0).unwrap().key.unwrap();
    let former = fresh.set.keys().into();

    let stale = Verifier { set: KeySet::Awaited { former }, ..Verifier::default() };

    assert!(stale.vouches(key));
    assert_eq!(refusal(&stale, &token), TokenError::Undecided);
    let dropped = known(vec![Signer::new("ES256").verifying(None)], &[]);
    assert!(!Verifier { set: dropped, ..Verifier::default() }.vouches(key));
}

#[test]
fn a_key_set_is_asked_for_names_that_it_does_not_have() {
    let provider = Signer::new("ES256");
    let set = known(vec![provider.verifying(Some("known"))], &["gone"]);
    let manifest = vec![Signer::new("HS256").verifying(Some("ours"))];
    let verifier = Verifier { keys: manifest, set, ..Verifier::default() };
    let check = |alg, header: Value, expected: TokenError, asked: &[&str]| {
        let asks = RefCell::new(Vec::new());
        let token = Signer::new(alg).sign(&header, &claims());
        let verified =
            verifier.verify_or_ask(&token, 0, |kid| asks.borrow_mut().push(kid.to_owned()));
        assert_eq!(verified.map(drop), Err(expected), "{header}");
        assert_eq!(asks.into_inner(), asked, "{header}");
    };
    let no_key = Refused("no key for alg and kid");

    check("ES256", json!({"kid": "known"}), Refused("signature"), &[]);
    check("RS256", json!({"kid": "known"}), no_key, &[]);
    check("ES256", json!({"kid": "ours"}), no_key, &[]);
    check("ES256", json!({"kid": "new"}), TokenError::Undecided, &["new"]);
    check("ES256", json!({"kid": "gone"}), no_key, &["gone"]);
    check("ES256", json!({}), TokenError::Undecided, &[""]);
    check("HS256", json!({"kid": "new"}), no_key, &[]);
}

#[test]
fn a_token_is_tried_with_a_bounded_number_of_keys() {
    let keys: Vec<_> = (0..17).map(|_| Signer::new("EdDSA")).collect();
    let verifying = keys.iter().map(|key| key.verifying(None)).collect();
    let verifier = Verifier { set: known(verifying, &[""]), ..Verifier::default() };
    let token = |at: usize| keys[at].sign(&json!({}), &claims());

    assert!(verifier.verify(&token(15), 0).is_ok());
    assert_eq!(refusal(&verifier, &token(16)), Refused("signature"));
}

proptest! {
    #[test]
    fn no_text_does_harm(token in "[A-Za-z0-9._=+/ -]{0,200}|\\PC{0,100}") {
        let verifier = with(vec![Signer::new("HS256").verifying(None)]);
        prop_assert!(verifier.verify(&token, 0).is_err());
    }

    #[test]
    fn no_header_and_claims_do_harm(header in "\\PC{0,80}", claims in "\\PC{0,80}") {
        let signer = Signer::new("HS256");
        let verifier = with(vec![signer.verifying(None)]);
        let _ = verifier.verify(&signer.sign_parts(&header, &claims), 0);
        let _ = verifier.verify(&signer.sign_parts(r#"{"alg":"HS256"}"#, &claims), 0);
    }

    #[test]
    fn one_changed_letter_spoils_a_token(at in any::<prop::sample::Index>(), letter in "[A-Za-z0-9_-]") {
        let signer = Signer::new("HS256");
        let verifier = with(vec![signer.verifying(None)]);
        let mut token = signer.sign(&json!({}), &claims());
        let at = at.index(token.len());
        prop_assume!(token.as_bytes()[at] != letter.as_bytes()[0]);

        token.replace_range(at..=at, &letter);

        prop_assert!(verifier.verify(&token, 0).is_err());
    }
}
