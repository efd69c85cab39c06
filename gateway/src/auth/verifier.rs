//! Decides about tokens, by the rules of RFC 8725.
//!
//! First the form, then the signature, then the claims: nothing that a token says counts before its
//! signature is verified, but for the names of the algorithm and the key, and those only choose
//! among our keys. Pure: the time is an argument, and a name that nobody knows is handed back.

use super::{
    algorithm::is_symmetric,
    claims::Expected,
    identity::{Identity, KeyId},
    jws::{Jws, Room},
    key::Key,
    key_set::KeySet,
    token::{TokenError, TokenError::Refused},
};

/// Keys that one token is tried with at most: as many as the manifest may list, so that a key set
/// of many without names costs no more.
const TRIES_MAX: usize = 16;

/// What vouches for tokens.
#[derive(Clone, Debug, Default)]
pub struct Verifier {
    /// `iss` must be this.
    pub issuer: Option<String>,
    /// `aud` must be or contain this.
    pub audience: Option<String>,
    /// Whether `sub` must be there.
    pub requires_user: bool,
    /// The keys of the manifest.
    pub keys: Vec<Key>,
    /// The keys of an identity provider.
    pub set: KeySet,
}

impl Verifier {
    /// Decides about a token; `now` is in seconds since 1970.
    pub fn verify(&self, token: &str, now: u64) -> Result<Identity, TokenError> {
        self.verify_or_ask(token, now, |_| {})
    }

    /// Decides about a token, and asks for the key of that name if only a newer key set could tell.
    ///
    /// The answer is [`TokenError::Undecided`] until the set has been fetched for that name; if the
    /// key is not in it then either, the token is refused, and asked for again all the same.
    pub fn verify_or_ask(
        &self,
        token: &str,
        now: u64,
        ask: impl FnOnce(&str),
    ) -> Result<Identity, TokenError> {
        let (mut header, mut other) = (Room::new(), Room::new());
        let token = Jws::parse(token, &mut header)?;
        let key = self.signer(&token, &mut other, ask)?;
        let Self { issuer, audience, requires_user, .. } = self;
        let expected = Expected {
            issuer: issuer.as_deref(),
            audience: audience.as_deref(),
            requires_user: *requires_user,
        };
        expected.read(token.payload(&mut other)?, now, self.name(key))
    }

    /// Whether a key that vouched for somebody still does, for the same issuer.
    pub fn vouches(&self, id: KeyId) -> bool {
        let id = KeyId(id.0 ^ self.salt());
        self.keys.iter().any(|key| key.id == id) || self.set.vouches(id)
    }

    /// The key that signed a token.
    fn signer(
        &self,
        token: &Jws<'_>,
        room: &mut Room,
        ask: impl FnOnce(&str),
    ) -> Result<&Key, TokenError> {
        let signature = token.signature(room)?;
        let meant = || self.all_keys().filter(|key| key.is_meant(token));
        let signer = meant().take(TRIES_MAX).find(|key| key.has_signed(token.signed, signature));
        if let Some(key) = signer {
            return Ok(key);
        }
        let refused =
            Refused(if meant().next().is_some() { "signature" } else { "no key for alg and kid" });
        let name = token.kid().unwrap_or_default();
        match &self.set {
            // No key set has secrets in it.
            _ if is_symmetric(token.algorithm) => Err(refused),
            KeySet::Unused => Err(refused),
            KeySet::Awaited { .. } => Err(TokenError::Undecided),
            KeySet::Known { .. } if self.has(name) => Err(refused),
            KeySet::Known { absent, .. } => {
                ask(name);
                Err(if absent.contains(name) { refused } else { TokenError::Undecided })
            }
        }
    }

    fn all_keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().chain(self.set.trusted())
    }

    fn has(&self, kid: &str) -> bool {
        self.all_keys().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// Names a key for one issuer: with another issuer, nobody it vouched for may stay.
    fn name(&self, key: &Key) -> KeyId {
        KeyId(key.id.0 ^ self.salt())
    }

    fn salt(&self) -> u64 {
        let issuer = self.issuer.as_deref().unwrap_or_default();
        issuer.bytes().fold(0, |salt: u64, byte| salt.wrapping_mul(31).wrapping_add(byte.into()))
    }
}

#[cfg(test)]
mod tests;
