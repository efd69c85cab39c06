//! The connections of each user: those of this pod, and how many there are on others.

use std::{mem, sync::Arc};

use ahash::{AHashMap, AHashSet};
use smallvec::SmallVec;

/// When connections of a user began, ascending: microseconds since 1970, no two of a pod the same.
pub type Openings = SmallVec<[u64; 2]>;

/// Connections of users.
#[derive(Debug, Default)]
pub struct Users {
    here: AHashMap<Arc<str>, Openings>,
    elsewhere: AHashMap<Arc<str>, usize>,
    /// Whose connections changed since the other pods were told; `None` while they are told nothing.
    changed: Option<AHashSet<Arc<str>>>,
    last: u64,
}

impl Users {
    /// One more connection of a user at this time, if there may be so many; 0 is no limit. What
    /// tells it from every other of this pod.
    pub fn enter(&mut self, now_us: u64, user: &Arc<str>, max: u32) -> Option<u64> {
        let here = self.here.get(user).map_or(0, SmallVec::len);
        let elsewhere = self.elsewhere.get(user).copied().unwrap_or_default();
        if max > 0 && here + elsewhere >= max as usize {
            return None;
        }
        let opening = now_us.max(self.last + 1);
        self.last = opening;
        self.here.entry(Arc::clone(user)).or_default().push(opening);
        self.change(user);
        Some(opening)
    }

    /// A connection is gone.
    pub fn leave(&mut self, user: &Arc<str>, opening: u64) {
        let Some(here) = self.here.get_mut(user) else { return };
        here.retain(|it| *it != opening);
        if here.is_empty() {
            self.here.remove(user);
        }
        self.change(user);
    }

    /// How many connections a user has on other pods.
    pub fn set_elsewhere(&mut self, user: Arc<str>, count: usize) {
        if count == 0 {
            self.elsewhere.remove(&user);
        } else {
            self.elsewhere.insert(user, count);
        }
    }

    /// Whose connections changed since the last time, and what he has now; everybody at the first
    /// time that others are told.
    pub fn take_changed(&mut self, is_told: bool) -> Vec<(Arc<str>, Openings)> {
        let changed = mem::replace(&mut self.changed, is_told.then(AHashSet::new));
        if !is_told {
            return Vec::new();
        }
        let Some(changed) = changed else {
            return self.here.iter().map(|(user, it)| (Arc::clone(user), it.clone())).collect();
        };
        let now = |user: &Arc<str>| self.here.get(user).cloned().unwrap_or_default();
        changed.into_iter().map(|user| (Arc::clone(&user), now(&user))).collect()
    }

    fn change(&mut self, user: &Arc<str>) {
        if let Some(changed) = &mut self.changed {
            changed.insert(Arc::clone(user));
        }
    }

    /// How many users are connected.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.here.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_elsewhere_counts() {
        let mut users = Users::default();
        let user: Arc<str> = "al".into();
        users.set_elsewhere(Arc::clone(&user), 1);

        assert_eq!(users.enter(5, &user, 2), Some(5));
        assert_eq!(users.enter(5, &user, 2), None);
        users.set_elsewhere(Arc::clone(&user), 0);
        assert_eq!(users.enter(5, &user, 2), Some(6));
    }

    #[test]
    fn what_changed_is_told_once_and_everybody_at_first() {
        let mut users = Users::default();
        let (al, bo): (Arc<str>, Arc<str>) = ("al".into(), "bo".into());
        users.enter(5, &al, 0);
        assert!(users.take_changed(false).is_empty());

        assert_eq!(users.take_changed(true), [(Arc::clone(&al), Openings::from_slice(&[5]))]);
        assert!(users.take_changed(true).is_empty());
        users.enter(7, &bo, 0);
        users.leave(&al, 5);
        let mut changed = users.take_changed(true);
        changed.sort();
        assert_eq!(changed, [(al, Openings::new()), (bo, Openings::from_slice(&[7]))]);
    }
}
