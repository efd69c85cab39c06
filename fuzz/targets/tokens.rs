//! Tokens: only what the secret signed is accepted, and of that only what the claims allow.
//!
//! The public keys beside the secret are committed; their private halves exist nowhere, so whatever
//! they accept is a forgery.
#![no_main]

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use headgate_crds::v1alpha1::Algorithm;
use headgate_fuzz::{hmac, settings};
use headgate_gateway::auth::{
    identity::Identity, key::Key, key_set::KeySet, token::LEEWAY, verifier::Verifier,
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_000_000;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let key = |algorithm, kid: &str, file: &[u8]| {
        Key::parse(algorithm, Some(kid.to_owned()), file).expect("a key")
    };
    Verifier {
        issuer: None,
        audience: None,
        requires_user: true,
        set: KeySet::Unused,
        keys: vec![
            key(Algorithm::RS256, "rsa", include_bytes!("../keys/rsa.pem")),
            key(Algorithm::PS256, "pss", include_bytes!("../keys/rsa.pem")),
            key(Algorithm::ES256, "ec", include_bytes!("../keys/ec.pem")),
            key(Algorithm::EdDSA, "ed", include_bytes!("../keys/ed25519.pem")),
            key(Algorithm::HS256, "hmac", SECRET),
        ],
    }
});

fuzz_target!(|data: &[u8]| {
    let Some(([mode], rest)) = settings(data) else { return };
    match mode % 4 {
        // Any text at all.
        0 => check(&String::from_utf8_lossy(rest)),
        // Any claims, well signed.
        1 => check(&signed(br#"{"alg":"HS256"}"#, rest, SECRET)),
        // Any header, well signed.
        2 => check(&signed(rest, br#"{"sub":"al","exp":2000000}"#, SECRET)),
        // A public key taken for a secret.
        _ => check(&signed(
            rest,
            br#"{"sub":"al","exp":2000000}"#,
            include_bytes!("../keys/rsa.pem"),
        )),
    }
});

fn check(token: &str) {
    let Ok(identity) = VERIFIER.verify(token, NOW) else { return };

    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    assert_eq!(signature, URL_SAFE_NO_PAD.encode(hmac(SECRET, signed.as_bytes())), "a forgery");
    let (header, claims) = signed.split_once('.').expect("three parts");
    let object = |part| -> Option<Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).ok()
    };
    // What passes as JSON and fits into no tree, such as deep nesting, cannot be looked at here.
    let (Some(header), Some(claims)) = (object(header), object(claims)) else { return };
    assert_eq!(header["alg"], "HS256");
    assert!(header.get("crit").is_none() && header.get("b64").is_none());
    assert!(header.get("kid").is_none_or(|kid| kid == "hmac" || kid == ""));
    allows(&claims, &identity);
}

fn allows(claims: &Value, identity: &Identity) {
    let expires = claims["exp"].as_f64().expect("a number");
    assert!(expires + LEEWAY as f64 >= NOW as f64);
    assert!(
        claims
            .get("nbf")
            .is_none_or(|nbf| nbf.as_f64().is_some_and(|it| it <= (NOW + LEEWAY + 1) as f64))
    );
    let user = identity.user.as_deref().expect("a user");
    assert_eq!(claims["sub"], user);
    assert!((1..=255).contains(&user.len()));
    let grants = &identity.grants;
    let patterns = [&grants.subscribe, &grants.publish, &grants.presence, &grants.history];
    let count: usize = patterns.iter().map(|it| it.len()).sum();
    assert!(count + grants.channels.len() <= 64);
    let strings = |name: &str| claims["headgate"][name].as_array().map_or(0, Vec::len);
    assert_eq!(grants.subscribe.len(), strings("subscribe"));
    assert_eq!(grants.channels.len(), strings("channels"));
    assert!(
        identity
            .info
            .as_deref()
            .is_none_or(|info| info.len() <= 1_024 && serde_json::from_str::<Value>(info).is_ok())
    );
    assert!(VERIFIER.vouches(identity.key.expect("a key")));
}

fn signed(header: &[u8], claims: &[u8], secret: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(hmac(secret, signed.as_bytes()));
    format!("{signed}.{signature}")
}
