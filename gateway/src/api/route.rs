//! Which request is meant: a path, read once into the thing it names.

use http::Method;

use super::{error::ApiError, gateway::Target, percent};
use crate::protocol::{channel::ChannelName, topic::Topic};

/// The longest name of a user, in bytes (the token's `sub`).
pub const USER_BYTES_MAX: usize = 255;
/// The longest name of a connection, in bytes.
pub const CONNECTION_BYTES_MAX: usize = 64;

const GET: &str = "GET, HEAD";
const POST: &str = "POST";

/// What a path of the internal port names.
#[derive(Debug, PartialEq, Eq)]
pub enum Route {
    /// Whether the process should be restarted.
    Livez,
    /// Whether this pod should get traffic.
    Readyz,
    /// For Prometheus.
    Metrics,
    /// For the operator.
    Status,
    /// What the server API is.
    OpenApi,
    /// The server API.
    Api(ApiRoute),
}

/// What a path of the server API names.
#[derive(Debug, PartialEq, Eq)]
pub enum ApiRoute {
    /// Publish to channels.
    Publish,
    /// Send to everybody.
    Broadcast,
    /// Send to a user or a connection.
    Message(Target),
    /// Close a user's connections, or one.
    Disconnect(Target),
    /// Subscribe a user.
    Subscribe(String),
    /// End a user's subscription.
    Unsubscribe(String),
    /// Revoke a token or a user.
    Revoke,
    /// Many of the above.
    Batch,
    /// A question.
    Read(Read),
}

/// What can be asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// The figures.
    Stats,
    /// The connections.
    Connections,
    /// The channels.
    Channels,
    /// Who is in a channel.
    Presence(Topic),
    /// What was published in a channel.
    History(Topic),
}

impl Route {
    /// Whether a path belongs to the server API and needs a key.
    pub fn needs_key(path: &str) -> bool {
        path.strip_prefix("/api/v1/").is_some_and(|rest| rest != "openapi.json")
    }

    /// Reads the path and checks the method.
    ///
    /// # Errors
    ///
    /// [`ApiError::NotFound`], [`ApiError::Method`]; [`ApiError::Invalid`] and
    /// [`ApiError::Channel`] for names in the path that cannot be.
    pub fn parse(method: &Method, path: &str) -> Result<Self, ApiError> {
        let route = Self::named(path)?;
        let methods = route.methods();
        let is_taken = methods.split(", ").any(|one| one == method.as_str());
        if is_taken { Ok(route) } else { Err(ApiError::Method(methods)) }
    }

    /// Whether it is told something, in a body and not in a query.
    pub fn has_body(&self) -> bool {
        self.methods() == POST
    }

    fn named(path: &str) -> Result<Self, ApiError> {
        Ok(match path {
            "/livez" => Self::Livez,
            "/readyz" => Self::Readyz,
            "/metrics" => Self::Metrics,
            "/status" => Self::Status,
            "/api/v1/openapi.json" => Self::OpenApi,
            _ => {
                let rest = path.strip_prefix("/api/v1/").ok_or(ApiError::NotFound("path"))?;
                Self::Api(ApiRoute::named(rest)?)
            }
        })
    }

    fn methods(&self) -> &'static str {
        match self {
            Self::Api(ApiRoute::Read(_)) => GET,
            Self::Api(_) => POST,
            Self::Livez | Self::Readyz | Self::Metrics | Self::Status | Self::OpenApi => GET,
        }
    }
}

impl ApiRoute {
    fn named(path: &str) -> Result<Self, ApiError> {
        let parts: Vec<&str> = path.split('/').collect();
        Ok(match *parts.as_slice() {
            ["publish"] => Self::Publish,
            ["broadcast"] => Self::Broadcast,
            ["revocations"] => Self::Revoke,
            ["batch"] => Self::Batch,
            ["users", name, "messages"] => Self::Message(Target::User(user(name)?)),
            ["users", name, "disconnect"] => Self::Disconnect(Target::User(user(name)?)),
            ["users", name, "subscribe"] => Self::Subscribe(user(name)?),
            ["users", name, "unsubscribe"] => Self::Unsubscribe(user(name)?),
            ["connections", name, "messages"] => Self::Message(connection(name)?),
            ["connections", name, "disconnect"] => Self::Disconnect(connection(name)?),
            _ => Self::Read(Read::named(&parts)?),
        })
    }
}

impl Read {
    /// The question that a path under `/api/v1/` asks, in parts.
    ///
    /// # Errors
    ///
    /// [`ApiError::NotFound`]; [`ApiError::Channel`] for a name that no channel has.
    pub fn named(parts: &[&str]) -> Result<Self, ApiError> {
        Ok(match *parts {
            ["stats"] => Self::Stats,
            ["connections"] => Self::Connections,
            ["channels"] => Self::Channels,
            ["channels", name, "presence"] => Self::Presence(channel(&percent::decode(name)?)?),
            ["channels", name, "history"] => Self::History(channel(&percent::decode(name)?)?),
            _ => return Err(ApiError::NotFound("path")),
        })
    }
}

/// Reads the name of a channel.
pub fn channel(name: &str) -> Result<Topic, ApiError> {
    Ok(Topic::channel(ChannelName::parse(name)?))
}

fn user(part: &str) -> Result<String, ApiError> {
    bounded("a user", percent::decode(part)?, USER_BYTES_MAX)
}

fn connection(part: &str) -> Result<Target, ApiError> {
    let name = bounded("a connection", percent::decode(part)?, CONNECTION_BYTES_MAX)?;
    Ok(Target::Connection(name))
}

/// A text of 1 to `bytes_max` bytes.
pub fn bounded(what: &str, text: String, bytes_max: usize) -> Result<String, ApiError> {
    if (1..=bytes_max).contains(&text.len()) {
        return Ok(text);
    }
    let bytes = text.len();
    Err(ApiError::Invalid(format!("{what} has {bytes} bytes, must have 1 to {bytes_max}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, path: &str, expected: &Result<Route, ApiError>) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();

        assert_eq!(Route::parse(&method, path), *expected, "{method} {path}");
    }

    #[test]
    fn a_path_names_one_thing() {
        let alice = || Target::User("a/lice".to_owned());
        let api = |route| Ok(Route::Api(route));
        check("GET", "/livez", &Ok(Route::Livez));
        check("HEAD", "/status", &Ok(Route::Status));
        check("POST", "/api/v1/publish", &api(ApiRoute::Publish));
        check("POST", "/api/v1/users/a%2Flice/messages", &api(ApiRoute::Message(alice())));
        check("POST", "/api/v1/users/a%2Flice/disconnect", &api(ApiRoute::Disconnect(alice())));
        let history = Read::History(channel("a b").unwrap());
        check("GET", "/api/v1/channels/a%20b/history", &api(ApiRoute::Read(history)));
    }

    #[test]
    fn what_is_not_there_is_told_from_what_takes_another_method() {
        let not_found = || Err(ApiError::NotFound("path"));
        for path in
            ["/", "", "*", "/livez/", "/api/v1/", "/api/v1", "/api/v1/users/a", "/api/v2/publish"]
        {
            check("GET", path, &not_found());
        }
        check("GET", "/api/v1/publish", &Err(ApiError::Method("POST")));
        check("POST", "/metrics", &Err(ApiError::Method("GET, HEAD")));
        check("get", "/metrics", &Err(ApiError::Method("GET, HEAD")));
    }

    #[test]
    fn names_in_a_path_are_bounded() {
        for name in ["", "%", &"x".repeat(256)] {
            let path = format!("/api/v1/users/{name}/disconnect");
            assert!(
                matches!(Route::parse(&Method::POST, &path), Err(ApiError::Invalid(_))),
                "{name}"
            );
        }
        let path = "/api/v1/channels/%40all/presence";
        assert!(matches!(Route::parse(&Method::GET, path), Err(ApiError::Channel(_))));
    }
}
