//! The console: a page that connects, subscribes, publishes and draws what the gateway does.
//!
//! It is for the person at this machine alone. It is served on a loopback address, to a loopback
//! peer, under a key that the log prints; whatever else asks gets the answer of a path that is not
//! there. The room is pure: it decides who asks for what and makes the answers, and the internal
//! port carries them.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod guard;
mod key;

mod data;
mod page;
mod pass;

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};

pub use self::{
    data::{CHANNELS_MAX, Figures},
    guard::Asked,
    page::{File, websocket_url},
};
use self::{guard::Guard, key::ConsoleKey, pass::Pass};
use crate::auth::token::Verifier;

/// Why there is no console.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// Others could reach it.
    #[error(
        "the console is served on a loopback address alone, and the internal address is {0}: \
         use --internal-listen 127.0.0.1:9090"
    )]
    NotLoopback(SocketAddr),
    /// The system gave no random bytes, or the library would not sign.
    #[error("cannot make a key for the console")]
    Key,
}

/// The console of one process.
#[derive(Debug)]
pub struct Console {
    guard: Guard,
    pass: Pass,
}

impl Console {
    /// A console with a new key, on the internal port that listens on `internal`.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::NotLoopback`] where others could reach that address.
    pub fn new(internal: SocketAddr) -> Result<Self, ConsoleError> {
        if !internal.ip().is_loopback() {
            return Err(ConsoleError::NotLoopback(internal));
        }
        Ok(Self { guard: Guard::new(internal, ConsoleKey::random()?), pass: Pass::random()? })
    }

    /// Where a browser opens it. The key in it is for the log's one line and nowhere else.
    pub fn url(&self) -> String {
        self.guard.url()
    }

    /// The page's `Origin`. It may connect whatever `allowedOrigins` says; no other may.
    pub fn origin(&self) -> &str {
        self.guard.origin()
    }

    /// What vouches for the tokens that the page gets, beside the manifest's keys.
    pub fn verifier(&self) -> Result<Verifier, ConsoleError> {
        self.pass.verifier()
    }

    /// What a request of the internal port asks of the console; `None` where it is not for it, and
    /// then it is to be answered as any path that is not there.
    pub fn asked(&self, request: &Parts, peer: SocketAddr) -> Option<Asked> {
        self.guard.asked(request, peer)
    }

    /// A file of the page, which connects to `websocket` ([`websocket_url`]) and nowhere else.
    pub fn file(&self, file: File, websocket: &str) -> Response<Bytes> {
        page::file(file, websocket)
    }

    /// Sends a browser that came by another name, such as `localhost`, to the page's own address:
    /// the exemption of [`origin`](Self::origin) is for that one alone.
    pub fn moved(&self) -> Response<Bytes> {
        let mut answer = page::answer(StatusCode::PERMANENT_REDIRECT, Bytes::new());
        // It is made of an address and the key's alphabet, so it always is a header.
        if let Ok(location) = HeaderValue::try_from(self.url()) {
            answer.headers_mut().insert(header::LOCATION, location);
        }
        answer
    }

    /// What the page draws, with where to connect and a token for it; `now` is in seconds since
    /// 1970.
    ///
    /// # Errors
    ///
    /// [`ConsoleError::Key`] where the library would not sign.
    pub fn data(
        &self,
        figures: &Figures,
        websocket: &str,
        now: u64,
    ) -> Result<Response<Bytes>, ConsoleError> {
        let token = self.pass.token(now)?;
        Ok(page::json(data::text(figures, websocket, &token)))
    }
}

#[cfg(test)]
mod tests;
