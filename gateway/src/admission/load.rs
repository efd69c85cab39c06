//! How many connections there are: of the pod, of an address, of a user.
//!
//! Counted where connections begin and end, behind locks that no message ever takes.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use headgate_crds::v1alpha1::{Limits, PerAddress, Rate};
use parking_lot::Mutex;

use super::{
    addresses::Addresses,
    rate::Bucket,
    refusal::Refusal,
    users::{Openings, Users},
};

/// The load of a pod.
#[derive(Debug)]
pub struct Load {
    connections: AtomicUsize,
    pending: AtomicUsize,
    accepts: Mutex<Bucket>,
    addresses: Mutex<Addresses>,
    users: Mutex<Users>,
}

/// A place that is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    load: Arc<Load>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Connection,
    Pending,
    Address(IpAddr),
    User(Arc<str>, u64),
}

impl Drop for Place {
    fn drop(&mut self) {
        match &self.kind {
            Kind::Connection => drop(self.load.connections.fetch_sub(1, Ordering::Relaxed)),
            Kind::Pending => drop(self.load.pending.fetch_sub(1, Ordering::Relaxed)),
            Kind::Address(address) => self.load.addresses.lock().leave(*address),
            Kind::User(user, opening) => self.load.users.lock().leave(user, *opening),
        }
    }
}

impl Place {
    /// What tells this connection of a user from every other of the pod; `None` for other places.
    pub const fn opening(&self) -> Option<u64> {
        match self.kind {
            Kind::User(_, opening) => Some(opening),
            _ => None,
        }
    }
}

impl Load {
    /// No load; the accept rate's bucket is full.
    pub fn new(limits: &Limits, now_ms: u64) -> Arc<Self> {
        Arc::new(Self {
            connections: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            accepts: Mutex::new(Bucket::full(limits.connect_rate.burst.into(), now_ms)),
            addresses: Mutex::default(),
            users: Mutex::default(),
        })
    }

    /// Connections that are upgraded.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections that are accepted and not yet upgraded.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// How many users are connected.
    #[cfg(test)]
    pub fn users(&self) -> usize {
        self.users.lock().count()
    }

    /// A place for a handshake; its bound is for the caller to look at before it accepts.
    pub fn begin(self: &Arc<Self>) -> Place {
        self.pending.fetch_add(1, Ordering::Relaxed);
        Place { load: Arc::clone(self), kind: Kind::Pending }
    }

    /// A place for a connection, if there is one.
    pub fn connect(self: &Arc<Self>, connections_max: usize) -> Result<Place, Refusal> {
        let take = |count| (count < connections_max).then_some(count + 1);
        self.connections
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .map_err(|_| Refusal::Full)?;
        Ok(Place { load: Arc::clone(self), kind: Kind::Connection })
    }

    /// Spends from the pod's accept rate.
    pub fn accept(&self, now_ms: u64, rate: &Rate) -> Result<(), Refusal> {
        let (per_second, burst) = (rate.per_second.into(), rate.burst.into());
        let is_ok = self.accepts.lock().take(now_ms, per_second, burst, 1);
        if is_ok { Ok(()) } else { Err(Refusal::ConnectRate) }
    }

    /// A place for a connection of an address, if there is one.
    pub fn address(
        self: &Arc<Self>,
        now_ms: u64,
        address: IpAddr,
        limits: &PerAddress,
    ) -> Result<Option<Place>, Refusal> {
        if limits.connections == 0 && limits.connect_rate.per_second == 0 {
            return Ok(None);
        }
        if !self.addresses.lock().enter(now_ms, address, limits) {
            return Err(Refusal::Address);
        }
        Ok(Some(Place { load: Arc::clone(self), kind: Kind::Address(address) }))
    }

    /// A place for a connection of a user, if there is one; 0 is no limit. `now_us` is the time
    /// since 1970 in microseconds: pods compare it.
    pub fn user(
        self: &Arc<Self>,
        now_us: u64,
        user: &Arc<str>,
        max: u32,
    ) -> Result<Place, Refusal> {
        let opening = self.users.lock().enter(now_us, user, max);
        let opening = opening.ok_or(Refusal::UserConnections)?;
        Ok(Place { load: Arc::clone(self), kind: Kind::User(Arc::clone(user), opening) })
    }

    /// Whose connections changed since the last time; nobody's while nobody is told.
    pub fn take_changed_users(&self, is_told: bool) -> Vec<(Arc<str>, Openings)> {
        self.users.lock().take_changed(is_told)
    }

    /// How many connections users have on other pods.
    pub fn set_elsewhere(&self, counts: Vec<(Arc<str>, usize)>) {
        if counts.is_empty() {
            return;
        }
        let mut users = self.users.lock();
        for (user, count) in counts {
            users.set_elsewhere(user, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        let load = Load::new(&Limits::default(), 0);
        let user: Arc<str> = "al".into();
        let place = (load.connect(1).unwrap(), load.user(1, &user, 1).unwrap());

        assert_eq!(load.connect(1).unwrap_err(), Refusal::Full);
        assert_eq!(load.user(1, &user, 1).unwrap_err(), Refusal::UserConnections);
        drop(place);
        assert_eq!((load.connections(), load.users()), (0, 0));
        drop(load.connect(1).unwrap());
    }

    #[test]
    fn an_address_has_a_limit_of_its_own() {
        let load = Load::new(&Limits::default(), 0);
        let limits = PerAddress { connections: 1, ..PerAddress::default() };
        let address = "192.0.2.1".parse().unwrap();
        let place = load.address(0, address, &limits).unwrap();

        assert_eq!(load.address(0, address, &limits).unwrap_err(), Refusal::Address);
        assert!(load.address(0, "192.0.2.2".parse().unwrap(), &limits).is_ok());
        drop(place);
        assert!(load.address(0, address, &limits).is_ok());
    }
}
