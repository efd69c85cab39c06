//! What every pod tells every second: that it is alive, and what changed in its counts per user.
//!
//! ```text
//! {"v":1,"pod":"00a1b2c3","seq":7,"connections":12,"users":[{"user":"alice","opened":[1764000000000000]}]}
//! ```
//!
//! One second's changes may need more than one of these, each with a number of its own.

use std::{mem, sync::Arc};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{
    talk::check_pod,
    wire::{Dropped, VERSION, check_version},
};

/// Openings of one user that one pod tells of: the oldest. Whoever is younger than so many is beyond
/// every limit up to it; of a higher limit the pods know the number, and not the order.
pub const OPENINGS_TOLD_MAX: usize = 1_000;

/// About what the users of one message take, well below the least `max_payload` that is usual.
pub const USERS_BYTES_MAX: usize = 192 * 1024;

/// When a connection became a user's: microseconds since 1970, and no two of a pod are the same.
pub type Opening = u64;

/// When connections became a user's, ascending.
pub type Openings = SmallVec<[Opening; 2]>;

/// The connections that a user has on a pod now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Who.
    pub user: Arc<str>,
    /// The oldest of them, ascending; none where it has no connection any more.
    #[serde(default)]
    pub opened: Vec<Opening>,
    /// How many there are beyond these.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over the field as it is")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Told {
    /// What is told of a user with these openings, ascending.
    pub fn new(user: Arc<str>, openings: &[Opening]) -> Self {
        let opened: Vec<_> = openings.iter().copied().take(OPENINGS_TOLD_MAX).collect();
        Self { user, more: openings.len() - opened.len(), opened }
    }

    /// How many connections.
    pub fn count(&self) -> usize {
        self.opened.len().saturating_add(self.more)
    }

    /// About what it takes as JSON.
    pub fn bytes(&self) -> usize {
        // A byte of a name is six at worst: `\u0001`.
        80 + self.user.len() * 6 + self.opened.len() * 21
    }
}

/// That a pod is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The version.
    pub v: u32,
    /// Who.
    pub pod: Arc<str>,
    /// Counts the beats that this pod told.
    pub seq: u64,
    /// Its connections.
    #[serde(default)]
    pub connections: u64,
    /// The last revocation that it knows, and all before it.
    #[serde(default)]
    pub revoked: u64,
    /// The life of the stream that counts it: when that was created, in nanoseconds since 1970. 0 of
    /// pods that do not say.
    #[serde(default)]
    pub revoked_in: u64,
    /// What it told of users before this is void.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forget: bool,
    /// Users whose connections changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<Told>,
    /// It goes away now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bye: bool,
}

impl Beat {
    /// Without users.
    pub const fn new(pod: Arc<str>, seq: u64) -> Self {
        Self {
            v: VERSION,
            pod,
            seq,
            connections: 0,
            revoked: 0,
            revoked_in: 0,
            forget: false,
            users: Vec::new(),
            bye: false,
        }
    }

    /// As it goes over the wire.
    pub fn encode(&self) -> Vec<u8> {
        // Strings, numbers and lists of them are always JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// [`Dropped`]: whoever may write to the subject can write anything.
    pub fn decode(payload: &[u8]) -> Result<Self, Dropped> {
        let mut beat: Self = serde_json::from_slice(payload).map_err(|_| Dropped::Malformed)?;
        check_version(beat.v)?;
        check_pod(&beat.pod)?;
        for told in &mut beat.users {
            told.opened.sort_unstable();
        }
        Ok(beat)
    }
}

/// Cuts what is to be told into what fits one message each; at least one, perhaps empty.
pub fn cut(users: Vec<Told>) -> Vec<Vec<Told>> {
    let mut parts = Vec::new();
    let (mut part, mut bytes) = (Vec::new(), 0);
    for told in users {
        let more = told.bytes();
        if bytes + more > USERS_BYTES_MAX && !part.is_empty() {
            parts.push(mem::take(&mut part));
            bytes = 0;
        }
        bytes += more;
        part.push(told);
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(user: &str, count: u64) -> Told {
        Told::new(user.into(), &(0..count).map(|at| u64::MAX / 2 + at).collect::<Vec<_>>())
    }

    #[test]
    fn a_beat_survives_the_way() {
        let beat = Beat {
            users: vec![told("al", 2), told("bo", 0), told("many", 1_500)],
            bye: true,
            ..Beat::new("00a1b2c3".into(), 7)
        };

        assert_eq!(Beat::decode(&beat.encode()), Ok(beat));
        assert_eq!(told("many", 1_500).count(), 1_500);
    }

    #[test]
    fn only_pods_of_a_known_version_are_heard() {
        let check = |text: &str, expected: Result<(), Dropped>| {
            assert_eq!(Beat::decode(text.as_bytes()).map(drop), expected, "{text}");
        };

        check(r#"{"v":2,"pod":"00a1b2c3","seq":1,"new":{}}"#, Ok(()));
        check(r#"{"v":3,"pod":"00a1b2c3","seq":1}"#, Err(Dropped::Version));
        check(r#"{"v":1,"pod":"x.>","seq":1}"#, Err(Dropped::Foreign));
        check(r#"{"v":1,"seq":1}"#, Err(Dropped::Malformed));
    }

    #[test]
    fn what_is_told_is_cut_into_messages() {
        let users: Vec<_> = (0..20_000).map(|at| told(&format!("user-{at}"), 2)).collect();

        let parts = cut(users.clone());

        assert!(parts.len() > 5);
        for part in &parts {
            let beat = Beat { users: part.clone(), ..Beat::new("00a1b2c3".into(), 1) };
            assert!(beat.encode().len() <= USERS_BYTES_MAX + 200);
        }
        assert_eq!(parts.concat(), users);
        assert_eq!(cut(Vec::new()), [Vec::new()]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(payload: Vec<u8>) {
            let _ = Beat::decode(&payload);
        }

        #[test]
        fn the_estimate_of_bytes_is_never_too_low(user: String, opened: Vec<u64>) {
            let told = Told::new(user.into(), &opened);
            prop_assert!(serde_json::to_vec(&told).unwrap().len() <= told.bytes());
        }
    }
}
