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
            Self::Origin => "this origin is not allowed".into(),
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
        let body = serde_json::json!({"error": {"code": code, "message": self.words()}}).to_string();
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
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{more}Connection: close\r\n\r\n{body}",
            body.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_whole_and_says_when_to_come_back() {
        let response = Refusal::Full.response(17);
        assert!(response.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
        assert!(response.contains("Retry-After: 8\r\n"));
        let body = response.split("\r\n\r\n").nth(1).unwrap();
        assert!(response.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert!(body.starts_with(r#"{"error":{"code":"full""#));
        assert!(Refusal::CODES.contains(&Refusal::Full.code()));
    }
}
