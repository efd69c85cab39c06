//! A number of bytes, as a Kubernetes quantity (`512Ki`, `1.5Mi`, `64M`) or a plain integer.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::kind::Kind;

/// A number of bytes, at most 2^53 - 1 (what every JSON reader can take).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size {
    bytes: u64,
}

/// Why a text is not a [`Size`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Not a number with one of the units.
    #[error("not a size")]
    Form,
    /// More bytes than a JSON number holds exactly.
    #[error("more than 2^53 - 1 bytes")]
    TooLarge,
}

const BYTES_MAX: u64 = (1 << 53) - 1;

/// Largest first, so that printing finds the largest that divides; binary before decimal, so that `Mi` is not read as `M`.
const UNITS: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];
const BINARY_UNITS: usize = 4;

impl Size {
    /// So many bytes; what is beyond 2^53 - 1 is cut.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self { bytes: if bytes > BYTES_MAX { BYTES_MAX } else { bytes } }
    }

    /// So many units of 1,024 bytes.
    pub const fn from_kib(kib: u32) -> Self {
        Self::from_bytes((kib as u64) << 10)
    }

    /// So many units of 1,048,576 bytes.
    pub const fn from_mib(mib: u32) -> Self {
        Self::from_bytes((mib as u64) << 20)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.bytes
    }
}

impl FromStr for Size {
    type Err = SizeError;

    /// A fraction of a byte is rounded up, as Kubernetes does.
    fn from_str(text: &str) -> Result<Self, SizeError> {
        let unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
        let (number, unit) = unit.unwrap_or((text, 1));
        let thousandths = thousandths(number).ok_or(SizeError::Form)?;
        let bytes = (u128::from(thousandths) * u128::from(unit)).div_ceil(1_000);
        let bytes = u64::try_from(bytes).map_err(|_| SizeError::TooLarge)?;
        if bytes > BYTES_MAX { Err(SizeError::TooLarge) } else { Ok(Self { bytes }) }
    }
}

/// A number of at most 16 digits, with at most three more after a point, times 1,000.
fn thousandths(number: &str) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |part: &str, digits_max: usize| {
        (1..=digits_max).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_digits(whole, 16) || !is_digits(fraction, 3) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let fraction: u64 = format!("{fraction:0<3}").parse().ok()?;
    Some(whole * 1_000 + fraction)
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |unit: u64| self.bytes > 0 && self.bytes.is_multiple_of(unit);
        match UNITS.iter().take(BINARY_UNITS).find(|(_, bytes)| whole(*bytes)) {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.bytes / bytes),
            None => write!(f, "{}", self.bytes),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.to_string() {
            text if text.ends_with('i') => to.serialize_str(&text),
            _ => to.serialize_u64(self.bytes),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl de::Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as 512Ki, or a number of bytes")
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
        if bytes > BYTES_MAX { Err(E::custom(SizeError::TooLarge)) } else { Ok(Size { bytes }) }
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
        self.visit_u64(u64::try_from(bytes).map_err(|_| E::custom(SizeError::Form))?)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(E::custom)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Kind::Size.schema()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Result<u64, SizeError>) {
        assert_eq!(text.parse().map(Size::bytes), expected, "{text}");
    }

    #[test]
    fn text_is_read_as_a_quantity() {
        check("0", Ok(0));
        check("1024", Ok(1024));
        check("1Ki", Ok(1024));
        check("1.5Mi", Ok(1_572_864));
        check("64M", Ok(64_000_000));
        check("1k", Ok(1000));
        check("0.0001k", Err(SizeError::Form));
        check("0.333Ki", Ok(341));
        check("8192Ti", Err(SizeError::TooLarge));
        check("9999999999999999T", Err(SizeError::TooLarge));
        for text in
            ["", "Ki", "-1", "+1", "1 Ki", "1KiB", "1K", "1e3", "100m", ".5Mi", "1.Mi", "0x10"]
        {
            check(text, Err(SizeError::Form));
        }
    }

    #[test]
    fn json_takes_text_and_integers_and_gives_the_shorter() {
        let sizes: Vec<Size> = serde_json::from_str(r#"["512Ki", 1024, 1000, "0"]"#).unwrap();

        assert_eq!(serde_json::to_string(&sizes).unwrap(), r#"["512Ki","1Ki",1000,0]"#);
        assert!(serde_json::from_str::<Size>("-1").is_err());
        assert!(serde_json::from_str::<Size>("1.5").is_err());
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(bytes in 0..=BYTES_MAX, shift in 0..50_u32) {
            let size = Size::from_bytes(bytes >> shift << shift);

            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn no_text_panics(text in "[0-9.kMGTi]{0,40}") {
            let _ = text.parse::<Size>();
        }
    }
}
