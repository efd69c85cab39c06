//! Who may open a connection: every question that the request and the load can answer.
//!
//! Cheapest first: form, address and accept rate, full and draining, origin, token, user.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use headgate_crds::v1alpha1::{AuthMode, CompressionMode, Permission};
use http::{HeaderMap, header, request::Parts};
use smallvec::SmallVec;
use tracing::debug;

use super::{
    authenticate::close_reason,
    settings::Settings,
    shared::{House, Shared, unix_now, unix_now_us},
};
use crate::{
    admission::{address, load::Place, origin, refusal::Refusal},
    auth::{
        identity::Identity,
        token::{TokenError, Verifier},
    },
    protocol::close::CloseReason,
    telemetry::trace::Span,
    websocket::handshake::{self, Upgrade},
};

/// What one handshake is decided by.
pub struct Admission {
    /// What all workers look at.
    pub shared: Arc<Shared>,
    /// Who is at the other end of the socket, or behind it where a PROXY header said so.
    pub peer: IpAddr,
}

/// An upgrade that is granted.
pub struct Admitted {
    /// What was agreed on.
    pub upgrade: Upgrade,
    /// Who the client is.
    pub identity: Identity,
    /// What it may do now.
    pub admittance: Admittance,
    /// Its address, as far as proxies are believed.
    pub address: IpAddr,
    /// What it takes up.
    pub places: SmallVec<[Place; 2]>,
    /// The span of the connection, if it is sampled.
    pub span: Option<Box<Span>>,
}

/// What becomes of an upgraded connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admittance {
    /// It may go on.
    Open,
    /// It has to bring a token first.
    Unauthenticated,
    /// It is the conformance suite's.
    Echo,
    /// A browser sees no status, so it is told by a close.
    Doomed(CloseReason),
}

impl Admission {
    /// Decides about a request.
    pub fn admit(&self, parts: &Parts) -> Result<Admitted, Refusal> {
        // As they are now, however long the request took: a key that was removed meanwhile is gone.
        let settings = self.shared.settings.load_full();
        let spec = settings.spec();
        let is_echo = self.shared.echo.as_deref().is_some_and(|echo| echo == parts.uri.path());
        let path = if is_echo { parts.uri.path() } else { &spec.path };
        let compression = spec.compression.mode == CompressionMode::Shared;
        let upgrade = handshake::check(parts, path, compression).map_err(Refusal::Handshake)?;
        let source = &spec.client_address;
        let address =
            address::client(self.peer, &parts.headers, source.from, &source.trusted_proxies);
        let mut admitted = Admitted {
            upgrade,
            identity: Identity::default(),
            admittance: if is_echo { Admittance::Echo } else { Admittance::Open },
            address,
            places: SmallVec::new(),
            span: None,
        };
        self.take_places(&settings, &mut admitted)?;
        if is_echo {
            return Ok(admitted);
        }
        let house = self.shared.house.as_ref().filter(|house| is_from(&parts.headers, house));
        if house.is_none()
            && !origin::is_allowed(&parts.headers, &spec.allowed_origins, spec.missing_origin)
        {
            return Err(Refusal::Origin);
        }
        if spec.auth.mode != AuthMode::Disabled {
            let verifier = house.map_or(&*settings.verifier, |house| &house.verifier);
            self.authenticate(parts, &settings, verifier, &mut admitted)?;
        }
        let traceparent = parts.headers.get("traceparent").map(http::HeaderValue::as_bytes);
        admitted.span = self.shared.traces.connection(traceparent, SystemTime::now());
        Ok(admitted)
    }

    fn take_places(&self, settings: &Settings, admitted: &mut Admitted) -> Result<(), Refusal> {
        let shared = &self.shared;
        let limits = &settings.spec().limits;
        let now_ms = shared.now_ms();
        if admitted.admittance != Admittance::Echo {
            let address = address::key(admitted.address);
            admitted.places.extend(shared.load.address(now_ms, address, &limits.per_address)?);
            shared.load.accept(now_ms, &limits.connect_rate)?;
        }
        if shared.is_draining.load(Ordering::Relaxed) {
            return Err(Refusal::Draining);
        }
        let capacity = settings.capacity as usize;
        let place = shared.load.connect(capacity).or_else(|full| {
            // Who takes the place of the longest idle may come in while that one goes.
            let idle_max = limits.max_idle_connections.ok_or(full)? as usize;
            if shared.make_room(idle_max) { shared.load.connect(usize::MAX) } else { Err(full) }
        })?;
        admitted.places.push(place);
        Ok(())
    }

    /// What the token decides: by a refusal, or to a page, which sees none, by a close.
    fn authenticate(
        &self,
        parts: &Parts,
        settings: &Settings,
        verifier: &Verifier,
        admitted: &mut Admitted,
    ) -> Result<(), Refusal> {
        let auth = &settings.spec().auth;
        let is_page = parts.headers.contains_key(header::ORIGIN);
        let told = |reason, refusal| {
            if is_page { Ok(Admittance::Doomed(reason)) } else { Err(refusal) }
        };
        let is_in_query = auth.token_in_query == Permission::Allow;
        let query = parts.uri.query().filter(|_| is_in_query);
        match self.identify(parts, query, verifier, &admitted.upgrade) {
            Ok(Some(identity)) => {
                admitted.identity = identity;
                if let Some(user) = &admitted.identity.user {
                    let users_max = settings.spec().limits.connections_per_user;
                    match self.shared.load.user(unix_now_us(), user, users_max) {
                        Ok(place) => admitted.places.push(place),
                        Err(refusal) => {
                            admitted.admittance = told(CloseReason::UserConnections, refusal)?;
                        }
                    }
                }
            }
            Ok(None) if auth.mode == AuthMode::Optional => {}
            Ok(None) if auth.first_message == Permission::Allow => {
                admitted.admittance = Admittance::Unauthenticated;
            }
            Ok(None) => admitted.admittance = told(CloseReason::TokenRefused, Refusal::Token)?,
            Err(error) => {
                let is_undecided = error == TokenError::Undecided;
                let refusal = if is_undecided { Refusal::Keys } else { Refusal::Token };
                admitted.admittance = told(close_reason(error), refusal)?;
            }
        }
        Ok(())
    }

    /// Who a request says it is: the first token that is present counts.
    fn identify(
        &self,
        parts: &Parts,
        query: Option<&str>,
        verifier: &Verifier,
        upgrade: &Upgrade,
    ) -> Result<Option<Identity>, TokenError> {
        let token = bearer(&parts.headers)
            .or(upgrade.token.as_ref().map(|it| it.0.as_str()))
            .or_else(|| query?.split('&').find_map(|it| it.strip_prefix("token=")));
        let Some(token) = token else { return Ok(None) };
        let identified = self.shared.identify(verifier, token, unix_now());
        identified.map(Some).inspect_err(|error| {
            debug!(event = "token_refused", peer = %self.peer, %error, "token refused");
        })
    }
}

/// Whether the page of this machine asks.
fn is_from(headers: &HeaderMap, house: &House) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let is_its = origins.next().is_some_and(|origin| origin.as_bytes() == house.origin.as_bytes());
    is_its && origins.next().is_none()
}

/// The token of an `Authorization` header; another scheme is ignored.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}
