//! The files of the page, and the headers that keep it to itself.
//!
//! The page may load its own files, ask its own data and open one WebSocket. It runs no script that
//! is not one of its files, and no other page may show it, open it or read from it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const ICON: &str = "image/svg+xml";
const JSON: &str = "application/json";

/// Every answer is for this page, now, and is what it says it is.
const FIXED: [(HeaderName, HeaderValue); 6] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    // The address has the key in it.
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-embedder-policy"),
        HeaderValue::from_static("require-corp"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// A file of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// What there is.
    Page,
    /// What happens.
    Script,
    /// The client of the protocol.
    Client,
    /// When that client comes back.
    Comeback,
    /// The charts.
    Chart,
    /// The messages as they come.
    Feed,
    /// The list of channels.
    Channels,
    /// How it looks.
    Style,
    /// The mark in the tab.
    Icon,
}

impl File {
    const ALL: [Self; 9] = [
        Self::Page,
        Self::Script,
        Self::Client,
        Self::Comeback,
        Self::Chart,
        Self::Feed,
        Self::Channels,
        Self::Style,
        Self::Icon,
    ];

    /// The file of this name in the page's folder.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|file| file.row().0 == name)
    }

    /// Its name, its kind and what is in it.
    const fn row(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Page => ("", HTML, include_str!("page/page.html")),
            Self::Script => ("page.js", SCRIPT, include_str!("page/page.js")),
            Self::Client => ("client.js", SCRIPT, include_str!("page/client.js")),
            Self::Comeback => ("comeback.js", SCRIPT, include_str!("page/comeback.js")),
            Self::Chart => ("chart.js", SCRIPT, include_str!("page/chart.js")),
            Self::Feed => ("feed.js", SCRIPT, include_str!("page/feed.js")),
            Self::Channels => ("channels.js", SCRIPT, include_str!("page/channels.js")),
            Self::Style => ("page.css", STYLE, include_str!("page/page.css")),
            Self::Icon => ("icon.svg", ICON, include_str!("page/icon.svg")),
        }
    }
}

/// Where the page connects, for a public port that listens on `public`.
///
/// A port that listens on every address is reached by the loopback one, and IPv6's by its name: a
/// Content-Security-Policy cannot name an IPv6 address.
pub fn websocket_url(public: SocketAddr, path: &str, is_tls: bool) -> String {
    let scheme = if is_tls { "wss" } else { "ws" };
    let port = public.port();
    match public.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => format!("{scheme}://127.0.0.1:{port}{path}"),
        IpAddr::V4(ip) => format!("{scheme}://{ip}:{port}{path}"),
        IpAddr::V6(ip) if ip.is_unspecified() || ip.is_loopback() => {
            format!("{scheme}://localhost:{port}{path}")
        }
        IpAddr::V6(ip) => format!("{scheme}://[{ip}]:{port}{path}"),
    }
}

/// A file of the page.
pub fn file(file: File, websocket: &str) -> Response<Bytes> {
    let (_, kind, text) = file.row();
    let mut answer = answer(StatusCode::OK, Bytes::from_static(text.as_bytes()));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // It is made of fixed words and an address, so it always is a header.
    if file == File::Page
        && let Ok(policy) = HeaderValue::try_from(policy(websocket))
    {
        answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

/// A JSON text.
pub fn json(text: String) -> Response<Bytes> {
    let mut answer = answer(StatusCode::OK, Bytes::from(text));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    answer
}

/// An answer without a kind.
pub fn answer(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().extend(FIXED);
    // What is no page may load nothing at all; `file` says what the page may.
    answer.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    answer
}

/// What the page may do (Content Security Policy Level 3).
fn policy(websocket: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self' {}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
        source(websocket)
    )
}

/// The address as far as its host and port.
fn source(websocket: &str) -> &str {
    let host_at = websocket.find("://").map_or(0, |at| at + 3);
    let host = websocket.get(host_at..).unwrap_or_default();
    let path_at = host.find('/').map_or(websocket.len(), |at| host_at + at);
    let source = websocket.get(..path_at).unwrap_or_default();
    // No policy can name an IPv6 address, so any WebSocket has to do for one.
    if source.contains('[') { websocket.get(..host_at - 2).unwrap_or_default() } else { source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_connects_to_the_public_port() {
        let check = |public: &str, is_tls, url: &str, expected_source: &str| {
            let found = websocket_url(public.parse().unwrap(), "/ws", is_tls);
            assert_eq!((&*found, source(&found)), (url, expected_source), "{public}");
        };
        check("127.0.0.1:8080", false, "ws://127.0.0.1:8080/ws", "ws://127.0.0.1:8080");
        check("0.0.0.0:8080", false, "ws://127.0.0.1:8080/ws", "ws://127.0.0.1:8080");
        check("198.18.0.1:443", true, "wss://198.18.0.1:443/ws", "wss://198.18.0.1:443");
        check("[::1]:8080", false, "ws://localhost:8080/ws", "ws://localhost:8080");
        check("[::]:8080", true, "wss://localhost:8080/ws", "wss://localhost:8080");
        check("[fd00::1]:80", false, "ws://[fd00::1]:80/ws", "ws:");
    }

    #[test]
    fn every_file_has_a_name_a_kind_and_the_headers() {
        for file in File::ALL {
            let answer = super::file(file, "ws://127.0.0.1:8080/ws");

            assert_eq!(File::named(file.row().0), Some(file));
            assert!(!answer.body().is_empty(), "{file:?}");
            for (name, value) in &FIXED {
                assert_eq!(answer.headers().get(name), Some(value), "{file:?}");
            }
        }
    }

    #[test]
    fn the_page_may_load_its_own_files_and_open_its_own_websocket() {
        let policy = |file| {
            let answer = super::file(file, "ws://127.0.0.1:8080/ws");
            // Two policies would both have to allow.
            let policies = answer.headers().get_all(header::CONTENT_SECURITY_POLICY);
            policies.iter().map(|it| it.to_str().unwrap()).collect::<Vec<_>>().join(" AND ")
        };

        let page = policy(File::Page);

        assert!(page.starts_with("default-src 'none'; script-src 'self';"), "{page}");
        assert!(page.contains("; connect-src 'self' ws://127.0.0.1:8080;"), "{page}");
        assert!(!page.contains("unsafe"), "{page}");
        assert_eq!(policy(File::Script), "default-src 'none'; frame-ancestors 'none'");
    }

    #[test]
    fn the_page_names_no_file_that_is_not_served_and_no_other_place() {
        for file in File::ALL {
            let (_, _, text) = file.row();
            let names = text.split('"').filter_map(|it| it.strip_prefix("./"));
            let missing: Vec<_> = names.filter(|name| File::named(name).is_none()).collect();
            assert!(missing.is_empty(), "{file:?}: {missing:?}");
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http://") && !text.contains("https://"), "{file:?}");
        }
    }
}
