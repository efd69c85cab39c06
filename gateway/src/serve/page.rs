//! Carries the console: what its room decides and makes, the internal port serves.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tracing::warn;

use super::node::Node;
use crate::{
    api::{
        Internal,
        answer::{self, Answer},
        error::ApiError,
        gateway::{Gateway, Page as ListPage, Scope},
        server::Peer,
    },
    console::{Asked, CHANNELS_MAX, Console, ConsoleError, Figures, websocket_url},
    worker::shared::House,
};

/// The internal port with the console on it, if there is one.
#[derive(Clone, Debug)]
pub struct Page {
    /// The routes for everybody.
    pub routes: Internal<Node>,
    /// The page for the person at this machine.
    pub console: Option<Arc<Console>>,
}

impl Page {
    /// Answers a request.
    pub async fn answer(self, request: Request<Incoming>) -> Answer {
        if let Some(console) = &self.console
            && let Some(Peer(peer)) = request.extensions().get().copied()
        {
            let (parts, body) = request.into_parts();
            if let Some(asked) = console.asked(&parts, peer) {
                let unavailable = || answer::refusal(&ApiError::starting());
                let shown = self.show(console, asked).await;
                return shown
                    .map_or_else(unavailable, |it| it.map(|body| Full::new(body).boxed_unsync()));
            }
            return self.routes.answer(Request::from_parts(parts, body)).await;
        }
        self.routes.answer(request).await
    }

    /// What the console shows; nothing until the gateway serves.
    async fn show(&self, console: &Console, asked: Asked) -> Option<Response<bytes::Bytes>> {
        let websocket = self.routes.gateway().websocket()?;
        match asked {
            Asked::File(file) => Some(console.file(file, &websocket)),
            Asked::Elsewhere => Some(console.moved()),
            Asked::Data => {
                let figures = self.figures().await?;
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let now = now.map_or(0, |it| it.as_secs());
                let data = console.data(&figures, &websocket, now);
                data.inspect_err(|error| warn!(event = "console_failed", %error, "no token")).ok()
            }
        }
    }

    async fn figures(&self) -> Option<Figures> {
        let node = self.routes.gateway();
        let page = ListPage { after: None, limit: CHANNELS_MAX, scope: Scope::Pod };
        Some(Figures {
            name: node.document.name.clone(),
            stats: node.stats(Scope::Pod).await.ok()?,
            channels: node.channels(page).await.ok()?,
        })
    }
}

impl Node {
    /// Where a page connects.
    fn websocket(&self) -> Option<String> {
        let running = self.running.borrow();
        let running = running.as_ref()?;
        let config = running.config.borrow();
        Some(websocket_url(running.public, &config.spec.path, config.tls.is_some()))
    }
}

/// The console, where it was asked for, and what the workers are told of it.
///
/// # Errors
///
/// Where the internal address is not this machine's alone.
pub fn console(
    is_wanted: bool,
    internal: SocketAddr,
) -> Result<(Option<Arc<Console>>, Option<House>), ConsoleError> {
    if !is_wanted {
        return Ok((None, None));
    }
    let console = Console::new(internal)?;
    let house = House { origin: console.origin().to_owned(), verifier: console.verifier()? };
    Ok((Some(Arc::new(console)), Some(house)))
}
