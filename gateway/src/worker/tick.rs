//! What time asks for: deadlines of connections, presence and history, the drain, metrics.

use std::{cell::RefCell, rc::Rc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior};

use super::{
    connection::Connection,
    key::ConnectionKey,
    life::{Broker, Worker},
};
use crate::{
    hub::wheel::TICK_MS, protocol::close::CloseReason, session::heartbeat::Due,
    telemetry::metrics::Sizes,
};

/// How often a worker looks at everything it holds.
const SWEEP_MS: u64 = 1_000;

/// Who has exchanged no message for so long is idle.
pub const IDLE_MS: u64 = 60_000;

/// The worker's clock: a tick of the wheel.
pub async fn clock(worker: Rc<RefCell<Worker>>) {
    let period = Duration::from_millis(TICK_MS);
    let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        worker.borrow_mut().tick();
    }
}

impl Worker {
    fn tick(&mut self) {
        self.wake();
        let now_ms = self.now_ms();
        let mut due = Vec::new();
        self.wheel.advance(now_ms, &mut due);
        for key in due {
            self.look_after(key);
        }
        self.drain();
        if self.broker_due().is_some_and(|at| at <= self.now) {
            self.tend_broker();
        }
        if now_ms >= self.swept_ms + SWEEP_MS {
            self.swept_ms = now_ms;
            self.sweep();
        }
        if self.replays_again_ms > 0 && self.replays_again_ms <= now_ms {
            self.replays_again_ms = 0;
            self.resume_again();
        }
        if self.shared.take_lost(self.index) {
            self.tell_of_a_break(|_| true);
            self.follow_again();
            self.attach_again();
            self.resume_again();
        }
        self.count();
        self.shared.beat(self.index, now_ms);
    }

    fn broker_due(&self) -> Option<Duration> {
        match &self.broker {
            Broker::Memory(partition) => partition.due(),
            Broker::Nats(seats) => seats.due(),
        }
    }

    fn tend_broker(&mut self) {
        let Broker::Memory(partition) = &mut self.broker else { return self.tend_seats() };
        let announcements = partition.tick(self.now);
        self.have_announced(announcements);
    }

    /// Looks at everything: how much there is, and who is idle.
    fn sweep(&mut self) {
        // Another partition may need room.
        self.tend_broker();
        let now_ms = self.now_ms();
        let (mut messages, mut bytes, mut idle, mut since_ms) = (0, 0, 0, u64::MAX);
        for (_, connection) in &self.connections {
            messages += connection.outbox.messages() as u64;
            bytes += connection.outbox.bytes() as u64;
            if is_idle(connection, now_ms) {
                idle += 1;
                since_ms = since_ms.min(connection.active.ms());
            }
        }
        self.shared.set_idle(self.index, idle, since_ms);
        self.counts.sizes.queue_messages = messages;
        self.counts.sizes.queue_bytes = bytes;
    }

    /// Shows what was counted.
    fn count(&mut self) {
        let count = u32::try_from(self.connections.len()).unwrap_or(u32::MAX);
        let (serving, draining) = if self.drain.is_some() { (0, count) } else { (count, 0) };
        let channels = match &self.broker {
            Broker::Memory(partition) => partition.channels() as u64,
            Broker::Nats(seats) => seats.channels() as u64,
        };
        self.counts.sizes = Sizes { serving, draining, channels, ..self.counts.sizes };
        self.counts.flush();
    }

    fn look_after(&mut self, key: ConnectionKey) {
        let slot = key.slot();
        let now_ms = self.now_ms();
        let write_wait_ms = self.settings.write_wait_ms;
        let Some(connection) = self.find(key) else { return };
        if now_ms < connection.armed_ms {
            // It has another place on the wheel since: this one is of no use, or both would be
            // put back for ever.
            return;
        }
        connection.armed_ms = 0;
        if let Some(closing) = &mut connection.closing {
            let until_ms = closing.until_ms;
            if now_ms < until_ms {
                return self.arm(slot, until_ms);
            }
            closing.until_ms = 0;
            if let Some(waker) = &connection.waker {
                waker.wake_by_ref();
            }
            return;
        }
        if connection.delayed_until_ms.is_some_and(|at| now_ms >= at) {
            connection.delayed_until_ms = None;
            self.queued(slot);
        }
        let Some(connection) = self.find(key) else { return };
        let write_by_ms = connection.blocked_since_ms.map(|since| since + write_wait_ms);
        if write_by_ms.is_some_and(|by| now_ms >= by) {
            return self.close(slot, CloseReason::WriteTimeout);
        }
        if connection.paused_until_ms > 0 && connection.paused_until_ms <= now_ms {
            connection.paused_until_ms = 0;
            if let Some(waker) = &connection.waker {
                waker.wake_by_ref();
            }
        }
        if let Some(next_ms) = self.heartbeat(key) {
            self.arm(slot, next_ms.min(write_by_ms.unwrap_or(u64::MAX)));
        }
    }

    /// Pings or closes if that is due; when to look again, if it goes on.
    fn heartbeat(&mut self, key: ConnectionKey) -> Option<u64> {
        let now_ms = self.now_ms();
        let settings = std::sync::Arc::clone(&self.settings);
        let connection = self.find(key)?;
        if !connection.is_echo() {
            match connection.heartbeat.due(now_ms, connection.active.ms(), settings.spec()) {
                Due::Nothing => {}
                Due::Ping => {
                    let sent = connection.send_ping();
                    self.sent(key.slot(), sent);
                }
                Due::Close(reason) => {
                    self.close(key.slot(), reason);
                    return None;
                }
            }
        }
        let connection = self.find(key)?;
        let delayed = connection.delayed_until_ms.unwrap_or(u64::MAX);
        let paused = Some(connection.paused_until_ms).filter(|at| *at > now_ms);
        let next = connection.heartbeat.next_ms(connection.active.ms(), settings.spec());
        Some(next.min(delayed).min(paused.unwrap_or(u64::MAX)))
    }

    /// Closes the longest idle, if one still is.
    pub fn make_room(&mut self) {
        let now_ms = self.now_ms();
        let idle = self.connections.iter().filter(|(_, it)| is_idle(it, now_ms));
        let longest = idle.min_by_key(|(_, it)| it.active.ms()).map(|(slot, _)| slot);
        if let Some(slot) = longest {
            self.close(slot, CloseReason::MadeRoom);
        }
    }
}

fn is_idle(connection: &Connection, now_ms: u64) -> bool {
    connection.closing.is_none()
        && !connection.is_echo()
        && now_ms.saturating_sub(connection.active.ms()) >= IDLE_MS
}
