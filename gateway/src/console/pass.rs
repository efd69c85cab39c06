//! What lets the page connect: tokens signed by a key that this process alone knows.

use std::fmt;

use aws_lc_rs::rand;
use headgate_crds::v1alpha1::Algorithm;
use serde_json::json;

use super::ConsoleError;
use crate::auth::{
    mint::mint,
    token::{Key, Verifier},
};

/// Who the page is.
const USER: &str = "console";

/// How long a token counts. The page asks for another each second, so it may be short; it is long
/// enough for a laptop that was asleep over lunch.
const SECONDS: u64 = 3_600;

/// A signing key made for this process alone.
pub struct Pass([u8; 32]);

impl Pass {
    /// A new key.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Key`] where the system has no random bytes.
    pub fn random() -> Result<Self, ConsoleError> {
        let mut secret = [0; 32];
        rand::fill(&mut secret).map_err(|_| ConsoleError::Key)?;
        Ok(Self(secret))
    }

    /// What tells these tokens from any other.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Key`], which does not happen: the secret is long enough.
    pub fn verifier(&self) -> Result<Verifier, ConsoleError> {
        let key = Key::parse(Algorithm::HS256, Some(USER.to_owned()), &self.0)
            .map_err(|_| ConsoleError::Key)?;
        Ok(Verifier { requires_user: true, keys: vec![key], ..Verifier::default() })
    }

    /// A token for every channel that its rule grants at all; `now` is in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Key`] where the library would not sign.
    pub fn token(&self, now: u64) -> Result<String, ConsoleError> {
        let all = ["**"];
        let claims = json!({
            "sub": USER,
            "exp": now.saturating_add(SECONDS),
            "headgate": {"subscribe": all, "publish": all, "presence": all, "history": all},
        });
        mint(&self.0, Some(USER.to_owned()), &claims).map_err(|_| ConsoleError::Key)
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pass(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::identity::Grants;

    #[test]
    fn its_tokens_count_here_for_an_hour_and_grant_everything() {
        let pass = Pass::random().unwrap();
        let token = pass.token(1_000).unwrap();
        let verifier = pass.verifier().unwrap();

        let identity = verifier.verify(&token, 1_000).unwrap();

        assert_eq!((identity.user.as_deref(), identity.expires), (Some("console"), Some(4_600)));
        assert!(Grants::any(&identity.grants.publish, "any.channel"));
        assert!(verifier.verify(&token, 4_600 + 60).is_err());
    }

    #[test]
    fn another_process_does_not_take_them() {
        let token = Pass::random().unwrap().token(1_000).unwrap();

        assert!(Pass::random().unwrap().verifier().unwrap().verify(&token, 1_000).is_err());
    }
}
