//! The keys of the server API: one a line, several for rotation. Pure.

use super::secret::Secret;

/// A key must be long enough not to be guessed, and short enough for a header.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=512;

/// The most keys of a file; rotation needs two.
const KEYS_MAX: usize = 16;

/// Why a file holds no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ApiKeysError {
    #[error("no key in it")]
    Empty,
    #[error("more than {KEYS_MAX} keys")]
    Many,
    #[error("the key in line {0} is not 16 to 512 bytes long")]
    Length(usize),
    #[error("the key in line {0} has characters that a header cannot carry")]
    Characters(usize),
}

/// The keys, without blank lines and white space around them.
pub(super) fn parse(file: &[u8]) -> Result<Vec<Secret>, ApiKeysError> {
    let mut keys = Vec::new();
    for (index, line) in file.split(|byte| *byte == b'\n').enumerate() {
        let key = line.trim_ascii();
        if key.is_empty() {
            continue;
        }
        if !KEY_BYTES.contains(&key.len()) {
            return Err(ApiKeysError::Length(index + 1));
        }
        if !key.iter().all(u8::is_ascii_graphic) {
            return Err(ApiKeysError::Characters(index + 1));
        }
        keys.push(Secret::new(key.to_vec()));
    }
    match keys.len() {
        0 => Err(ApiKeysError::Empty),
        1..=KEYS_MAX => Ok(keys),
        _ => Err(ApiKeysError::Many),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, expected: Result<&[&str], ApiKeysError>) {
        let keys = parse(file.as_bytes());
        let keys: Result<Vec<_>, _> =
            keys.map(|keys| keys.iter().map(|it| it.bytes().to_vec()).collect());
        let expected: Result<Vec<_>, _> =
            expected.map(|keys| keys.iter().map(|it| it.as_bytes().to_vec()).collect());
        assert_eq!(keys, expected, "{file:?}");
    }

    #[test]
    fn a_key_is_a_line() {
        let (one, two) = ("0123456789abcdef", "ghijklmnopqrstuv");

        check(one, Ok(&[one]));
        check(&format!("\n  {one}\r\n\n{two} \n"), Ok(&[one, two]));
        check("", Err(ApiKeysError::Empty));
        check(" \n\t\n", Err(ApiKeysError::Empty));
        check("short", Err(ApiKeysError::Length(1)));
        check(&format!("{one}\n{}", "x".repeat(513)), Err(ApiKeysError::Length(2)));
        check("0123456789 abcdef", Err(ApiKeysError::Characters(1)));
        check("0123456789abcdéf", Err(ApiKeysError::Characters(1)));
        check(&format!("{one}\n").repeat(17), Err(ApiKeysError::Many));
    }
}
