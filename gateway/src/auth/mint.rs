//! Makes tokens, for development and for tests.

use jsonwebtoken::{Algorithm, EncodingKey, Header};

/// A token signed with HS256; `claims` is a JSON object.
pub fn mint(
    secret: &[u8],
    kid: Option<String>,
    claims: &serde_json::Value,
) -> Result<String, jsonwebtoken::errors::Error> {
    let header = Header { kid, ..Header::new(Algorithm::HS256) };
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret))
}
