//! What is known of the keys that an identity provider publishes.

use std::sync::Arc;

use ahash::AHashSet;

use super::{identity::KeyId, key::Key};

/// The keys of an identity provider, as far as they are known.
#[derive(Clone, Debug, Default)]
pub enum KeySet {
    /// There is no identity provider.
    #[default]
    Unused,
    /// None were fetched yet, or too long ago, or from elsewhere: nothing can be said of a token.
    Awaited {
        /// Those from before. They go on to vouch for who is here, since nobody has withdrawn them.
        former: Arc<[Key]>,
    },
    /// They can be trusted.
    Known {
        /// The keys.
        keys: Arc<[Key]>,
        /// Names that were asked for and that the provider has no key of. A token without a name
        /// asks for the empty one.
        absent: Arc<AHashSet<Box<str>>>,
    },
}

impl KeySet {
    /// The keys that verify tokens.
    pub fn trusted(&self) -> &[Key] {
        match self {
            Self::Known { keys, .. } => keys,
            Self::Unused | Self::Awaited { .. } => &[],
        }
    }

    /// The keys that vouch for who is here.
    pub fn keys(&self) -> &[Key] {
        match self {
            Self::Unused => &[],
            Self::Awaited { former: keys } | Self::Known { keys, .. } => keys,
        }
    }

    /// Whether there is a key of this name.
    pub fn has(&self, kid: &str) -> bool {
        self.trusted().iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    pub(super) fn vouches(&self, id: KeyId) -> bool {
        self.keys().iter().any(|key| key.id == id)
    }
}
