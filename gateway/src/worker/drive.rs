//! Drives one connection as far as its socket allows: bytes to frames, what waits to the socket.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{
    connection::{Connection, Stage, Tenths},
    key::ConnectionKey,
    life::Worker,
    settings::Settings,
};
use crate::{
    protocol::{Dialect, close::CloseReason},
    websocket::{
        assembler::{Event, Input, Limits, Violation},
        deflate::window_holds,
        frame,
    },
};

/// Bytes of one connection, inflated where they are compressed, before the others have their turn.
const TURN_BYTES_MAX: usize = 256 * 1024;

/// Until a first-message token is here, a client may say so much at most.
const UNAUTHENTICATED_BYTES_MAX: u64 = 16 * 1024;

/// What the conformance suite may send.
const ECHO: Limits =
    Limits { message_bytes_max: 16 * 1024 * 1024, fragments_max: 1 << 17, deflate: false };

/// How far a turn of a connection came.
enum Turn {
    /// There may be more to read at once.
    Over,
    /// The connection is gone.
    Ended,
}

/// Runs one connection until it has ended.
pub async fn run(worker: Rc<RefCell<Worker>>, key: ConnectionKey) {
    loop {
        let turn = std::future::poll_fn(|cx| {
            let mut worker = worker.borrow_mut();
            worker.wake();
            worker.drive(key, cx)
        });
        match turn.await {
            Turn::Ended => return,
            // Unlike a wake-up of oneself, it lets the runtime look at every socket first.
            Turn::Over => tokio::task::yield_now().await,
        }
    }
}

impl Worker {
    /// Writes what waits and reads what came, until there is nothing more or the turn is over.
    fn drive(&mut self, key: ConnectionKey, cx: &mut Context<'_>) -> Poll<Turn> {
        let slot = key.slot();
        self.turn_bytes = 0;
        loop {
            let Some(connection) = self.find(key) else { return Poll::Ready(Turn::Ended) };
            if connection.waker.as_ref().is_none_or(|it| !it.will_wake(cx.waker())) {
                connection.waker = Some(cx.waker().clone());
            }
            if connection.closing.as_ref().is_some_and(|it| it.until_ms == 0) {
                self.end(slot);
                return Poll::Ready(Turn::Ended);
            }
            self.write(slot, cx);
            let now_ms = self.now_ms();
            let is_over = self.turn_bytes > TURN_BYTES_MAX;
            let Some(connection) = self.find(key) else { return Poll::Ready(Turn::Ended) };
            if !connection.reads(now_ms) && connection.closing.is_none() {
                return Poll::Pending;
            }
            if is_over {
                return Poll::Ready(Turn::Over);
            }
            if let Some(unasked) = connection.unasked.take() {
                self.requests(key, &unasked);
            } else if let Some(unread) = connection.unread.take() {
                self.received(key, &mut unread.to_vec());
            } else if self.read(key, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Reads once from the socket.
    fn read(&mut self, key: ConnectionKey, cx: &mut Context<'_>) -> Poll<()> {
        let slot = key.slot();
        let Some(connection) = self.connections.get_mut(slot) else { return Poll::Ready(()) };
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = connection.transport.poll_read(cx, &mut buffer);
        match read {
            Poll::Ready(Ok(count)) if count > 0 => {
                self.received(key, buffer.get_mut(..count).unwrap_or_default());
            }
            Poll::Ready(_) => self.lose(slot),
            Poll::Pending => {}
        }
        self.buffer = buffer;
        read.map(drop)
    }

    fn write(&mut self, slot: usize, cx: &mut Context<'_>) {
        let now_ms = self.now_ms();
        loop {
            let Some(connection) = self.connections.get_mut(slot) else { return };
            if !connection.has_unsent() {
                break;
            }
            if connection.transport.tcp().poll_write_ready(cx).is_pending() {
                return;
            }
            let joining = self.settings.joining(connection.dialect);
            let waited = connection.outbox.messages();
            let flushed = connection.flush(joining, now_ms);
            let written = waited - connection.outbox.messages();
            if written > 0 {
                self.counts.batch_messages.observe(written as f64, 1);
            }
            match flushed {
                Err(_) => return self.lose(slot),
                Ok(false) => {}
                Ok(true) => break,
            }
        }
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if let Some(closing) = &mut connection.closing {
            if !closing.is_finished {
                closing.is_finished = true;
                connection.transport.finish();
            }
            return;
        }
        self.go_on(slot);
    }

    /// Reads the frames in what came. What is left when the client's turn is over, or when it has
    /// sent more than it may, is kept for later.
    fn received(&mut self, key: ConnectionKey, bytes: &mut [u8]) {
        let now_ms = self.now_ms();
        let Some(connection) = self.find(key) else { return };
        connection.heartbeat.heard_ms = now_ms;
        if connection.closing.is_some() {
            // What comes behind a close is only waited out.
            self.turn_bytes += bytes.len();
            return;
        }
        let Some(mut inflater) = self.inflater.take() else { return };
        let settings = Arc::clone(&self.settings);
        let mut input = Input::new(bytes);
        loop {
            let is_turn_over = self.turn_bytes > TURN_BYTES_MAX;
            let Some(connection) = self.find(key) else { break };
            // After a close frame, sent or received, nothing is read.
            if connection.closing.is_some() {
                break;
            }
            if !input.is_empty() && (is_turn_over || !connection.reads(now_ms)) {
                connection.unread = Some(Bytes::copy_from_slice(input.as_slice()));
                break;
            }
            let limits = limits(connection, &settings);
            let mut assembler = std::mem::take(&mut connection.assembler);
            let before = input.as_slice().len();
            let event = assembler.next(&mut input, &limits, &mut inflater);
            // A message costs what it is on the wire or what it is inflated, whichever is more.
            let on_wire = before - input.as_slice().len();
            let cost = on_wire.max(event.as_ref().map_or(0, |it| it.as_ref().map_or(0, size)));
            self.turn_bytes += cost;
            let is_over = match event {
                Ok(None) => true,
                Ok(Some(event)) => {
                    self.event(key, &event);
                    false
                }
                Err(violation) => {
                    self.close(key.slot(), violation_reason(violation));
                    true
                }
            };
            if let Some(connection) = self.find(key) {
                connection.assembler = assembler;
            }
            self.charge(key, cost);
            if is_over {
                break;
            }
        }
        inflater.release();
        self.inflater = Some(inflater);
        self.note_incomplete(key);
    }

    /// Counts bytes against the client's rate; beyond it the gateway reads slower.
    fn charge(&mut self, key: ConnectionKey, bytes: usize) {
        let now_ms = self.now_ms();
        let settings = Arc::clone(&self.settings);
        let Some(connection) = self.find(key) else { return };
        if connection.is_echo() {
            return;
        }
        let pause_ms = connection.pace.bytes(now_ms, bytes, &settings.spec().limits);
        if pause_ms > 0 {
            connection.paused_until_ms = now_ms + pause_ms;
            self.arm(key.slot(), now_ms + pause_ms);
        }
    }

    /// A message that is not whole has until `pongWait` after its first byte.
    fn note_incomplete(&mut self, key: ConnectionKey) {
        let now_ms = self.now_ms();
        let pong_wait_ms = self.settings.spec().pong_wait.as_millis();
        let Some(connection) = self.find(key) else { return };
        if !connection.assembler.is_incomplete() {
            connection.heartbeat.partial_since_ms = None;
        } else if connection.heartbeat.partial_since_ms.is_none() {
            connection.heartbeat.partial_since_ms = Some(now_ms);
            self.arm(key.slot(), now_ms + pong_wait_ms);
        }
    }

    fn event(&mut self, key: ConnectionKey, event: &Event<'_>) {
        let slot = key.slot();
        match event {
            Event::Close(said) => {
                let frame =
                    said.map_or_else(frame::close_empty, |(code, _)| frame::close(code, ""));
                self.close_with(slot, CloseReason::Client, frame);
            }
            Event::Ping(payload) => {
                if self.paced(key)
                    && let Some(connection) = self.find(key)
                {
                    let sent = connection.send_pong(payload);
                    self.sent(slot, sent);
                }
            }
            Event::Pong(_) => drop(self.paced(key)),
            Event::Text(text) => self.message(key, text, frame::Kind::Text),
            Event::Binary(bytes) => self.binary(key, bytes),
        }
    }

    fn binary(&mut self, key: ConnectionKey, bytes: &[u8]) {
        let Some(connection) = self.find(key) else { return };
        if connection.is_echo() {
            self.echo(key, bytes, frame::Kind::Binary);
        } else if connection.dialect == Dialect::V1 {
            self.close(key.slot(), CloseReason::Unsupported);
        } else if let Ok(text) = std::str::from_utf8(bytes) {
            self.message(key, text, frame::Kind::Binary);
        } else {
            self.close(key.slot(), CloseReason::InvalidText);
        }
    }

    fn message(&mut self, key: ConnectionKey, text: &str, kind: frame::Kind) {
        let now_ms = self.now_ms();
        let Some(connection) = self.find(key) else { return };
        // What comes next, incomplete as it may be, is another message.
        connection.heartbeat.partial_since_ms = None;
        connection.active = Tenths::new(now_ms);
        if connection.is_echo() {
            self.echo(key, text.as_bytes(), kind);
        } else {
            self.requests(key, text);
        }
    }

    fn echo(&mut self, key: ConnectionKey, payload: &[u8], kind: frame::Kind) {
        let is_text = kind == frame::Kind::Text;
        let window = self.find(key).and_then(|it| it.window_bits);
        let fits = window.is_some_and(|bits| window_holds(bits, payload.len()));
        let deflated = fits.then(|| self.deflater.borrow_mut().deflate(payload, 1)).flatten();
        let frame = deflated
            .map_or_else(|| frame::message(is_text, payload), |it| frame::compressed(is_text, &it));
        let Some(connection) = self.find(key) else { return };
        let sent = connection.send_frame(&frame, None);
        self.sent(key.slot(), sent);
    }
}

fn limits(connection: &Connection, settings: &Settings) -> Limits {
    let deflate = connection.window_bits.is_some();
    match connection.stage {
        Stage::Echo => Limits { deflate, ..ECHO },
        Stage::Unauthenticated => {
            let limits = settings.message_limits(deflate);
            let message_bytes_max = limits.message_bytes_max.min(UNAUTHENTICATED_BYTES_MAX);
            Limits { message_bytes_max, ..limits }
        }
        Stage::Opening(_) | Stage::Open => settings.message_limits(deflate),
    }
}

fn size(event: &Event<'_>) -> usize {
    match event {
        Event::Text(text) => text.len(),
        Event::Binary(bytes) | Event::Ping(bytes) | Event::Pong(bytes) => bytes.len(),
        Event::Close(_) => 0,
    }
}

fn violation_reason(violation: Violation) -> CloseReason {
    match violation {
        Violation::Protocol(_) => CloseReason::ProtocolViolation,
        Violation::InvalidText => CloseReason::InvalidText,
        Violation::TooBig => CloseReason::TooBig,
        Violation::TooManyFragments => CloseReason::Policy,
    }
}
