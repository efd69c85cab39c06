//! From the claims of a token whose signature is verified to who its owner is (RFC 7519).

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{
    claim::{is_audience, object, seconds, text},
    grants,
    identity::{Identity, KeyId},
    token::{LEEWAY, TokenError, TokenError::Refused},
};

/// The longest `sub` and `jti`, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// What the claims must say.
pub(super) struct Expected<'v> {
    pub(super) issuer: Option<&'v str>,
    pub(super) audience: Option<&'v str>,
    pub(super) requires_user: bool,
}

impl Expected<'_> {
    /// Reads the claims. What was refused cannot have expired: one client would come back, and the
    /// other must not.
    pub(super) fn read(&self, json: &[u8], now: u64, key: KeyId) -> Result<Identity, TokenError> {
        let [exp, nbf, iat, iss, aud, sub, jti, ours] =
            object(json, ["exp", "nbf", "iat", "iss", "aud", "sub", "jti", "headgate"])
                .ok_or(Refused("claims are no JSON object, or have a name twice"))?;

        let expires = seconds(exp)?.ok_or(Refused("no exp"))?;
        if seconds(nbf)?.is_some_and(|from| from > now.saturating_add(LEEWAY)) {
            return Err(Refused("nbf is in the future"));
        }
        // Nothing follows from it, but a token with a broken one is broken.
        seconds(iat)?;
        let issuer = text(iss)?;
        if self.issuer.is_some_and(|expected| issuer.as_deref() != Some(expected)) {
            return Err(Refused("iss"));
        }
        if let Some(audience) = self.audience
            && !is_audience(aud, audience)?
        {
            return Err(Refused("aud"));
        }
        let user = name(sub)?;
        if self.requires_user && user.is_none() {
            return Err(Refused("no sub"));
        }
        let jti = name(jti)?;
        let (grants, info) = grants::read(ours)?;
        if expires.saturating_add(LEEWAY) <= now {
            return Err(TokenError::Expired);
        }
        Ok(Identity { user, expires: Some(expires), grants, jti, info, key: Some(key) })
    }
}

fn name(claim: Option<&RawValue>) -> Result<Option<Arc<str>>, TokenError> {
    match text(claim)? {
        Some(name) if name.is_empty() || name.len() > NAME_BYTES_MAX => {
            Err(Refused("sub or jti is not 1 to 255 bytes"))
        }
        name => Ok(name.map(Arc::from)),
    }
}

#[cfg(test)]
mod tests;
