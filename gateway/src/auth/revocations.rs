//! Tokens and users that are no longer welcome.

use ahash::AHashMap;

use super::identity::Identity;

/// Revocations kept at most.
pub const REVOCATIONS_MAX: usize = 100_000;

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// One token.
    Jti(String),
    /// All tokens of a user.
    User(String),
}

/// There are as many revocations as may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{REVOCATIONS_MAX} revocations are kept; revoke users instead of tokens, or expire earlier")]
pub struct Full;

/// Revocations until they expire.
#[derive(Clone, Debug, Default)]
pub struct Revocations {
    until: AHashMap<Revoked, u64>,
}

impl Revocations {
    /// Adds one until `expires`, in seconds since 1970.
    pub fn add(&mut self, revoked: Revoked, expires: u64, now: u64) -> Result<(), Full> {
        if self.until.len() >= REVOCATIONS_MAX {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() >= REVOCATIONS_MAX && !self.until.contains_key(&revoked) {
            return Err(Full);
        }
        self.until.insert(revoked, expires);
        Ok(())
    }

    /// Whether somebody is no longer welcome.
    pub fn contain(&self, identity: &Identity, now: u64) -> bool {
        if self.until.is_empty() {
            return false;
        }
        let is_in = |revoked: Revoked| self.until.get(&revoked).is_some_and(|until| *until > now);
        identity.jti.as_ref().is_some_and(|it| is_in(Revoked::Jti(it.to_string())))
            || identity.user.as_ref().is_some_and(|it| is_in(Revoked::User(it.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_holds_until_it_expires() {
        let mut revocations = Revocations::default();
        revocations.add(Revoked::User("al".into()), 100, 0).unwrap();
        let al = Identity { user: Some("al".into()), ..Identity::default() };

        assert!(revocations.contain(&al, 99));
        assert!(!revocations.contain(&al, 100));
        assert!(!revocations.contain(&Identity::default(), 0));
    }
}
