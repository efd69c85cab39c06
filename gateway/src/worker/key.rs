//! What a connection is called.

use std::{fmt, sync::Arc};

/// Tells a connection from every other one of this process, those that have ended among them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionKey(u64);

impl ConnectionKey {
    /// The key of the connection at a slot of a worker; `nonce` is any number, so that the next
    /// connection at the slot has another key.
    pub const fn new(worker: usize, slot: usize, nonce: u32) -> Self {
        Self(((worker as u64 & 0xff) << 56) | ((slot as u64 & 0xff_ffff) << 32) | nonce as u64)
    }

    /// The worker that holds it.
    pub const fn worker(self) -> usize {
        (self.0 >> 56) as usize
    }

    /// Its slot there.
    pub const fn slot(self) -> usize {
        (self.0 >> 32 & 0xff_ffff) as usize
    }
}

impl fmt::Debug for ConnectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Gives connections the names by which clients and the server API know them: 24 hexadecimal
/// digits, of which the first eight are the process's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    process: u32,
}

impl Names {
    /// The names of a process; `process` is any number, so that pods do not share names.
    pub const fn new(process: u32) -> Self {
        Self { process }
    }

    /// What the pods call this process: the beginning of its connections' names.
    pub fn process(self) -> Arc<str> {
        format!("{:08x}", self.process).into()
    }

    /// The name of a connection.
    pub fn name(self, key: ConnectionKey) -> Arc<str> {
        format!("{:08x}{:016x}", self.process, key.0).into()
    }

    /// The process that a name is of; `None` for what no process gives out.
    pub fn process_of(name: &str) -> Option<&str> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (name.len() == 24 && name.bytes().all(is_digit)).then(|| name.get(..8)).flatten()
    }

    /// The connection of this name; `None` for what this process never gave out.
    pub fn key(self, name: &str) -> Option<ConnectionKey> {
        let process = u32::from_str_radix(Self::process_of(name)?, 16).ok()?;
        let key = u64::from_str_radix(name.get(8..)?, 16).ok()?;
        (process == self.process).then_some(ConnectionKey(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_by_the_process_that_gave_it() {
        let names = Names::new(7);
        let key = ConnectionKey::new(3, 70_000, 9);
        let name = names.name(key);

        assert_eq!((key.worker(), key.slot()), (3, 70_000));
        assert_eq!(names.key(&name), Some(key));
        assert_eq!(Names::new(8).key(&name), None);
        for other in ["", "zz", "0000000703011170000000z9", "+000000703011170000000009"] {
            assert_eq!(names.key(other), None, "{other}");
        }
    }
}
