//! Reads a JWK set (RFC 7517) into keys that verify tokens.
//!
//! What cannot verify a token is passed over, as the RFC asks for: keys for encryption, of kinds or
//! curves that the gateway does not know, without a member that they need. So is what should not be
//! there: secrets and private keys. Errors say what is wrong and never quote the document.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use headgate_crds::v1alpha1::Algorithm;
use serde_json::value::RawValue;

use super::{
    algorithm::{Family, family, named},
    claim::{Text, object, text},
    jws::KID_BYTES_MAX,
    key::Key,
    public,
};

/// The longest document, in bytes.
pub const BYTES_MAX: usize = 64 * 1024;

/// Keys in one document at most.
pub const KEYS_MAX: usize = 64;

/// Why a document is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Longer than [`BYTES_MAX`].
    #[error("it is longer than {BYTES_MAX} bytes")]
    Long,
    /// Something else.
    #[error("it is no JWK set, which is a JSON object with a list `keys` (RFC 7517)")]
    Form,
    /// More than [`KEYS_MAX`] keys.
    #[error("it has {0} keys, at most {KEYS_MAX} are allowed")]
    Many(usize),
    /// A set that would refuse everybody is taken for a mistake.
    #[error(
        "none of its {0} keys can verify a token: RSA of 2048 bits, P-256, P-384 or Ed25519, for signatures"
    )]
    Useless(usize),
}

/// The keys of a document, each with one algorithm.
pub fn parse(document: &[u8]) -> Result<Vec<Key>, JwksError> {
    if document.len() > BYTES_MAX {
        return Err(JwksError::Long);
    }
    let [keys] = object(document, ["keys"]).ok_or(JwksError::Form)?;
    let list = keys.ok_or(JwksError::Form)?.get();
    let jwks: Vec<&RawValue> = serde_json::from_str(list).map_err(|_| JwksError::Form)?;
    if jwks.len() > KEYS_MAX {
        return Err(JwksError::Many(jwks.len()));
    }
    let mut keys: Vec<Key> = Vec::new();
    for key in jwks.iter().filter_map(|jwk| key(jwk)) {
        let is_new = !keys.iter().any(|known| known.is_same(&key));
        keys.extend(is_new.then_some(key));
    }
    if keys.is_empty() { Err(JwksError::Useless(jwks.len())) } else { Ok(keys) }
}

/// One key, if it can verify tokens.
#[expect(clippy::many_single_char_names, reason = "the RFC names them")]
fn key(jwk: &RawValue) -> Option<Key> {
    let names = ["kty", "use", "key_ops", "alg", "kid", "crv", "n", "e", "x", "y", "d"];
    let [kty, usage, operations, alg, kid, crv, n, e, x, y, d] =
        object(jwk.get().as_bytes(), names)?;
    let is_public = d.is_none();
    if !is_public || !is_for_signatures(usage, operations)? {
        return None;
    }
    let kid = text(kid).ok()?.filter(|kid| !kid.is_empty());
    if kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
        return None;
    }
    let (kty, crv) = (text(kty).ok()??, text(crv).ok()?);
    let usual = usual_algorithm(&kty, crv.as_deref())?;
    let algorithm = match text(alg).ok()? {
        None => usual,
        Some(alg) => named(&alg).filter(|it| is_same_kind(*it, usual))?,
    };
    let key = match family(algorithm) {
        Family::Hmac(_) => return None,
        Family::Rsa(parameters) => public::rsa_of_parts(&bytes(n)?, &bytes(e)?, parameters),
        Family::Ec(curve) => public::ec_of_parts(&bytes(x)?, &bytes(y)?, curve),
        Family::Ed => public::ed_of_bytes(&bytes(x)?),
    };
    Some(Key::public(algorithm, kid.map(|kid| kid.into_owned().into_boxed_str()), key.ok()?))
}

/// `use` and `key_ops` (RFC 7517, section 4.2 and 4.3); `None` where one of them is malformed.
fn is_for_signatures(usage: Option<&RawValue>, operations: Option<&RawValue>) -> Option<bool> {
    let is_for_signatures = text(usage).ok()?.is_none_or(|usage| usage == "sig");
    let Some(operations) = operations else { return Some(is_for_signatures) };
    let operations: Vec<Text<'_>> = serde_json::from_str(operations.get()).ok()?;
    Some(is_for_signatures && operations.iter().any(|operation| operation.0 == "verify"))
}

/// The algorithm of a key that names none.
///
/// A key has one algorithm (RFC 8725, section 3.1). For an RSA key it is the one that every
/// identity provider offers; who signs with another says so in `alg`.
fn usual_algorithm(kty: &str, crv: Option<&str>) -> Option<Algorithm> {
    match (kty, crv) {
        ("RSA", None) => Some(Algorithm::RS256),
        ("EC", Some("P-256")) => Some(Algorithm::ES256),
        ("EC", Some("P-384")) => Some(Algorithm::ES384),
        ("OKP", Some("Ed25519")) => Some(Algorithm::EdDSA),
        _ => None,
    }
}

/// Whether a key of one algorithm could be of the other: any RSA key, and else no other.
fn is_same_kind(algorithm: Algorithm, usual: Algorithm) -> bool {
    let is_rsa = |it| matches!(family(it), Family::Rsa(_));
    algorithm == usual || is_rsa(algorithm) && is_rsa(usual)
}

/// Bytes in base64url.
fn bytes(member: Option<&RawValue>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text(member).ok()??.as_bytes()).ok()
}

#[cfg(test)]
mod tests;
