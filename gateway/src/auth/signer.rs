//! An identity provider's half, for tests: keys of every algorithm, as PEM and as JWK, and tokens
//! that they sign. Another library signs than the one that verifies.

use std::{cell::Cell, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use headgate_crds::v1alpha1::Algorithm;
use jsonwebtoken::EncodingKey;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    PublicKeyData as _,
};
use serde_json::{Value, json};
use x509_parser::{prelude::FromDer as _, public_key::PublicKey, x509::SubjectPublicKeyInfo};

use super::key::Key;

/// Every algorithm, by its name.
pub const ALGORITHMS: [(&str, Algorithm); 12] = [
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// One key pair, or one secret.
pub struct Signer {
    /// The name of the algorithm.
    pub alg: &'static str,
    /// The file that the manifest names.
    pub file: Vec<u8>,
    /// The file that stays with the provider.
    pub private: String,
    jwk: Value,
    key: EncodingKey,
}

impl Signer {
    /// With a fresh key; one of RSA was perhaps used by another test.
    pub fn new(alg: &'static str) -> Self {
        match alg {
            "HS256" | "HS384" | "HS512" => Self::secret(alg),
            "ES256" => Self::pair(alg, &KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()),
            "ES384" => Self::pair(alg, &KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()),
            "EdDSA" => Self::pair(alg, &KeyPair::generate_for(&PKCS_ED25519).unwrap()),
            _ => Self::pair(alg, rsa_pair()),
        }
    }

    fn secret(alg: &'static str) -> Self {
        let mut secret = vec![0; 64];
        aws_lc_rs::rand::fill(&mut secret).unwrap();
        let jwk = json!({"kty": "oct", "k": base64(&secret)});
        let key = EncodingKey::from_secret(&secret);
        Self { alg, file: secret, private: String::new(), jwk, key }
    }

    fn pair(alg: &'static str, pair: &KeyPair) -> Self {
        let private = pair.serialize_pem();
        let raw = pair.public_key_raw();
        let (jwk, key) = match alg {
            "EdDSA" => (
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64(raw)}),
                EncodingKey::from_ed_pem(private.as_bytes()),
            ),
            "ES256" | "ES384" => {
                let crv = if alg == "ES256" { "P-256" } else { "P-384" };
                let (x, y) = raw[1..].split_at(raw.len() / 2);
                (
                    json!({"kty": "EC", "crv": crv, "x": base64(x), "y": base64(y)}),
                    EncodingKey::from_ec_pem(private.as_bytes()),
                )
            }
            _ => (
                rsa_jwk(&pair.subject_public_key_info()),
                EncodingKey::from_rsa_pem(private.as_bytes()),
            ),
        };
        Self { alg, file: pair.public_key_pem().into(), private, jwk, key: key.unwrap() }
    }

    /// The same key for another algorithm.
    pub fn with_alg(self, alg: &'static str) -> Self {
        Self { alg, ..self }
    }

    /// What the gateway has of it.
    pub fn verifying(&self, kid: Option<&str>) -> Key {
        let (_, algorithm) = ALGORITHMS.iter().find(|(name, _)| *name == self.alg).unwrap();
        Key::parse(*algorithm, kid.map(str::to_owned), &self.file).unwrap()
    }

    /// What the provider publishes, with other members in it or instead.
    pub fn jwk(&self, members: &Value) -> Value {
        let mut jwk = self.jwk.clone();
        jwk.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        jwk
    }

    /// A token with this header, to which `alg` is added, and these claims.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let mut header = header.clone();
        header["alg"] = self.alg.into();
        self.sign_parts(&header.to_string(), &claims.to_string())
    }

    /// A token with a good signature over any texts.
    pub fn sign_parts(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", base64(header), base64(claims));
        let algorithm = self.alg.parse().unwrap();
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, algorithm).unwrap();
        format!("{signed}.{signature}")
    }
}

/// One of a few pairs, since making one takes long: never the same one as the last two times in a test.
fn rsa_pair() -> &'static KeyPair {
    static PAIRS: [LazyLock<KeyPair>; 3] =
        [const { LazyLock::new(|| KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap()) }; 3];
    thread_local! { static NEXT: Cell<usize> = const { Cell::new(0) }; }
    let next = NEXT.replace(NEXT.get() + 1);
    &PAIRS[next % PAIRS.len()]
}

/// The members of an RSA key, from its `SubjectPublicKeyInfo`.
pub fn rsa_jwk(der: &[u8]) -> Value {
    let (_, info) = SubjectPublicKeyInfo::from_der(der).unwrap();
    let PublicKey::RSA(key) = info.parsed().unwrap() else { panic!("no RSA key") };
    let n = key.modulus.strip_prefix(&[0]).unwrap_or(key.modulus);
    json!({"kty": "RSA", "n": base64(n), "e": base64(key.exponent)})
}

/// Base64url without padding.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
