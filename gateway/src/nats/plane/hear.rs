//! Hearing who is there: beats of other pods and our own, and whether the broker came back.

use std::mem;

use async_nats::Subscriber;
use futures_util::StreamExt as _;
use tracing::{info, warn};

use super::{Plane, confirm::Unconfirmed};
use crate::{
    broker::nats::{peers::Heard, pods::Beat},
    nats::client::connects,
};

/// How the connection was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire {
    /// How often it was made.
    pub connects: u64,
    pub is_connected: bool,
}

impl Plane {
    pub(super) async fn hear(self, mut beats: Subscriber) {
        while let Some(message) = beats.next().await {
            match Beat::decode(&message.payload) {
                Ok(beat) => self.heard(&beat),
                Err(dropped) => (self.0.dropped)(dropped),
            }
        }
    }

    fn heard(&self, beat: &Beat) {
        if beat.pod == self.0.pod {
            *self.0.echo_since.lock() = None;
            self.look_back();
            return;
        }
        // First, or what our own connection lost would be taken for a hole.
        self.look_back();
        let heard = self.hear_peer(beat);
        let mut users = self.0.users.lock();
        match heard {
            Heard::Nothing => return,
            Heard::Next => users.hear(beat),
            Heard::Hole => {
                users.miss(&beat.pod);
                users.hear(beat);
                self.0.missed.notify_one();
            }
            Heard::Bye => {
                info!(event = "pod_gone", pod = %beat.pod, "a pod goes away");
                users.lose(&beat.pod);
            }
        }
        drop(users);
        self.0.revocations.reach().tell(beat.revoked_in, beat.revoked);
        self.read_if_behind();
        self.tell_alive();
    }

    fn hear_peer(&self, beat: &Beat) -> Heard {
        let (heard, holes) = {
            let mut peers = self.0.peers.lock();
            (peers.hear(self.now(), beat), peers.holes())
        };
        let is_hole = self.0.holes.send_if_modified(|told| mem::replace(told, holes) != holes);
        if is_hole {
            info!(event = "pod_missed", pod = %beat.pod, "something that a pod sent was lost on the way");
            self.0.revocations.reach().miss();
        }
        heard
    }

    /// Looks whether the broker came back since the last look: what was sent meanwhile did not come.
    pub(super) fn look_back(&self) {
        let inner = &self.0;
        let now = Wire { connects: connects(&inner.client), is_connected: self.is_connected() };
        let before = mem::replace(&mut *inner.wire.lock(), now);
        if now.connects != before.connects {
            // What was on its way may not have come to the others: they are to see a hole.
            inner.users.lock().skip();
            inner.unconfirmed.send_replace(Unconfirmed::all());
        }
        if now.connects != before.connects || now.is_connected && !before.is_connected {
            inner.revocations.reach().miss();
            inner.peers.lock().come_back(self.now());
        }
    }

    /// Looks who is lost.
    pub(super) fn look(&self, is_connected: bool) {
        let lost = {
            let mut peers = self.0.peers.lock();
            if is_connected {
                peers.resume(self.now());
            } else {
                peers.pause();
            }
            peers.lose(self.now())
        };
        for pod in &lost {
            warn!(event = "pod_lost", %pod, "a pod is not heard any more");
            self.0.users.lock().lose(pod);
            // It may have revoked somebody before it was lost, and says so no more.
            self.0.revocations.reach().miss();
        }
        self.tell_alive();
    }

    fn tell_alive(&self) {
        let mut alive = self.0.peers.lock().alive();
        alive.sort_unstable();
        self.0.alive.send_if_modified(|told| {
            let is_other = *told != alive;
            *told = alive;
            is_other
        });
    }
}
