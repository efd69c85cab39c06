//! What it costs to verify a token, by algorithm: `cargo run --release --example verify`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that fails should stop"
)]

use std::{hint::black_box, time::Duration};

use headgate_crds::v1alpha1::Algorithm;
use headgate_gateway::auth::token::{Key, Verifier};
use jsonwebtoken::{EncodingKey, Header};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use serde_json::json;
use tokio::time::Instant;

/// Tokens in a round.
const ROUND: u32 = 20;

/// How long each is measured.
const PERIOD: Duration = Duration::from_millis(500);

fn main() {
    let secret = [7; 64];
    let of_secret = || (secret.to_vec(), EncodingKey::from_secret(&secret));
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let of_rsa = || pair(&rsa, EncodingKey::from_rsa_pem);

    measure(Algorithm::HS256, jsonwebtoken::Algorithm::HS256, of_secret());
    measure(Algorithm::HS512, jsonwebtoken::Algorithm::HS512, of_secret());
    measure(Algorithm::RS256, jsonwebtoken::Algorithm::RS256, of_rsa());
    measure(Algorithm::PS256, jsonwebtoken::Algorithm::PS256, of_rsa());
    measure(
        Algorithm::ES256,
        jsonwebtoken::Algorithm::ES256,
        pair(&p256, EncodingKey::from_ec_pem),
    );
    measure(
        Algorithm::ES384,
        jsonwebtoken::Algorithm::ES384,
        pair(&p384, EncodingKey::from_ec_pem),
    );
    measure(Algorithm::EdDSA, jsonwebtoken::Algorithm::EdDSA, pair(&ed, EncodingKey::from_ed_pem));
}

fn pair(
    pair: &KeyPair,
    read: fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>,
) -> (Vec<u8>, EncodingKey) {
    (pair.public_key_pem().into(), read(pair.serialize_pem().as_bytes()).unwrap())
}

fn measure(
    algorithm: Algorithm,
    name: jsonwebtoken::Algorithm,
    (file, private): (Vec<u8>, EncodingKey),
) {
    let key = Key::parse(algorithm, Some("2026-11".to_owned()), &file).unwrap();
    let verifier = Verifier {
        issuer: Some("https://id.example.com".to_owned()),
        audience: Some("chat".to_owned()),
        requires_user: true,
        keys: vec![key],
        ..Verifier::default()
    };
    let header = Header { kid: Some("2026-11".to_owned()), ..Header::new(name) };
    let claims = json!({
        "iss": "https://id.example.com", "aud": "chat", "sub": "alice", "jti": "0123456789abcdef",
        "iat": 1_000, "exp": 9_999, "headgate": {"subscribe": ["room.*"], "publish": ["room.42"]},
    });
    let token = jsonwebtoken::encode(&header, &claims, &private).unwrap();
    let start = Instant::now();
    let mut best = Duration::MAX;
    while start.elapsed() < PERIOD {
        let round = Instant::now();
        for _ in 0..ROUND {
            verifier.verify(black_box(&token), 1_000).unwrap();
        }
        // The best round is the one that nothing else on the machine disturbed.
        best = best.min(round.elapsed() / ROUND);
    }
    println!("{algorithm:?}\t{} ns\t{} bytes", best.as_nanos(), token.len());
}
