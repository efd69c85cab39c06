//! The keys of the server API.
//!
//! Only digests are kept and compared: they have one length, so the comparison takes the same time
//! whatever was sent, and it looks at every key, so that it does not tell which one was near.

use http::{HeaderValue, header};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::error::ApiError;

/// The keys that count now.
#[derive(Clone, Default)]
pub enum ApiKeys {
    /// The manifest has no server API.
    #[default]
    Off,
    /// The Secret with the keys has not been read yet.
    Awaited,
    /// These, several while they are rotated; none where the last one was removed.
    Known(Digests),
}

/// What keys are compared by.
#[derive(Clone)]
pub struct Digests(Vec<[u8; 32]>);

impl ApiKeys {
    /// Takes the keys of a Secret.
    pub fn new<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self::Known(Digests(keys.into_iter().map(|key| Sha256::digest(key).into()).collect()))
    }

    /// Whether the request may use the server API.
    ///
    /// # Errors
    ///
    /// [`ApiError::Off`] without the API, [`ApiError::Unavailable`] while its keys are awaited,
    /// [`ApiError::Unauthorized`] for any other header.
    pub fn check(&self, headers: &http::HeaderMap) -> Result<(), ApiError> {
        let Digests(keys) = match self {
            Self::Off => return Err(ApiError::Off),
            Self::Awaited => return Err(ApiError::starting()),
            Self::Known(digests) => digests,
        };
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(ApiError::Unauthorized);
        };
        let shown = bearer(value).ok_or(ApiError::Unauthorized)?;
        let digest: [u8; 32] = Sha256::digest(shown).into();
        let equals = |found: Choice, key: &[u8; 32]| found | key.ct_eq(&digest);
        let is_known = keys.iter().fold(Choice::from(0), equals);
        if bool::from(is_known) { Ok(()) } else { Err(ApiError::Unauthorized) }
    }
}

/// What follows the scheme, which is compared without regard to case (RFC 9110, section 11.1).
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, rest) = value.as_bytes().split_first_chunk::<7>()?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

/// Prints nothing of the keys.
impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.write_str("Off"),
            Self::Awaited => f.write_str("Awaited"),
            Self::Known(digests) => write!(f, "Known({digests:?})"),
        }
    }
}

/// Prints their number.
impl std::fmt::Debug for Digests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn check(keys: &[&str], headers: &[&'static str], expected: Result<(), ApiError>) {
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }

        assert_eq!(ApiKeys::new(keys).check(&map).err(), expected.err(), "{headers:?}");
    }

    #[test]
    fn every_key_counts_and_nothing_else() {
        let keys = ["new-key", "old-key"];
        check(&keys, &["Bearer new-key"], Ok(()));
        check(&keys, &["bearer old-key"], Ok(()));
        for headers in [
            &[] as &[&str],
            &["Bearer"],
            &["Bearer "],
            &["Bearer new"],
            &["Bearer new-key2"],
            &["Basic new-key"],
            &["new-key"],
            &["Bearer new-key", "Bearer new-key"],
        ] {
            check(&keys, headers, Err(ApiError::Unauthorized));
        }
    }

    #[test]
    fn a_removed_key_leaves_an_api_that_nobody_may_use() {
        check(&[], &["Bearer "], Err(ApiError::Unauthorized));
    }

    #[test]
    fn keys_are_not_printed() {
        assert_eq!(format!("{:?}", ApiKeys::new(["secret"])), "Known(1)");
    }
}
