//! Where a client stands in a channel's history.

use std::fmt;

/// The largest offset: what a JSON number keeps exactly in every language (2^53 - 1).
pub const OFFSET_MAX: u64 = (1 << 53) - 1;

/// One unbroken run of a channel's offsets. Clients see an opaque string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Reads what [`fmt::Display`] wrote; another text is no epoch of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let epoch = u64::from_str_radix(text, 16).ok().map(Self)?;
        (epoch.to_string() == text).then_some(epoch)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A place in one epoch: the offset of the last publication before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The run of offsets.
    pub epoch: Epoch,
    /// Rises strictly within an epoch, and need not be dense.
    pub offset: u64,
}

/// A position as a client names it: its epoch may be nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPosition {
    /// `None` where the text cannot be an epoch of this gateway.
    pub epoch: Option<Epoch>,
    /// At most [`OFFSET_MAX`].
    pub offset: u64,
}

impl ClientPosition {
    /// The same as a position of an epoch that can exist.
    pub fn known(self) -> Option<Position> {
        self.epoch.map(|epoch| Position { epoch, offset: self.offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_read_back_as_it_was_written() {
        assert_eq!(Epoch::parse(&Epoch(u64::MAX).to_string()), Some(Epoch(u64::MAX)));
        for foreign in ["", "+1", "0x1", "01", "A", "1 ", "11111111111111111"] {
            assert_eq!(Epoch::parse(foreign), None, "{foreign:?}");
        }
    }
}
