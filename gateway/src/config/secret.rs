//! What is in a Secret, and which files of it the manifest names.

use std::{fmt, sync::Arc};

use headgate_crds::v1alpha1::RealtimeGatewaySpec;
use zeroize::Zeroizing;

/// The contents of a file that nobody may see. Its memory is cleared when the last owner is gone.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// Takes the contents.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// The contents.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A file of a Secret, and who names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretFile {
    /// The Secret's name.
    pub secret: String,
    /// The file's name in it.
    pub key: String,
    /// The field of the manifest that names the file or the Secret.
    pub field: String,
    /// The files that would do instead; empty where none would.
    pub instead: &'static str,
}

/// `chat-tls/tls.crt`
impl fmt::Display for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.secret, self.key)
    }
}

impl SecretFile {
    fn new(secret: &str, key: &str, field: impl Into<String>) -> Self {
        Self { secret: secret.to_owned(), key: key.to_owned(), field: field.into(), instead: "" }
    }

    /// The file, and what would do instead: `chat-nats/nats.creds (or token)`.
    pub fn described(&self) -> String {
        if self.instead.is_empty() {
            self.to_string()
        } else {
            format!("{self} (or {})", self.instead)
        }
    }
}

/// The files of each key in `auth.jwt.keys`, in their order.
pub(super) fn keys(spec: &RealtimeGatewaySpec) -> Vec<SecretFile> {
    let Some(jwt) = &spec.auth.jwt else { return Vec::new() };
    let Some(secret) = &jwt.keys_secret_name else { return Vec::new() };
    let file = |(index, key): (usize, &headgate_crds::v1alpha1::JwtKey)| {
        SecretFile::new(secret, &key.key, format!("spec.auth.jwt.keys[{index}].key"))
    };
    jwt.keys.iter().enumerate().map(file).collect()
}

/// The certificate of the CA that the key set's server has its own from.
pub(super) fn jwks_ca(spec: &RealtimeGatewaySpec) -> Option<SecretFile> {
    let secret = spec.auth.jwt.as_ref()?.jwks.as_ref()?.ca_secret_name.as_ref()?;
    Some(SecretFile::new(secret, "ca.crt", "spec.auth.jwt.jwks.caSecretName"))
}

/// The certificate chain and its key.
pub(super) fn tls(spec: &RealtimeGatewaySpec) -> Option<[SecretFile; 2]> {
    let secret = &spec.tls.as_ref()?.secret_name;
    Some(["tls.crt", "tls.key"].map(|key| SecretFile::new(secret, key, "spec.tls.secretName")))
}

/// The files of `broker.nats.credentialsSecretName` that belong together, out of those that are there.
pub(super) fn nats(
    spec: &RealtimeGatewaySpec,
    has: impl Fn(&SecretFile) -> bool,
) -> Option<Vec<SecretFile>> {
    let secret = spec.broker.nats.as_ref()?.credentials_secret_name.as_ref()?;
    let file = |key: &str| SecretFile::new(secret, key, "spec.broker.nats.credentialsSecretName");
    let files = super::nats::files(|key| has(&file(key)));
    if files.is_empty() {
        // The first choice is what is missing, and whoever takes another one should hear of it too.
        return Some(vec![SecretFile { instead: super::nats::INSTEAD, ..file("nats.creds") }]);
    }
    Some(files.into_iter().map(file).collect())
}

/// The keys of the server API.
pub(super) fn api_keys(spec: &RealtimeGatewaySpec) -> Option<SecretFile> {
    let secret = spec.api.key_secret_name.as_ref()?;
    Some(SecretFile::new(secret, "api-key", "spec.api.keySecretName"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing() {
        let secret = Secret::new(b"hunter2".to_vec());

        assert_eq!(format!("{secret:?} {secret:#?}"), "Secret(..) Secret(..)");
    }
}
