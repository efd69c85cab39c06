//! A token in a message: the first of a connection, or a fresh one.

use std::sync::Arc;

use headgate_crds::v1alpha1::{AuthMode, Permission};

use super::{
    connection::Stage, key::ConnectionKey, life::Worker, requests::Failed, shared::unix_now,
};
use crate::{
    auth::token::TokenError,
    protocol::{close::CloseReason, error::ErrorCode, reply},
};

impl Worker {
    /// The first token of a connection, or a fresh one.
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
        let now_ms = self.now_ms();
        let Some(connection) = self.find(key) else { return Ok(()) };
        let house = shared.house_of(connection.identity.key);
        let verifier = house.map_or(&*settings.verifier, |house| &house.verifier);
        let verified = shared.asks.verify(verifier, token, now).and_then(|identity| {
            let is_revoked = shared.revocations.read().contain(&identity, now);
            if is_revoked { Err(TokenError::Refused("revoked")) } else { Ok(identity) }
        });
        let is_first = connection.stage == Stage::Unauthenticated;
        // Where anonymous clients may stay, they may still say later who they are.
        let is_anonymous =
            connection.identity.key.is_none() && spec.auth.first_message == Permission::Allow;
        let identity = match verified {
            Ok(identity) => identity,
            Err(error) if is_first => {
                self.close(key.slot(), first_refused(error));
                return Ok(());
            }
            Err(TokenError::Undecided) => return Err(ErrorCode::Unavailable.into()),
            Err(_) => return Err(ErrorCode::TokenInvalid.into()),
        };
        let begins = is_first || is_anonymous;
        if !begins && identity.user != connection.identity.user {
            return Err(ErrorCode::TokenInvalid.into());
        }
        let expires = identity.expires.unwrap_or_default();
        let user = identity.user.clone();
        if begins && let Some(user) = &user {
            let Ok(place) = self.shared.load.user(user, spec.limits.connections_per_user) else {
                self.close(key.slot(), CloseReason::UserConnections);
                return Ok(());
            };
            if let Some(connection) = self.find(key) {
                connection.places.push(place);
            }
        }
        let Some(connection) = self.find(key) else { return Ok(()) };
        connection.identity = identity;
        connection.heartbeat.authenticate_by_ms = u64::MAX;
        connection.heartbeat.expire_in(now_ms, expires.saturating_sub(now));
        let expires_ms = connection.heartbeat.expires_ms;
        if begins {
            connection.stage = Stage::Opening(0);
        }
        self.arm(key.slot(), expires_ms);
        self.reply(key.slot(), |out| reply::authenticated(out, id, user.as_deref(), expires));
        if begins {
            self.greet(key);
        } else {
            self.check_rights(key);
        }
        Ok(())
    }
}

fn first_refused(error: TokenError) -> CloseReason {
    match error {
        TokenError::Expired => CloseReason::TokenExpired,
        TokenError::Undecided => CloseReason::Undecided,
        TokenError::Refused(_) => CloseReason::TokenRefused,
    }
}
