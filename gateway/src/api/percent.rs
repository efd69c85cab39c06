//! Percent encoding in paths and queries (RFC 3986, section 2.1).

use super::error::ApiError;

/// Undoes the encoding of one part of a path.
///
/// # Errors
///
/// [`ApiError::Invalid`] where `%` is not followed by two hexadecimal digits, or the bytes are not
/// UTF-8: a name that was read differently from how it was meant would be another's.
pub fn decode(part: &str) -> Result<String, ApiError> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let encoded = after.split_first_chunk::<2>();
        let Some(([high, low], after)) = encoded else { return Err(invalid()) };
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return Err(invalid()) };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| invalid())
}

/// The same in a query, where `+` stands for a space.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_query(part: &str) -> Result<String, ApiError> {
    decode(&part.replace('+', " "))
}

fn invalid() -> ApiError {
    ApiError::Invalid("the URL has a percent encoding that is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_out_as_they_were_meant_or_not_at_all() {
        let table = [
            ("room.1", Some("room.1")),
            ("a%20b%2Fc%2f", Some("a b/c/")),
            ("%C3%A9", Some("é")),
            ("a+b", Some("a+b")),
            ("100%", None),
            ("%2", None),
            ("%zz", None),
            ("%+1", None),
            ("%ff", None),
        ];
        for (part, expected) in table {
            assert_eq!(decode(part).ok().as_deref(), expected, "{part}");
        }
        assert_eq!(decode_query("a+b%2B").as_deref(), Ok("a b+"));
    }
}
