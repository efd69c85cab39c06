//! The key in the console's address: whoever has it has seen the log of this process.

use std::fmt;

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use super::ConsoleError;

/// 128 bits that nobody guesses.
const BYTES: usize = 16;

/// A key made for this process alone.
pub struct ConsoleKey(String);

impl ConsoleKey {
    /// A new key.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Key`] where the system has no random bytes.
    pub fn random() -> Result<Self, ConsoleError> {
        let mut bytes = [0; BYTES];
        rand::fill(&mut bytes).map_err(|_| ConsoleError::Key)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Whether this is the key, in the same time wherever it differs.
    pub fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// The key, to be part of an address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ConsoleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsoleKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_key_is_new_and_fits_a_path() {
        let keys: HashSet<_> =
            (0..100).map(|_| ConsoleKey::random().unwrap().as_str().to_owned()).collect();

        assert_eq!(keys.len(), 100);
        let is_fit = |it: u8| it.is_ascii_alphanumeric() || it == b'-' || it == b'_';
        assert!(keys.iter().all(|key| key.len() == 22 && key.bytes().all(is_fit)), "{keys:?}");
    }

    #[test]
    fn only_the_key_is_the_key_and_it_is_not_printed() {
        let key = ConsoleKey::random().unwrap();
        let text = key.as_str();

        assert!(key.is(text));
        for other in ["", &text[1..], &format!("{text}A"), &text.to_lowercase()] {
            assert!(!key.is(other), "{other}");
        }
        assert_eq!(format!("{key:?}"), "ConsoleKey(..)");
    }
}
