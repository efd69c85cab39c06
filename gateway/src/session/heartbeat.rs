//! When a connection is pinged, and when it has been silent for too long.

use headgate_crds::v1alpha1::RealtimeGatewaySpec;

use crate::protocol::close::CloseReason;

/// The times that decide, in milliseconds since the process began.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    /// The last frame from the client.
    pub heard_ms: u64,
    /// When the message that is not whole began.
    pub partial_since_ms: Option<u64>,
    /// The last ping.
    pinged_ms: u64,
    /// When the token ends; `u64::MAX` is never.
    pub expires_ms: u64,
    /// When a first-message token must be here; `u64::MAX` where it is, or need not be.
    pub authenticate_by_ms: u64,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// A ping.
    Ping,
    /// The end.
    Close(CloseReason),
}

impl Heartbeat {
    /// A connection that begins now. Its first ping comes up to a quarter of the period early, so
    /// that connections that came together are not pinged together; `jitter` is any number.
    pub fn new(now_ms: u64, period_ms: u64, jitter: u64) -> Self {
        let early = jitter % (period_ms / 4).max(1);
        Self {
            heard_ms: now_ms,
            partial_since_ms: None,
            pinged_ms: now_ms.saturating_sub(early),
            expires_ms: u64::MAX,
            authenticate_by_ms: u64::MAX,
        }
    }

    /// The token ends in so many seconds. One that had ended when it was shown, within the leeway for
    /// clocks that differ, gets a second.
    pub fn expire_in(&mut self, now_ms: u64, seconds: u64) {
        self.expires_ms = now_ms.saturating_add(seconds.max(1).saturating_mul(1_000));
    }

    /// What is due now; the last message, either way, was at `active_ms`: pings and pongs are none.
    pub fn due(&mut self, now_ms: u64, active_ms: u64, spec: &RealtimeGatewaySpec) -> Due {
        let pong_wait = spec.pong_wait.as_millis();
        let idle = spec.limits.idle_timeout.as_millis();
        if now_ms >= self.expires_ms {
            return Due::Close(CloseReason::TokenExpired);
        }
        if now_ms >= self.authenticate_by_ms {
            return Due::Close(CloseReason::NotAuthenticated);
        }
        if self.partial_since_ms.is_some_and(|since| now_ms >= since + pong_wait) {
            return Due::Close(CloseReason::Policy);
        }
        if now_ms >= self.heard_ms + pong_wait {
            return Due::Close(CloseReason::PongTimeout);
        }
        if idle > 0 && now_ms >= active_ms + idle {
            return Due::Close(CloseReason::Idle);
        }
        if now_ms >= self.heard_ms.max(self.pinged_ms) + spec.ping_period.as_millis() {
            self.pinged_ms = now_ms;
            return Due::Ping;
        }
        Due::Nothing
    }

    /// When something will be due, if nothing happens.
    pub fn next_ms(&self, active_ms: u64, spec: &RealtimeGatewaySpec) -> u64 {
        let pong_wait = spec.pong_wait.as_millis();
        let idle = spec.limits.idle_timeout.as_millis();
        let partial = self.partial_since_ms.map_or(u64::MAX, |since| since + pong_wait);
        let idle = if idle > 0 { active_ms + idle } else { u64::MAX };
        let ping = self.heard_ms.max(self.pinged_ms) + spec.ping_period.as_millis();
        [self.expires_ms, self.authenticate_by_ms, partial, idle, ping, self.heard_ms + pong_wait]
            .into_iter()
            .min()
            .unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use headgate_crds::manifest;

    use super::*;

    fn spec(more: &str) -> RealtimeGatewaySpec {
        let text = format!(
            "apiVersion: headgate.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {{name: a}}\nspec: {{auth: {{mode: Disabled}}, {more}}}"
        );
        manifest::read(&text).unwrap().spec
    }

    #[test]
    fn a_silent_client_is_pinged_and_then_given_up() {
        let spec = spec("pingPeriod: 4s, pongWait: 10s");
        let mut heartbeat = Heartbeat::new(0, 4_000, 0);

        assert_eq!(heartbeat.next_ms(0, &spec), 4_000);
        assert_eq!(heartbeat.due(3_999, 0, &spec), Due::Nothing);
        assert_eq!(heartbeat.due(4_000, 0, &spec), Due::Ping);
        assert_eq!(heartbeat.due(8_000, 0, &spec), Due::Ping);
        assert_eq!(heartbeat.due(10_000, 0, &spec), Due::Close(CloseReason::PongTimeout));
        heartbeat.heard_ms = 9_999;
        assert_eq!(heartbeat.due(10_000, 0, &spec), Due::Nothing);
    }

    #[test]
    fn an_incomplete_message_and_idleness_have_an_end() {
        let spec = spec("pongWait: 1m, limits: {idleTimeout: 90s}");
        let mut heartbeat = Heartbeat::new(0, 54_000, 0);
        heartbeat.heard_ms = 80_000;
        heartbeat.partial_since_ms = Some(30_000);

        assert_eq!(heartbeat.due(90_000, 0, &spec), Due::Close(CloseReason::Policy));
        heartbeat.partial_since_ms = None;
        assert_eq!(heartbeat.due(90_000, 0, &spec), Due::Close(CloseReason::Idle));
    }
}
