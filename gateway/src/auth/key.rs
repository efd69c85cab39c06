//! A key and the one algorithm that it verifies.
//!
//! The key decides the algorithm and never the token (RFC 8725, section 3.1): a public key cannot
//! be made to serve as an HMAC secret, nor `none` be a way in.

use std::{fmt, sync::Arc};

use aws_lc_rs::{digest, hmac, signature::ParsedPublicKey};
use headgate_crds::v1alpha1::Algorithm;

use super::{
    algorithm::{Family, family},
    identity::KeyId,
    jws::Jws,
    public,
};

/// A key and the only algorithm that it verifies.
#[derive(Clone)]
pub struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<Box<str>>,
    pub(super) id: KeyId,
    material: Material,
}

#[derive(Clone)]
enum Material {
    /// Shared, since it is large.
    Secret(Arc<hmac::Key>),
    Public(ParsedPublicKey),
}

/// Why a file is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// An HMAC secret that can be guessed (RFC 7518, section 3.2).
    #[error("an HMAC secret for this algorithm must have at least {0} bytes")]
    Short(usize),
    /// An HMAC secret that others know: a key or a certificate.
    #[error("this is a PEM file; an HMAC secret must be random bytes that nobody else has")]
    NoSecret,
    /// A private key.
    #[error("this is a private key; the gateway needs the public one")]
    Private,
    /// No PEM, or not one block of it.
    #[error("this is not one public key in PEM (BEGIN PUBLIC KEY)")]
    Pem,
    /// A public key of another kind or curve, or none at all.
    #[error("this is no public key for this algorithm")]
    Foreign,
    /// An RSA key of a size that is too weak or too slow.
    #[error("this RSA key has {0} bits, must have 2048 to 8192")]
    RsaBits(u32),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Key {
    /// Reads the contents of a key's file: a secret's bytes, or a public key or certificate as PEM.
    pub fn parse(algorithm: Algorithm, kid: Option<String>, file: &[u8]) -> Result<Self, KeyError> {
        let kid = kid.map(String::into_boxed_str);
        if let Family::Hmac(hash) = family(algorithm) {
            return Self::secret(algorithm, hash, kid, file);
        }
        let der = der(file)?;
        let key = match family(algorithm) {
            Family::Hmac(_) => return Err(KeyError::Foreign),
            Family::Rsa(parameters) => public::rsa(&der, parameters),
            Family::Ec(curve) => public::ec(&der, curve),
            Family::Ed => public::ed(&der),
        }?;
        Ok(Self::public(algorithm, kid, key))
    }

    fn secret(
        algorithm: Algorithm,
        hash: hmac::Algorithm,
        kid: Option<Box<str>>,
        file: &[u8],
    ) -> Result<Self, KeyError> {
        if file.trim_ascii_start().starts_with(b"-----BEGIN ") {
            return Err(KeyError::NoSecret);
        }
        if file.len() < hash.tag_len() {
            return Err(KeyError::Short(hash.tag_len()));
        }
        let material = Material::Secret(Arc::new(hmac::Key::new(hash, file)));
        Ok(Self { algorithm, kid, id: id(algorithm, file), material })
    }

    pub(super) fn public(
        algorithm: Algorithm,
        kid: Option<Box<str>>,
        key: ParsedPublicKey,
    ) -> Self {
        let id = id(algorithm, key.as_ref());
        Self { algorithm, kid, id, material: Material::Public(key) }
    }

    /// Whether it is the same key of the same name.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.id, &self.kid) == (other.id, &other.kid)
    }

    /// Whether a token may be signed with this key, from what its header says.
    pub(super) fn is_meant(&self, token: &Jws<'_>) -> bool {
        let is_named = match (&self.kid, token.kid()) {
            (Some(mine), Some(wanted)) => **mine == *wanted,
            (None, _) | (_, None) => true,
        };
        is_named && self.algorithm == token.algorithm
    }

    /// Whether the signature is this key's.
    pub(super) fn has_signed(&self, text: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Secret(key) => hmac::verify(key, text, signature).is_ok(),
            Material::Public(key) => key.verify_sig(text, signature).is_ok(),
        }
    }
}

/// Names a key by what it is, so that it can be renamed without those it vouched for noticing.
fn id(algorithm: Algorithm, material: &[u8]) -> KeyId {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&[algorithm as u8]);
    hash.update(material);
    let hash = hash.finish();
    KeyId(hash.as_ref().iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte)))
}

/// What is in a PEM file of one block.
fn der(file: &[u8]) -> Result<Vec<u8>, KeyError> {
    if memchr::memmem::find(file, b"PRIVATE KEY-----").is_some() {
        return Err(KeyError::Private);
    }
    let blocks = pem::parse_many(file).map_err(|_| KeyError::Pem)?;
    let [block] = &blocks[..] else { return Err(KeyError::Pem) };
    match block.tag() {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => Ok(block.contents().to_vec()),
        "CERTIFICATE" => {
            let (_, certificate) =
                x509_parser::parse_x509_certificate(block.contents()).map_err(|_| KeyError::Pem)?;
            Ok(certificate.public_key().raw.to_vec())
        }
        _ => Err(KeyError::Pem),
    }
}

#[cfg(test)]
mod tests;
