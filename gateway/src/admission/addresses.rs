//! The addresses that are connected, and how much of its rate each one has left.
//!
//! Whoever attacks has more addresses than there is memory. Those with connections are as many as
//! there may be connections; of the others only the last ones are remembered, in two maps that take
//! turns: when one is full, the older one is emptied whole. So no connect ever walks over them all.

use std::{mem, net::IpAddr};

use ahash::AHashMap;
use headgate_crds::v1alpha1::PerAddress;

use super::rate::Bucket;

/// How many addresses without connections each of the two maps holds.
const RECENT_MAX: usize = 32_768;

#[derive(Debug, Default)]
pub(super) struct Addresses {
    here: AHashMap<IpAddr, Here>,
    recent: AHashMap<IpAddr, Bucket>,
    older: AHashMap<IpAddr, Bucket>,
}

/// An address with connections.
#[derive(Clone, Copy, Debug)]
struct Here {
    connections: usize,
    bucket: Bucket,
}

impl Addresses {
    /// Counts a connection; false where the address has too many, or they come too fast.
    pub(super) fn enter(&mut self, now_ms: u64, address: IpAddr, limits: &PerAddress) -> bool {
        let (per_second, burst) =
            (u64::from(limits.connect_rate.per_second), u64::from(limits.connect_rate.burst));
        let mut here = self.here.get(&address).copied().unwrap_or_else(|| Here {
            connections: 0,
            bucket: self.recall(address).unwrap_or_else(|| Bucket::full(burst, now_ms)),
        });
        let is_full = limits.connections > 0 && here.connections >= limits.connections as usize;
        let may_enter = !is_full && here.bucket.take(now_ms, per_second, burst, 1);
        here.connections += usize::from(may_enter);
        if here.connections > 0 {
            self.here.insert(address, here);
        } else {
            self.remember(address, here.bucket);
        }
        may_enter
    }

    /// A connection of the address has ended.
    pub(super) fn leave(&mut self, address: IpAddr) {
        let Some(here) = self.here.get_mut(&address) else { return };
        here.connections = here.connections.saturating_sub(1);
        if here.connections == 0 {
            let bucket = here.bucket;
            self.here.remove(&address);
            self.remember(address, bucket);
        }
    }

    fn recall(&mut self, address: IpAddr) -> Option<Bucket> {
        self.recent.remove(&address).or_else(|| self.older.remove(&address))
    }

    fn remember(&mut self, address: IpAddr, bucket: Bucket) {
        if self.recent.len() >= RECENT_MAX {
            mem::swap(&mut self.recent, &mut self.older);
            self.recent.clear();
        }
        self.recent.insert(address, bucket);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use headgate_crds::v1alpha1::Rate;
    use proptest::prelude::*;

    use super::*;

    fn limits(connections: u32, per_second: u32, burst: u32) -> PerAddress {
        PerAddress { connections, connect_rate: Rate { per_second, burst } }
    }

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from(number).into()
    }

    #[test]
    fn all_that_are_connected_are_counted() {
        let limits = limits(1, 0, 0);
        let mut addresses = Addresses::default();

        assert!((0..70_000).all(|it| addresses.enter(0, address(it), &limits)));
        assert!((0..70_000).all(|it| !addresses.enter(0, address(it), &limits)));
        (0..70_000).for_each(|it| addresses.leave(address(it)));
        assert!(addresses.here.is_empty());
    }

    #[test]
    fn the_last_ones_are_remembered_and_no_more() {
        let limits = limits(0, 1, 1);
        let mut addresses = Addresses::default();

        for it in 0..70_000 {
            assert!(addresses.enter(0, address(it), &limits));
            addresses.leave(address(it));
        }

        assert!(addresses.recent.len() + addresses.older.len() <= 2 * RECENT_MAX);
        let mut last = (0..70_000).rev().take(RECENT_MAX);
        assert!(last.clone().all(|it| !addresses.enter(0, address(it), &limits)));
        assert!(last.all(|it| addresses.enter(1_000, address(it), &limits)));
    }

    proptest! {
        #[test]
        fn no_address_is_over_its_limits(
            steps in prop::collection::vec((0_u32..4, any::<bool>(), 0_u64..400), 1..200),
            connections in 0_u32..4,
            per_second in 0_u32..4,
            burst in 1_u32..4,
        ) {
            let limits = limits(connections, per_second, burst);
            let mut addresses = Addresses::default();
            let mut now_ms = 0;
            let (mut here, mut entered) = ([0_u32; 4], [0_u64; 4]);
            for (it, is_entering, pause_ms) in steps {
                now_ms += pause_ms;
                let at = it as usize;
                if is_entering && addresses.enter(now_ms, address(it), &limits) {
                    here[at] += 1;
                    entered[at] += 1;
                } else if !is_entering && here[at] > 0 {
                    addresses.leave(address(it));
                    here[at] -= 1;
                }
                prop_assert!(connections == 0 || here[at] <= connections);
                let most = u64::from(burst) * 1_000 + u64::from(per_second) * now_ms;
                prop_assert!(per_second == 0 || entered[at] * 1_000 <= most);
                prop_assert_eq!(addresses.here.len(), here.iter().filter(|it| **it > 0).count());
            }
        }
    }
}
