//! Where a client stands in a channel with history.
//!
//! An offset counts publications within an epoch. An epoch ends when the order of the channel
//! cannot be continued, so that an offset of before is never taken for one of after.

use std::{fmt, str::FromStr};

/// The highest offset: what JavaScript can count to exactly.
pub const OFFSET_MAX: u64 = (1 << 53) - 1;

/// One unbroken life of a channel's order. Opaque to clients, who see hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// The text is no epoch that a gateway ever gave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an epoch")]
pub struct EpochUnknown;

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = EpochUnknown;

    fn from_str(text: &str) -> Result<Self, EpochUnknown> {
        let is_ours = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 16 || !text.bytes().all(is_ours) {
            return Err(EpochUnknown);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| EpochUnknown)
    }
}

/// A place in a channel's order, as the gateway knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The life of the channel that the offset counts in.
    pub epoch: Epoch,
    /// The publication at this place, 1 for the first; 0 is before the first.
    pub offset: u64,
}

/// A place in a channel's order, as a client claims it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientPosition {
    /// `None`: a text that was never an epoch of ours, so it equals none.
    pub epoch: Option<Epoch>,
    /// At most [`OFFSET_MAX`].
    pub offset: u64,
}

impl From<Position> for ClientPosition {
    fn from(Position { epoch, offset }: Position) -> Self {
        Self { epoch: Some(epoch), offset }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_of_another_form_is_no_epoch() {
        for text in ["", "1", "+00000000000000f", "000000000000000F", "00000000000000001", "é"] {
            assert_eq!(text.parse::<Epoch>(), Err(EpochUnknown), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_epoch_survives_the_trip_to_the_client(value: u64) {
            prop_assert_eq!(Epoch(value).to_string().parse(), Ok(Epoch(value)));
        }
    }
}
