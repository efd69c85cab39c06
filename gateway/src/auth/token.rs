//! Verifies tokens (RFC 7519) by the rules of RFC 8725.
//!
//! The key decides the algorithm, never the token. The library checks signatures; claims are read
//! here, strictly by type, since a claim of the wrong type must not count as absent.

use std::{
    fmt,
    hash::{BuildHasher, Hasher},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use headgate_crds::{v1alpha1::Algorithm, value::ChannelPattern};
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::identity::{Grants, Identity, KeyId};

/// The longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Clocks may differ by so many seconds.
pub const LEEWAY: u64 = 60;

/// Patterns in one token at most.
const PATTERNS_MAX: usize = 64;

/// The longest `info`, in bytes.
const INFO_BYTES_MAX: usize = 1024;

/// The longest `sub` and `jti`, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was good once.
    #[error("token expired")]
    Expired,
    /// It is not good; the words are for the log, the client learns only that.
    #[error("token refused: {0}")]
    Refused(&'static str),
    /// No key is known yet.
    #[error("no key is known yet")]
    Undecided,
}

/// Why a file is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// An HMAC secret that can be guessed (RFC 7518, section 3.2).
    #[error("an HMAC secret for this algorithm must have at least {0} bytes")]
    Short(usize),
    /// A private key.
    #[error("this is a private key; the gateway needs the public one")]
    Private,
    /// Not a key of this algorithm.
    #[error("this is no PEM public key for this algorithm")]
    Pem,
}

/// A key and the only algorithm that it verifies.
#[derive(Clone)]
pub struct Key {
    algorithm: jsonwebtoken::Algorithm,
    kid: Option<String>,
    material: DecodingKey,
    id: u64,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Key {
    /// Reads the contents of a key's file.
    pub fn parse(algorithm: Algorithm, kid: Option<String>, file: &[u8]) -> Result<Self, KeyError> {
        use jsonwebtoken::Algorithm as J;
        let pem = |key: Result<DecodingKey, _>| key.map_err(|_| KeyError::Pem);
        let secret = |bytes_min| {
            if file.len() < bytes_min {
                Err(KeyError::Short(bytes_min))
            } else {
                Ok(DecodingKey::from_secret(file))
            }
        };
        let is_hmac = matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
        if !is_hmac && memchr::memmem::find(file, b"PRIVATE KEY-----").is_some() {
            return Err(KeyError::Private);
        }
        let (algorithm, key) = match algorithm {
            Algorithm::HS256 => (J::HS256, secret(32)?),
            Algorithm::HS384 => (J::HS384, secret(48)?),
            Algorithm::HS512 => (J::HS512, secret(64)?),
            Algorithm::RS256 => (J::RS256, pem(DecodingKey::from_rsa_pem(file))?),
            Algorithm::RS384 => (J::RS384, pem(DecodingKey::from_rsa_pem(file))?),
            Algorithm::RS512 => (J::RS512, pem(DecodingKey::from_rsa_pem(file))?),
            Algorithm::PS256 => (J::PS256, pem(DecodingKey::from_rsa_pem(file))?),
            Algorithm::PS384 => (J::PS384, pem(DecodingKey::from_rsa_pem(file))?),
            Algorithm::PS512 => (J::PS512, pem(DecodingKey::from_rsa_pem(file))?),
            Algorithm::ES256 => (J::ES256, pem(DecodingKey::from_ec_pem(file))?),
            Algorithm::ES384 => (J::ES384, pem(DecodingKey::from_ec_pem(file))?),
            Algorithm::EdDSA => (J::EdDSA, pem(DecodingKey::from_ed_pem(file))?),
        };
        let mut hasher = ahash::RandomState::with_seeds(1, 2, 3, 4).build_hasher();
        hasher.write(file);
        hasher.write(format!("{algorithm:?}{kid:?}").as_bytes());
        Ok(Self { algorithm, kid, material: key, id: hasher.finish() })
    }
}

/// What vouches for tokens.
#[derive(Clone, Debug, Default)]
pub struct Verifier {
    /// `iss` must be this.
    pub issuer: Option<String>,
    /// `aud` must be or contain this.
    pub audience: Option<String>,
    /// Whether `sub` must be there.
    pub requires_user: bool,
    /// The keys; none yet where they come from an identity provider.
    pub keys: Vec<Key>,
}

impl Verifier {
    /// Decides about a token; `now` is in seconds since 1970.
    pub fn verify(&self, token: &str, now: u64) -> Result<Identity, TokenError> {
        use TokenError::Refused;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refused("longer than 8 KiB"));
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refused("not a JWS in compact form"));
        };
        let header = object(header).ok_or(Refused("header is no JSON object"))?;
        if header.contains_key("crit") {
            return Err(Refused("crit is not supported"));
        }
        let algorithm = text(&header, "alg")?.ok_or(Refused("no alg"))?;
        let kid = text(&header, "kid")?;
        if kid.is_some_and(|kid| kid.len() > 64) {
            return Err(Refused("kid is longer than 64 bytes"));
        }
        if self.keys.is_empty() {
            return Err(TokenError::Undecided);
        }
        let signed = token.get(..header_and_payload(token)).unwrap_or_default();
        let key = self.key(algorithm, kid, signed.as_bytes(), signature)?;
        let claims = object(payload).ok_or(Refused("claims are no JSON object"))?;
        self.claims(&claims, now, KeyId(key.id ^ self.salt()))
    }

    /// Whether a key that vouched for somebody still does, for the same issuer.
    pub fn vouches(&self, id: KeyId) -> bool {
        self.keys.iter().any(|key| KeyId(key.id ^ self.salt()) == id)
    }

    fn salt(&self) -> u64 {
        let issuer = self.issuer.as_deref().unwrap_or_default();
        issuer.bytes().fold(0, |salt: u64, byte| salt.wrapping_mul(31).wrapping_add(byte.into()))
    }

    fn key(
        &self,
        algorithm: &str,
        kid: Option<&str>,
        signed: &[u8],
        signature: &str,
    ) -> Result<&Key, TokenError> {
        let mut is_known = false;
        for key in &self.keys {
            let is_meant = match (kid, &key.kid) {
                (Some(kid), Some(mine)) => kid == mine,
                (Some(_), None) | (None, _) => true,
            };
            if !is_meant || format!("{:?}", key.algorithm) != algorithm {
                continue;
            }
            is_known = true;
            let verified =
                jsonwebtoken::crypto::verify(signature, signed, &key.material, key.algorithm);
            if verified.unwrap_or(false) {
                return Ok(key);
            }
        }
        Err(TokenError::Refused(if is_known { "signature" } else { "no key for alg and kid" }))
    }

    fn claims(
        &self,
        claims: &Map<String, Value>,
        now: u64,
        key: KeyId,
    ) -> Result<Identity, TokenError> {
        use TokenError::Refused;
        let expires = seconds(claims, "exp")?.ok_or(Refused("no exp"))?;
        if let Some(from) = seconds(claims, "nbf")?
            && from > now.saturating_add(LEEWAY)
        {
            return Err(Refused("nbf is in the future"));
        }
        seconds(claims, "iat")?;
        if let Some(issuer) = &self.issuer
            && text(claims, "iss")? != Some(issuer)
        {
            return Err(Refused("iss"));
        }
        if let Some(audience) = &self.audience
            && !is_audience(claims, audience)?
        {
            return Err(Refused("aud"));
        }
        let name = |claim| match text(claims, claim)? {
            Some(name) if name.is_empty() || name.len() > NAME_BYTES_MAX => {
                Err(Refused("sub or jti is not 1 to 255 bytes"))
            }
            name => Ok(name.map(Arc::from)),
        };
        let user: Option<Arc<str>> = name("sub")?;
        if self.requires_user && user.is_none() {
            return Err(Refused("no sub"));
        }
        let jti = name("jti")?;
        let (grants, info) = match claims.get("headgate") {
            None => (Grants::default(), None),
            Some(Value::Object(ours)) => grants(ours)?,
            Some(_) => return Err(Refused("headgate is no object")),
        };
        if expires.saturating_add(LEEWAY) <= now {
            return Err(TokenError::Expired);
        }
        let grants = Arc::new(grants);
        Ok(Identity { user, expires: Some(expires), grants, jti, info, key: Some(key) })
    }
}

fn header_and_payload(token: &str) -> usize {
    token.rfind('.').unwrap_or_default()
}

fn object(part: &str) -> Option<Map<String, Value>> {
    match serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::Refused("a claim that must be a string is none")),
    }
}

/// A `NumericDate` (RFC 7519, section 2): fractions count for nothing.
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, TokenError> {
    let wrong = TokenError::Refused("a claim that must be a time is none");
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(seconds), _) => Ok(Some(seconds)),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded")]
            (None, Some(seconds)) if (0.0..1e15).contains(&seconds) => Ok(Some(seconds as u64)),
            _ => Err(wrong),
        },
        Some(_) => Err(wrong),
    }
}

fn is_audience(claims: &Map<String, Value>, audience: &str) -> Result<bool, TokenError> {
    match claims.get("aud") {
        Some(Value::String(one)) => Ok(one == audience),
        Some(Value::Array(many)) if many.iter().all(Value::is_string) => {
            Ok(many.iter().any(|one| one == audience))
        }
        None => Ok(false),
        Some(_) => Err(TokenError::Refused("aud is neither a string nor strings")),
    }
}

fn grants(ours: &Map<String, Value>) -> Result<(Grants, Option<Arc<str>>), TokenError> {
    use TokenError::Refused;
    let mut count = 0;
    let mut patterns = |name: &str| -> Result<Vec<ChannelPattern>, TokenError> {
        let texts = strings(ours, name)?;
        count += texts.len();
        if count > PATTERNS_MAX {
            return Err(Refused("more than 64 patterns"));
        }
        texts.iter().map(|it| it.parse().map_err(|_| Refused("a pattern that is none"))).collect()
    };
    let grants = Grants {
        subscribe: patterns("subscribe")?,
        publish: patterns("publish")?,
        presence: patterns("presence")?,
        history: patterns("history")?,
        channels: strings(ours, "channels")?.into_iter().map(str::to_owned).collect(),
    };
    let is_valid = |name: &String| crate::protocol::channel::ChannelName::parse(name).is_ok();
    if count + grants.channels.len() > PATTERNS_MAX || !grants.channels.iter().all(is_valid) {
        return Err(Refused("channels are too many or no names"));
    }
    let info = ours.get("info").map(ToString::to_string);
    if info.as_ref().is_some_and(|it| it.len() > INFO_BYTES_MAX) {
        return Err(Refused("info is longer than 1 KiB"));
    }
    Ok((grants, info.map(Arc::from)))
}

fn strings<'a>(ours: &'a Map<String, Value>, name: &str) -> Result<Vec<&'a str>, TokenError> {
    let wrong = TokenError::Refused("a grant is no list of strings");
    match ours.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => items.iter().map(|it| it.as_str().ok_or(wrong)).collect(),
        Some(_) => Err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::mint::mint;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn verifier() -> Verifier {
        let key = Key::parse(Algorithm::HS256, None, SECRET).unwrap();
        Verifier { requires_user: true, keys: vec![key], ..Verifier::default() }
    }

    fn check(claims: &Value, expected: Result<(), TokenError>) {
        let token = mint(SECRET, None, claims).unwrap();
        assert_eq!(verifier().verify(&token, 1_000).map(drop), expected, "{claims}");
    }

    #[test]
    fn claims_are_read_strictly_by_type() {
        use TokenError::{Expired, Refused};
        check(&json!({"sub":"a","exp":1_000}), Ok(()));
        check(&json!({"sub":"a","exp":941}), Ok(()));
        check(&json!({"sub":"a","exp":940}), Err(Expired));
        check(&json!({"sub":"a"}), Err(Refused("no exp")));
        check(
            &json!({"sub":"a","exp":"9999"}),
            Err(Refused("a claim that must be a time is none")),
        );
        check(
            &json!({"sub":"a","exp":9999,"nbf":"0"}),
            Err(Refused("a claim that must be a time is none")),
        );
        check(&json!({"sub":"a","exp":9999,"nbf":1_061}), Err(Refused("nbf is in the future")));
        check(&json!({"sub":5,"exp":9999}), Err(Refused("a claim that must be a string is none")));
        check(&json!({"exp":9999}), Err(Refused("no sub")));
        check(&json!({"sub":"a","exp":9999,"headgate":[]}), Err(Refused("headgate is no object")));
        check(
            &json!({"sub":"a","exp":9999,"headgate":{"subscribe":"a"}}),
            Err(Refused("a grant is no list of strings")),
        );
        check(
            &json!({"sub":"a","exp":9999,"headgate":{"subscribe":["a*"]}}),
            Err(Refused("a pattern that is none")),
        );
        check(
            &json!({"sub":"a","exp":9999,"headgate":{"publish":vec!["a"; 65]}}),
            Err(Refused("more than 64 patterns")),
        );
        check(
            &json!({"sub":"a","exp":9999,"headgate":{"info":"x".repeat(1_024)}}),
            Err(Refused("info is longer than 1 KiB")),
        );
    }

    #[test]
    fn issuer_and_audience_are_those_of_the_manifest() {
        let verifier =
            Verifier { issuer: Some("me".into()), audience: Some("chat".into()), ..verifier() };
        let verify = |claims| verifier.verify(&mint(SECRET, None, &claims).unwrap(), 0).is_ok();
        assert!(verify(json!({"sub":"a","exp":9,"iss":"me","aud":["x","chat"]})));
        assert!(verify(json!({"sub":"a","exp":9,"iss":"me","aud":"chat"})));
        assert!(!verify(json!({"sub":"a","exp":9,"iss":"you","aud":"chat"})));
        assert!(!verify(json!({"sub":"a","exp":9,"iss":"me","aud":["chat",5]})));
        assert!(!verify(json!({"sub":"a","exp":9,"iss":"me"})));
    }

    #[test]
    fn the_key_decides_the_algorithm() {
        let none = format!(
            "{}.{}.",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
            URL_SAFE_NO_PAD.encode(r#"{"exp":9999,"sub":"a"}"#)
        );
        assert_eq!(
            verifier().verify(&none, 0).map(drop),
            Err(TokenError::Refused("no key for alg and kid"))
        );
        let other =
            mint(b"another secret of 32 bytes or so!", None, &json!({"sub":"a","exp":9})).unwrap();
        assert_eq!(verifier().verify(&other, 0).map(drop), Err(TokenError::Refused("signature")));
        let critical =
            format!("{}.e30.x", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","crit":["b64"]}"#));
        assert_eq!(
            verifier().verify(&critical, 0).map(drop),
            Err(TokenError::Refused("crit is not supported"))
        );
        assert_eq!(Verifier::default().verify(&other, 0).map(drop), Err(TokenError::Undecided));
    }

    #[test]
    fn a_kid_chooses_among_keys() {
        let key = |kid: &str, secret: &[u8]| {
            Key::parse(Algorithm::HS256, Some(kid.into()), secret).unwrap()
        };
        let keys = vec![key("a", &[1; 32]), key("b", &[2; 32])];
        let verifier = Verifier { keys, ..Verifier::default() };
        let verify = |secret: &[u8], kid: Option<&str>| {
            let token = mint(secret, kid.map(str::to_owned), &json!({"exp":9})).unwrap();
            verifier.verify(&token, 0).is_ok()
        };
        assert!(verify(&[2; 32], Some("b")));
        assert!(!verify(&[2; 32], Some("a")));
        assert!(verify(&[2; 32], None));
        assert!(!verify(&[2; 32], Some("c")));
    }

    #[test]
    fn files_that_are_no_keys_are_refused() {
        let parse = |algorithm, file: &[u8]| Key::parse(algorithm, None, file).map(drop);
        assert_eq!(parse(Algorithm::HS256, b"short"), Err(KeyError::Short(32)));
        assert_eq!(parse(Algorithm::RS256, b"-----BEGIN PRIVATE KEY-----"), Err(KeyError::Private));
        assert_eq!(parse(Algorithm::ES256, b"junk"), Err(KeyError::Pem));
    }

    #[test]
    fn a_key_vouches_until_it_or_the_issuer_is_gone() {
        let token = mint(SECRET, None, &json!({"sub":"a","exp":9})).unwrap();
        let key = verifier().verify(&token, 0).unwrap().key.unwrap();

        assert!(verifier().vouches(key));
        assert!(!Verifier { issuer: Some("new".into()), ..verifier() }.vouches(key));
        assert!(!Verifier::default().vouches(key));
    }
}
