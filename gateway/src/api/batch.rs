//! Many operations in one request: NDJSON in, NDJSON out, one result a line and in order.
//!
//! A batch is not atomic: each line is carried out before the next is read, and its result goes out
//! while the rest still comes. What is read and not yet carried out is at most one line and one
//! piece of the body, so the length of a batch costs no memory.

use std::{convert::Infallible, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame};
use tokio::time::timeout;

use super::{
    answer,
    body::{self, BESIDE_BYTES_MAX},
    error::{ApiError, BODY_TIMEOUT},
    gateway::Gateway,
    operation::Reader,
};

/// Operations of one batch. Their results fit into what sockets buffer, so that a client which
/// reads only after it has written everything does not wait for us while we wait for it.
pub const LINES_MAX: usize = 1000;

/// A batch that is being read.
struct Batch<G, B> {
    gateway: Arc<G>,
    reader: Reader,
    body: B,
    /// What has come and is not yet carried out.
    waiting: BytesMut,
    /// How much of `waiting` is known to have no line feed.
    searched: usize,
    lines: usize,
    state: State,
}

#[derive(PartialEq)]
enum State {
    /// There may be more to come.
    Reading,
    /// The body has ended; what waits is the last line.
    Ended,
    /// No line is read any more.
    Over,
}

/// The results of a batch as a body.
pub fn results<G, B>(gateway: Arc<G>, reader: Reader, body: B) -> UnsyncBoxBody<Bytes, Infallible>
where
    G: Gateway,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let batch = Batch {
        gateway,
        reader,
        body,
        waiting: BytesMut::new(),
        searched: 0,
        lines: 0,
        state: State::Reading,
    };
    let results = stream::unfold(batch, |mut batch| async {
        let result = batch.next_result().await?;
        Some((Ok(Frame::data(result)), batch))
    });
    StreamBody::new(results).boxed_unsync()
}

impl<G, B> Batch<G, B>
where
    G: Gateway,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// The result of the next line, a line itself.
    async fn next_result(&mut self) -> Option<Bytes> {
        if self.state == State::Over {
            body::drain(&mut self.body).await;
            return None;
        }
        let result = match self.next_line().await.transpose()? {
            Ok(line) => run(&*self.gateway, &self.reader, &line).await,
            // Where the next line begins is not known any more, or nobody should care.
            Err(error) => {
                self.state = State::Over;
                Err(error)
            }
        };
        let mut line = BytesMut::new();
        match result {
            Ok(json) => {
                line.put(&b"{\"result\":"[..]);
                line.put(&json[..]);
                line.put(&b"}"[..]);
            }
            Err(error) => line.put(answer::error_text(&error).as_bytes()),
        }
        line.put_u8(b'\n');
        Some(line.freeze())
    }

    /// The next line that is not blank; `None` after the last.
    async fn next_line(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let Some(line) = self.line() else {
                match self.state {
                    State::Reading => self.read().await?,
                    State::Ended | State::Over => return Ok(None),
                }
                continue;
            };
            if line.trim_ascii().is_empty() {
                continue;
            }
            if self.lines == LINES_MAX {
                let words = format!("a batch has at most {LINES_MAX} lines; the rest was not read");
                return Err(ApiError::Invalid(words));
            }
            self.lines += 1;
            return Ok(Some(line));
        }
    }

    /// A line that is here as a whole, without its line feed.
    fn line(&mut self) -> Option<Bytes> {
        let unsearched = self.waiting.get(self.searched..).unwrap_or_default();
        if let Some(at) = memchr::memchr(b'\n', unsearched) {
            let mut line = self.waiting.split_to(self.searched + at + 1);
            line.truncate(line.len() - 1);
            self.searched = 0;
            return Some(line.freeze());
        }
        self.searched = self.waiting.len();
        let is_last = self.state == State::Ended && !self.waiting.is_empty();
        is_last.then(|| {
            self.searched = 0;
            self.waiting.split().freeze()
        })
    }

    /// Reads the next piece of the body.
    async fn read(&mut self) -> Result<(), ApiError> {
        let bytes_max = self.reader.message_bytes_max.saturating_add(BESIDE_BYTES_MAX);
        if self.waiting.len() > bytes_max {
            return Err(ApiError::TooLarge { what: "the line", bytes_max });
        }
        match timeout(BODY_TIMEOUT, self.body.frame()).await.map_err(|_| ApiError::Timeout)? {
            None => self.state = State::Ended,
            Some(Err(_)) => return Err(body::broken_off()),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.waiting.put(data);
                }
            }
        }
        Ok(())
    }
}

async fn run<G: Gateway>(gateway: &G, reader: &Reader, line: &[u8]) -> Result<Vec<u8>, ApiError> {
    reader.line(line)?.run(gateway).await
}
