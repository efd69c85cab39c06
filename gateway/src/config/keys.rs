//! The keys that vouch for tokens, from the files that the manifest names. Pure.

use headgate_crds::v1alpha1::{AuthMode, JwtKey, RealtimeGatewaySpec};

use super::secret::Secret;
use crate::auth::token::{Key, KeyError, KeySet, Verifier};

/// Reads one key's file.
pub(super) fn parse(key: &JwtKey, file: &Secret) -> Result<Key, KeyError> {
    Key::parse(key.algorithm, key.kid.clone(), file.bytes())
}

/// What vouches for tokens with these keys.
pub(super) fn verifier(spec: &RealtimeGatewaySpec, keys: Vec<Key>) -> Verifier {
    let jwt = spec.auth.jwt.as_ref();
    Verifier {
        issuer: jwt.and_then(|jwt| jwt.issuer.clone()),
        audience: jwt.and_then(|jwt| jwt.audience.clone()),
        requires_user: spec.auth.mode == AuthMode::Required,
        keys,
        // Its keys are not in the files; they join later, if there is one.
        set: KeySet::Unused,
    }
}
