//! Every way an upgrade is refused: status, code and words in one place.

use http::StatusCode;

use crate::websocket::handshake::HandshakeError;

/// Why an upgrade request is refused. Codes are public (docs/protocol.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request's form.
    Handshake(HandshakeError),
    /// The token is missing or refused; which of the two is for the log.
    Token,
    /// The page may not use this gateway (RFC 6455, section 10.2).
    Origin,
    /// More connections a second than are accepted.
    ConnectRate,
    /// Too many connections of this address, or too fast.
    Address,
    /// Too many connections of this user.
    UserConnections,
    /// As many connections as there may be.
    Full,
    /// The pod goes away.
    Draining,
    /// The token cannot be checked yet.
    Keys,
}

impl Refusal {
    /// All values of the `reason` label.
    pub const CODES: [&str; 15] = [
        "bad_handshake",
        "subprotocol",
        "token",
        "origin",
        "not_found",
        "method",
        "uri",
        "headers",
        "version",
        "connect_rate",
        "address",
        "user_connections",
        "full",
        "draining",
        "keys",
    ];

    /// The status of the response.
    pub const fn status(self) -> StatusCode {
        use HandshakeError as H;
        match self {
            Self::Handshake(H::BadHandshake(_) | H::Subprotocol) => StatusCode::BAD_REQUEST,
            Self::Handshake(H::NotFound) => StatusCode::NOT_FOUND,
            Self::Handshake(H::Method) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Handshake(H::Uri) => StatusCode::URI_TOO_LONG,
            Self::Handshake(H::Headers) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Handshake(H::Version) => StatusCode::UPGRADE_REQUIRED,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::ConnectRate | Self::Address | Self::UserConnections => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Full | Self::Draining | Self::Keys => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The code in the body and on the metric.
    pub const fn code(self) -> &'static str {
        use HandshakeError as H;
        match self {
            Self::Handshake(H::BadHandshake(_)) => "bad_handshake",
            Self::Handshake(H::Subprotocol) => "subprotocol",
            Self::Handshake(H::NotFound) => "not_found",
            Self::Handshake(H::Method) => "method",
            Self::Handshake(H::Uri) => "uri",
            Self::Handshake(H::Headers) => "headers",
            Self::Handshake(H::Version) => "version",
            Self::Token => "token",
            Self::Origin => "origin",
            Self::ConnectRate => "connect_rate",
            Self::Address => "address",
            Self::UserConnections => "user_connections",
            Self::Full => "full",
            Self::Draining => "draining",
            Self::Keys => "keys",
        }
    }

    fn words(self) -> String {
        match self {
            Self::Handshake(error) => error.to_string(),
            Self::Token => "the token is missing or not valid".into(),
            Self::Origin => "this origin is none of allowedOrigins".into(),
            Self::ConnectRate => "too many new connections; come back later".into(),
            Self::Address => "too many connections from this address".into(),
            Self::UserConnections => "too many connections of this user".into(),
            Self::Full => "this gateway is full; come back later".into(),
            Self::Draining => "this pod goes away; connect again".into(),
            Self::Keys => "tokens cannot be checked yet; come back later".into(),
        }
    }

    /// The whole response, after which the connection ends. `jitter` is any number.
    pub fn response(self, jitter: u32) -> String {
        let status = self.status();
        let code = self.code();
        let body =
            serde_json::json!({"error": {"code": code, "message": self.words()}}).to_string();
        let more = match status {
            StatusCode::TOO_MANY_REQUESTS => format!("Retry-After: {}\r\n", 1 + jitter % 5),
            StatusCode::SERVICE_UNAVAILABLE => format!("Retry-After: {}\r\n", 1 + jitter % 10),
            StatusCode::UPGRADE_REQUIRED => {
                "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n".to_owned()
            }
            StatusCode::METHOD_NOT_ALLOWED => "Allow: GET\r\n".to_owned(),
            StatusCode::UNAUTHORIZED => "WWW-Authenticate: Bearer\r\n".to_owned(),
            _ => String::new(),
        };
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nCache-Control: no-store\r\n{more}Connection: close\r\n\r\n{body}",
            body.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every refusal with its status and its code (PROTOCOL, "Connecting").
    const TABLE: [(Refusal, u16, &str); 15] = {
        use HandshakeError as H;
        use Refusal as R;
        [
            (R::Handshake(H::BadHandshake("Host is missing")), 400, "bad_handshake"),
            (R::Handshake(H::Subprotocol), 400, "subprotocol"),
            (R::Token, 401, "token"),
            (R::Origin, 403, "origin"),
            (R::Handshake(H::NotFound), 404, "not_found"),
            (R::Handshake(H::Method), 405, "method"),
            (R::Handshake(H::Uri), 414, "uri"),
            (R::Handshake(H::Headers), 431, "headers"),
            (R::Handshake(H::Version), 426, "version"),
            (R::ConnectRate, 429, "connect_rate"),
            (R::Address, 429, "address"),
            (R::UserConnections, 429, "user_connections"),
            (R::Full, 503, "full"),
            (R::Draining, 503, "draining"),
            (R::Keys, 503, "keys"),
        ]
    };

    /// The head's lines and the body.
    fn parse(response: &str) -> (Vec<&str>, &str) {
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        (head.split("\r\n").collect(), body)
    }

    #[test]
    fn each_refusal_is_a_whole_response_with_its_status_and_code() {
        assert_eq!(TABLE.map(|(_, _, code)| code), Refusal::CODES);
        for (refusal, status, code) in TABLE {
            let response = refusal.response(0);
            let (head, body) = parse(&response);

            assert_eq!(refusal.code(), code);
            assert!(head[0].starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
            assert!(head.contains(&format!("Content-Length: {}", body.len()).as_str()));
            assert!(head.contains(&"Connection: close"));
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["error"]["code"], code);
            assert!(body["error"]["message"].as_str().is_some_and(|words| !words.is_empty()));
        }
    }

    #[test]
    fn who_may_come_back_is_told_when_and_not_all_at_once() {
        for (refusal, status, _) in TABLE {
            let after = |jitter| {
                let response = refusal.response(jitter);
                let seconds =
                    parse(&response).0.into_iter().find_map(|it| it.strip_prefix("Retry-After: "));
                seconds.map(|it| it.parse::<u32>().unwrap())
            };
            if matches!(status, 429 | 503) {
                let seconds: std::collections::BTreeSet<_> = (0..100).map(after).collect();
                assert!(
                    seconds.len() >= 5
                        && seconds.iter().all(|it| (Some(1)..=Some(10)).contains(it))
                );
                assert!(after(u32::MAX).is_some());
            } else {
                assert_eq!(after(0), None);
            }
        }
    }

    #[test]
    fn a_status_that_needs_a_header_has_it() {
        let has = |refusal: Refusal, line| {
            let response = refusal.response(0);
            assert!(parse(&response).0.contains(&line), "{response}");
        };
        has(Refusal::Token, "WWW-Authenticate: Bearer");
        has(Refusal::Handshake(HandshakeError::Method), "Allow: GET");
        has(Refusal::Handshake(HandshakeError::Version), "Sec-WebSocket-Version: 13");
        has(Refusal::Handshake(HandshakeError::Version), "Upgrade: websocket");
        has(Refusal::Handshake(HandshakeError::NotFound), "Cache-Control: no-store");
    }
}
