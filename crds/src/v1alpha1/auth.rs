//! Who may connect: tokens, where they travel, and what vouches for them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Permission;
use crate::value::{Duration, kind};

/// Who may connect. Unless `mode` is `Disabled`, there must be a key in `jwt.keys`, or `jwt.jwks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Auth {
    /// Whether clients need a token. A token that is not valid is refused in every mode but `Disabled`.
    pub mode: AuthMode,
    /// Whether the token may be in the URL (`?token=`). Off by default, because URLs end up in logs.
    pub token_in_query: Permission,
    /// Whether the token may come in the first message, `authenticate`.
    pub first_message: Permission,
    /// What vouches for tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Jwt>,
}

/// Whether clients need a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthMode {
    /// Nobody does, and tokens are not read.
    Disabled,
    /// Who has none is anonymous.
    Optional,
    /// Everybody does.
    Required,
}

/// The safest: everybody needs a token, in a header.
impl Default for Auth {
    fn default() -> Self {
        Self {
            mode: AuthMode::Required,
            token_in_query: Permission::Deny,
            first_message: Permission::Deny,
            jwt: None,
        }
    }
}

/// What vouches for tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Jwt {
    /// What the claim `iss` must be. Left out, it is not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "kind::line")]
    pub issuer: Option<String>,
    /// What the claim `aud` must be or contain. Left out, it is not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "kind::line")]
    pub audience: Option<String>,
    /// The Secret with the files that `keys` names. What is in it is live; another name rolls the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "kind::object_name")]
    pub keys_secret_name: Option<String>,
    /// Keys that are known beforehand; several for rotation.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub keys: Vec<JwtKey>,
    /// Keys that an identity provider publishes (RFC 7517): fetched over https, without redirects, at most 64 KiB, within 5 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Jwks>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtKey {
    /// The one algorithm the key is good for; what a token's header says does not change it.
    pub algorithm: Algorithm,
    /// The file in the Secret: a public key as PEM, or an HMAC secret as the bytes of the file.
    #[schemars(schema_with = "kind::file_name")]
    pub key: String,
    /// The key's name, for tokens whose header has a `kid`. Not twice in the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "kind::line")]
    pub kid: Option<String>,
}

/// How a token is signed (RFC 7518, section 3.1; RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "the names of the RFC")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// Keys that an identity provider publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jwks {
    /// Where they are: a JWK Set (RFC 7517), over https, without a redirect, at most 64 KiB within 5 s. A key counts for its `alg`
    /// alone; an RSA key without one for RS256.
    #[schemars(schema_with = "kind::https_url")]
    pub url: String,
    /// How often they are fetched again; a token with a name that is not known fetches them too, at most once a minute. Those that
    /// can't be fetched again, or of which no key is of use, go on to count for a day more.
    #[serde(default = "Jwks::refresh_period")]
    #[schemars(extend("x-headgate-range" = ["1s", "24h"]))]
    pub refresh_period: Duration,
    /// The Secret with `ca.crt`, where the provider's certificate is of a CA of one's own. Left out, the system's CAs count (and `SSL_CERT_FILE`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "kind::object_name")]
    pub ca_secret_name: Option<String>,
}

impl Jwks {
    fn refresh_period() -> Duration {
        Duration::from_secs(600)
    }
}
