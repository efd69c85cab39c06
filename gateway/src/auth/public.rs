//! Public keys, from the encodings that they come in to what verifies signatures.
//!
//! All checks of a key happen here, once, so that a weak or foreign key is refused when it is read
//! and not when the first token comes.

use aws_lc_rs::signature::{
    ED25519, ED25519_PUBLIC_KEY_LEN, EcdsaVerificationAlgorithm, ParsedPublicKey, RsaParameters,
    RsaPublicKeyComponents, RsaSubjectPublicKey,
};

use super::key::KeyError;

/// The smallest and the largest RSA key, in bits (RFC 7518, section 3.3, and the library).
const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;

/// An RSA key: `SubjectPublicKeyInfo` or PKCS #1, as DER.
pub(super) fn rsa(
    der: &[u8],
    parameters: &'static RsaParameters,
) -> Result<ParsedPublicKey, KeyError> {
    // The library bounds the size only when it verifies.
    let key = RsaSubjectPublicKey::from_der(der).map_err(|_| KeyError::Foreign)?;
    let bits = RsaParameters::public_modulus_len(key.as_ref()).map_err(|_| KeyError::Foreign)?;
    if !RSA_BITS.contains(&bits) {
        return Err(KeyError::RsaBits(bits));
    }
    ParsedPublicKey::new(parameters, key.as_ref()).map_err(|_| KeyError::Foreign)
}

/// An RSA key of modulus and exponent, big-endian (RFC 7518, section 6.3.1).
pub(super) fn rsa_of_parts(
    n: &[u8],
    e: &[u8],
    parameters: &'static RsaParameters,
) -> Result<ParsedPublicKey, KeyError> {
    // Some providers write the sign byte of ASN.1 in front.
    let n = n.strip_prefix(&[0]).unwrap_or(n);
    let parts = RsaPublicKeyComponents { n, e }
        .to_parsed_public_key(parameters)
        .map_err(|_| KeyError::Foreign)?;
    // As DER the key passes through the same checks as one from a file.
    rsa(parts.as_ref(), parameters)
}

/// A point on an elliptic curve: `SubjectPublicKeyInfo` as DER, which names its curve.
pub(super) fn ec(
    der: &[u8],
    algorithm: &'static EcdsaVerificationAlgorithm,
) -> Result<ParsedPublicKey, KeyError> {
    ParsedPublicKey::new(algorithm, der).map_err(|_| KeyError::Foreign)
}

/// A point of two coordinates, each as long as the curve's field (RFC 7518, section 6.2.1.2).
pub(super) fn ec_of_parts(
    x: &[u8],
    y: &[u8],
    algorithm: &'static EcdsaVerificationAlgorithm,
) -> Result<ParsedPublicKey, KeyError> {
    if x.len() != y.len() {
        return Err(KeyError::Foreign);
    }
    // Uncompressed (SEC 1, section 2.3.3); the library refuses what is not as long as it must be.
    ec(&[&[4], x, y].concat(), algorithm)
}

/// An Ed25519 key: `SubjectPublicKeyInfo` as DER.
pub(super) fn ed(der: &[u8]) -> Result<ParsedPublicKey, KeyError> {
    ParsedPublicKey::new(&ED25519, der).map_err(|_| KeyError::Foreign)
}

/// An Ed25519 key of its bytes (RFC 8037, section 2).
pub(super) fn ed_of_bytes(x: &[u8]) -> Result<ParsedPublicKey, KeyError> {
    if x.len() != ED25519_PUBLIC_KEY_LEN {
        return Err(KeyError::Foreign);
    }
    ed(x)
}
