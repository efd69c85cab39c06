//! Makes tokens, for development and for tests.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// A token signed with HS256; `claims` is a JSON object.
pub fn mint(
    secret: &[u8],
    kid: Option<String>,
    claims: &Value,
) -> Result<String, serde_json::Error> {
    let mut header = json!({"typ": "JWT", "alg": "HS256"});
    if let (Some(kid), Some(header)) = (kid, header.as_object_mut()) {
        header.insert("kid".to_owned(), kid.into());
    }
    let part = |value| Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(value)?));
    let signed = format!("{}.{}", part(&header)?, part(claims)?);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signature = hmac::sign(&key, signed.as_bytes());
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
