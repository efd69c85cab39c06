//! What a token is worth, and a token in a message: the first of a connection, or a fresh one.

use std::sync::Arc;

use headgate_crds::v1alpha1::{AuthMode, Permission};

use super::{
    connection::Stage,
    key::ConnectionKey,
    life::Worker,
    requests::Failed,
    shared::{Shared, unix_now, unix_now_us},
};
use crate::{
    auth::{
        identity::Identity,
        token::{TokenError, Verifier},
    },
    protocol::{close::CloseReason, error::ErrorCode, reply},
};

impl Shared {
    /// Whom a token names, if it is good and was not revoked.
    pub fn identify(
        &self,
        verifier: &Verifier,
        token: &str,
        now: u64,
    ) -> Result<Identity, TokenError> {
        let identity = self.asks.verify(verifier, token, now)?;
        let is_revoked = self.revocations.read().contain(&identity, now);
        if is_revoked { Err(TokenError::Refused("revoked")) } else { Ok(identity) }
    }
}

/// How a connection ends that cannot begin without its token.
pub const fn close_reason(error: TokenError) -> CloseReason {
    match error {
        TokenError::Expired => CloseReason::TokenExpired,
        TokenError::Undecided => CloseReason::Undecided,
        TokenError::Refused(_) => CloseReason::TokenRefused,
    }
}

impl Worker {
    /// Takes a token; `Err` where the session goes on as it was.
    pub fn authenticate(
        &mut self,
        key: ConnectionKey,
        id: Option<&str>,
        token: &str,
    ) -> Result<(), Failed> {
        let settings = Arc::clone(&self.settings);
        let spec = settings.spec();
        if spec.auth.mode == AuthMode::Disabled {
            return Err(ErrorCode::Forbidden.into());
        }
        let now = unix_now();
        let shared = Arc::clone(&self.shared);
        let Some(connection) = self.find(key) else { return Ok(()) };
        let house = shared.house_of(connection.identity.key);
        let verifier = house.map_or(&*settings.verifier, |house| &house.verifier);
        let is_first = connection.stage == Stage::Unauthenticated;
        let identity = match shared.identify(verifier, token, now) {
            Ok(identity) => identity,
            Err(error) if is_first => {
                self.close(key.slot(), close_reason(error));
                return Ok(());
            }
            Err(TokenError::Undecided) => return Err(ErrorCode::Unavailable.into()),
            Err(_) => return Err(ErrorCode::TokenInvalid.into()),
        };
        // Where anonymous clients may stay, they may still say later who they are.
        let is_anonymous =
            connection.identity.key.is_none() && spec.auth.first_message == Permission::Allow;
        if !is_first && !is_anonymous {
            if identity.user != connection.identity.user {
                return Err(ErrorCode::TokenInvalid.into());
            }
            self.identified(key, id, identity, now);
            self.check_rights(key);
            self.join_again(key);
            return Ok(());
        }
        if let Some(user) = &identity.user {
            let users_max = spec.limits.connections_per_user;
            let Ok(place) = shared.load.user(unix_now_us(), user, users_max) else {
                self.close(key.slot(), CloseReason::UserConnections);
                return Ok(());
            };
            connection.places.push(place);
        }
        connection.stage = Stage::Opening(0);
        self.identified(key, id, identity, now);
        self.greet(key);
        self.join_again(key);
        Ok(())
    }

    /// A connection is whom its token names from here on, until the token expires.
    fn identified(&mut self, key: ConnectionKey, id: Option<&str>, identity: Identity, now: u64) {
        let now_ms = self.now_ms();
        let expires = identity.expires.unwrap_or_default();
        let user = identity.user.clone();
        let Some(connection) = self.find(key) else { return };
        connection.identity = identity;
        connection.heartbeat.authenticate_by_ms = u64::MAX;
        connection.heartbeat.expire_in(now_ms, expires.saturating_sub(now));
        let expires_ms = connection.heartbeat.expires_ms;
        self.arm(key.slot(), expires_ms);
        self.reply(key.slot(), |out| reply::authenticated(out, id, user.as_deref(), expires));
    }
}
