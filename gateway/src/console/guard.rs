//! Who may see the console.
//!
//! A page from elsewhere can make a browser on this machine ask (cross-site requests, DNS that is
//! pointed at 127.0.0.1), and so can other users of the machine. Each condition below shuts one of
//! those ways, and all of them must hold.

use std::net::{Ipv4Addr, SocketAddr};

use http::{HeaderMap, HeaderName, Method, header, request::Parts};

use super::{File, key::ConsoleKey};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a request asks of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A file of the page.
    File(File),
    /// What the page draws.
    Data,
    /// The page, by a name of this machine that is not its own.
    Elsewhere,
}

/// The conditions.
#[derive(Debug)]
pub struct Guard {
    origin: String,
    port: u16,
    key: ConsoleKey,
}

impl Guard {
    /// Guards a console on the internal port that listens on `internal`.
    pub fn new(internal: SocketAddr, key: ConsoleKey) -> Self {
        // Browsers leave the scheme's own port out of `Origin` and `Host` (RFC 6454, section 6.2).
        let origin = match internal {
            SocketAddr::V4(at) if at.port() == 80 => format!("http://{}", at.ip()),
            SocketAddr::V6(at) if at.port() == 80 => format!("http://[{}]", at.ip()),
            at => format!("http://{at}"),
        };
        Self { origin, port: internal.port(), key }
    }

    /// The page's own origin.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The page's own address.
    pub fn url(&self) -> String {
        format!("{}/console/{}/", self.origin, self.key.as_str())
    }

    /// What a request asks for; `None` where it must see nothing.
    pub fn asked(&self, request: &Parts, peer: SocketAddr) -> Option<Asked> {
        let host = only(&request.headers, &header::HOST)?;
        let is_here = request.method == Method::GET
            // In absolute form the target would overrule Host (RFC 9112, section 3.2.2).
            && request.uri.authority().is_none()
            && peer.ip().to_canonical().is_loopback()
            && self.is_loopback(host);
        if !is_here {
            return None;
        }
        let (key, rest) = request.uri.path().strip_prefix("/console/")?.split_once('/')?;
        if !self.key.is(key) {
            return None;
        }
        let asked = match rest {
            "data" => Asked::Data,
            name => Asked::File(File::named(name)?),
        };
        if !is_own_fetch(&request.headers, asked) {
            return None;
        }
        match asked {
            _ if self.is_own(host) => Some(asked),
            Asked::File(File::Page) => Some(Asked::Elsewhere),
            _ => None,
        }
    }

    fn is_own(&self, host: &str) -> bool {
        self.origin.strip_prefix("http://") == Some(host)
    }

    /// Whether `Host` is a name that only this machine has, and this port.
    fn is_loopback(&self, host: &str) -> bool {
        let port_at = host.rfind(':').filter(|at| !host.ends_with(']') && *at > 0);
        let (name, port) = match port_at.and_then(|at| host.split_at_checked(at)) {
            Some((name, port)) => (name, port.get(1..).unwrap_or_default()),
            None => (host, "80"),
        };
        let is_name = name == "[::1]"
            || name.eq_ignore_ascii_case("localhost")
            || name.parse::<Ipv4Addr>().is_ok_and(|it| it.is_loopback());
        is_name && port == self.port.to_string()
    }
}

/// Whether a browser says that the page itself, or for the page the person, made the request.
/// Who sends nothing is an old browser or none at all, and the key decides.
fn is_own_fetch(headers: &HeaderMap, asked: Asked) -> bool {
    if !headers.contains_key(SEC_FETCH_SITE) {
        return true;
    }
    match only(headers, &SEC_FETCH_SITE) {
        Some("same-origin") => true,
        Some("none") => asked == Asked::File(File::Page),
        _ => false,
    }
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
