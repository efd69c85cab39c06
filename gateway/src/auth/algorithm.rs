//! How a token is signed: the names of RFC 7518 and RFC 8037, and what the library calls them.

use aws_lc_rs::{hmac, signature as sig};
use headgate_crds::v1alpha1::Algorithm;

/// What an algorithm needs of its key.
#[derive(Clone, Copy)]
pub(super) enum Family {
    /// A secret of at least as many bytes as the hash has (RFC 7518, section 3.2).
    Hmac(hmac::Algorithm),
    /// An RSA key of 2048 to 8192 bits.
    Rsa(&'static sig::RsaParameters),
    /// A point on the one curve that goes with the hash.
    Ec(&'static sig::EcdsaVerificationAlgorithm),
    /// An Ed25519 key.
    Ed,
}

pub(super) const fn family(algorithm: Algorithm) -> Family {
    match algorithm {
        Algorithm::HS256 => Family::Hmac(hmac::HMAC_SHA256),
        Algorithm::HS384 => Family::Hmac(hmac::HMAC_SHA384),
        Algorithm::HS512 => Family::Hmac(hmac::HMAC_SHA512),
        Algorithm::RS256 => Family::Rsa(&sig::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Family::Rsa(&sig::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Family::Rsa(&sig::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Family::Rsa(&sig::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Family::Rsa(&sig::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Family::Rsa(&sig::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Family::Ec(&sig::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Family::Ec(&sig::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Family::Ed,
    }
}

/// The algorithm of a header's or a key's `alg`, if the gateway knows it. `none` it does not.
///
/// `Ed25519` is what RFC 9864 calls `EdDSA` with that curve, which is the only one here.
pub(super) fn named(alg: &str) -> Option<Algorithm> {
    Some(match alg {
        "HS256" => Algorithm::HS256,
        "HS384" => Algorithm::HS384,
        "HS512" => Algorithm::HS512,
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" | "Ed25519" => Algorithm::EdDSA,
        _ => return None,
    })
}

/// Whether the key that signs is the key that verifies.
pub(super) const fn is_symmetric(algorithm: Algorithm) -> bool {
    matches!(family(algorithm), Family::Hmac(_))
}
