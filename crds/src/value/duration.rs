//! A duration as Kubernetes' Gateway API writes it (GEP-2257): `54s`, `1h30m`, `250ms`.

use std::{fmt, str::FromStr, time};

use super::{kind::Kind, written_as_text};

/// A length of time, whole milliseconds, at most 99,999 hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    millis: u64,
}

/// Why a text is not a [`Duration`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not one to four numbers of at most five digits, each with its unit.
    #[error("not a duration")]
    Form,
    /// More than can be written again.
    #[error("longer than 99999h")]
    TooLong,
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const MILLIS_MAX: u64 = 99_999 * HOUR;
const PARTS_MAX: usize = 4;
const DIGITS_MAX: usize = 5;

impl Duration {
    /// A duration of so many seconds (at most 99,999 hours of them).
    pub const fn from_secs(secs: u32) -> Self {
        Self::from_millis(secs as u64 * SECOND)
    }

    /// A duration of so many milliseconds; what is beyond 99,999 hours is cut.
    pub const fn from_millis(millis: u64) -> Self {
        Self { millis: if millis > MILLIS_MAX { MILLIS_MAX } else { millis } }
    }

    /// The same as the standard library's type.
    pub const fn get(self) -> time::Duration {
        time::Duration::from_millis(self.millis)
    }

    /// Whole milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.millis
    }

    /// Whether it is `0s`, which many settings read as "never" or "at once".
    pub const fn is_zero(self) -> bool {
        self.millis == 0
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let mut rest = text;
        let mut millis = 0;
        for _ in 0..PARTS_MAX {
            let (part, after) = leading_part(rest).ok_or(DurationError::Form)?;
            millis += part;
            rest = after;
            if rest.is_empty() {
                let fits = millis <= MILLIS_MAX;
                return fits.then_some(Self { millis }).ok_or(DurationError::TooLong);
            }
        }
        Err(DurationError::Form)
    }
}

/// The milliseconds of the first number and unit, and the text after them.
fn leading_part(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits > DIGITS_MAX {
        return None;
    }
    let (number, rest) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    // `ms` before `m`, or `250ms` would be read as minutes.
    let units = [("ms", 1), ("h", HOUR), ("m", MINUTE), ("s", SECOND)];
    units.iter().find_map(|(unit, millis)| Some((number * millis, rest.strip_prefix(unit)?)))
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Two minutes and less are printed as people write them: `60s`, not `1m`.
        if self.millis <= 2 * MINUTE && self.millis.is_multiple_of(SECOND) {
            return write!(f, "{}s", self.millis / SECOND);
        }
        let mut rest = self.millis;
        for (unit, millis) in [("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", 1)] {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

written_as_text!(Duration, Kind::Duration);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Result<u64, DurationError>) {
        assert_eq!(text.parse().map(Duration::as_millis), expected, "{text}");
    }

    #[test]
    fn text_is_read_as_gep_2257_says() {
        check("0s", Ok(0));
        check("54s", Ok(54_000));
        check("250ms", Ok(250));
        check("1h30m", Ok(5_400_000));
        check("1m1h", Ok(3_660_000));
        check("1h2m3s4ms", Ok(3_723_004));
        check("99999h", Ok(MILLIS_MAX));
        check("99999h1ms", Err(DurationError::TooLong));
        for text in ["", "5", "s", "-1s", "1.5s", "1 s", "100000s", "1s1s1s1s1s", "1d", "1S", "1sx"]
        {
            check(text, Err(DurationError::Form));
        }
    }

    #[test]
    fn text_is_printed_as_people_write_it() {
        for text in ["0s", "10s", "120s", "5m", "1h30m", "1s500ms", "2m1s"] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(millis in 0..=MILLIS_MAX) {
            let duration = Duration::from_millis(millis);

            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "[0-9hms. ]{0,40}") {
            let _ = text.parse::<Duration>();
        }
    }
}
