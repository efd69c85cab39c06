//! Key sets: any document gives keys or an error in bounded memory, no key is a secret, and only what
//! a plain reading finds to be a public key is one.
#![no_main]

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use headgate_fuzz::{hmac, memory};
use headgate_gateway::auth::{
    jwks::{BYTES_MAX, KEYS_MAX, parse},
    key_set::KeySet,
    verifier::Verifier,
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|document: &[u8]| {
    let (keys, heap) = memory::most(|| parse(document));

    assert!(heap < 16 * BYTES_MAX, "{heap} bytes of heap");
    let Ok(keys) = keys else { return };
    assert!(document.len() <= BYTES_MAX && (1..=KEYS_MAX).contains(&keys.len()));
    let verifier = Verifier {
        set: KeySet::Known { keys: keys.clone().into(), absent: Default::default() },
        ..Verifier::default()
    };
    // What passes as JSON and fits into no tree cannot be looked at here.
    let Ok(document) = serde_json::from_slice::<Value>(document) else { return };
    let listed = document["keys"].as_array().expect("a list of keys");
    let public = listed.iter().filter(|jwk| is_public(jwk)).count();
    assert!(keys.len() <= public, "{} keys of {public}", keys.len());
    for member in listed.iter().flat_map(|jwk| jwk.as_object().into_iter().flatten()) {
        nothing_in_it_is_a_secret(&verifier, member.1);
    }
});

fn is_public(jwk: &Value) -> bool {
    let has = |name: &str| jwk[name].is_string();
    let is_known = match jwk["kty"].as_str() {
        Some("RSA") => has("n") && has("e"),
        Some("EC") => has("x") && has("y") && has("crv"),
        Some("OKP") => has("x") && has("crv"),
        _ => false,
    };
    is_known && jwk.get("d").is_none() && jwk.get("use").is_none_or(|usage| usage == "sig")
}

/// A token that is signed with what everybody can read must not pass.
fn nothing_in_it_is_a_secret(verifier: &Verifier, member: &Value) {
    let Some(text) = member.as_str() else { return };
    let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(br#"{"sub":"al","exp":9999}"#));
    for secret in [text.as_bytes().to_vec(), URL_SAFE_NO_PAD.decode(text).unwrap_or_default()] {
        let signature = URL_SAFE_NO_PAD.encode(hmac(&secret, signed.as_bytes()));
        assert!(
            verifier.verify(&format!("{signed}.{signature}"), 0).is_err(),
            "a secret in public"
        );
    }
}
