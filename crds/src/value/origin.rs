//! Which web pages may connect: patterns for the `Origin` header (RFC 6454, section 6.2).
//!
//! Scheme, host and port count exactly. Suffixes don't: `https://good.example.evil` must not pass for
//! `https://good.example`, and `*` stands for one label of the host, never for a dot.

use std::{fmt, str::FromStr};

use super::{kind::Kind, written_as_text};

/// A pattern for the `Origin` header of a page: `https://app.example.com`, `https://*.example.com:8443` or `null`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OriginPattern {
    /// The origin `null` of sandboxed frames and local files. Only this pattern matches it.
    Null,
    /// Scheme, host and port. Private fields: lower case, and no port where it is the scheme's own.
    Page(Page),
}

/// Scheme, host and port of an [`OriginPattern`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Page {
    scheme: Box<str>,
    host: Box<str>,
    port: Option<u16>,
}

/// Why a text is not an [`OriginPattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// No `://` after a scheme.
    #[error("has no scheme")]
    Scheme,
    /// Something after the port, which no browser sends.
    #[error("has a path, which no browser sends")]
    Path,
    /// A host of other characters than a browser sends; international names are sent in their `xn--` form.
    #[error("has a host that no browser sends")]
    Host,
    /// A star beside other characters.
    #[error("has a * that is not a whole label")]
    Star,
    /// Not a number from 1 to 65535.
    #[error("has no valid port")]
    Port,
}

impl OriginPattern {
    /// Whether the raw value of an `Origin` header is one that this pattern allows.
    pub fn matches(&self, origin: &str) -> bool {
        let Self::Page(page) = self else { return origin == "null" };
        let Some((scheme, host, port)) = split(origin) else { return false };
        let Ok(port) = parse_port(scheme, port) else { return false };
        *scheme == *page.scheme && port == page.port && is_host_allowed(&page.host, host)
    }
}

/// Scheme, host and the text of the port, if there is one. A host in brackets (IPv6) keeps them.
fn split(origin: &str) -> Option<(&str, &str, Option<&str>)> {
    let (scheme, authority) = origin.split_once("://")?;
    let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
    match authority.get(after_brackets..)?.find(':') {
        Some(colon) => {
            let (host, port) = authority.split_at_checked(after_brackets + colon)?;
            Some((scheme, host, port.get(1..)))
        }
        None => Some((scheme, authority, None)),
    }
}

/// The port, unless it is the scheme's own, which browsers leave out.
fn parse_port(scheme: &str, port: Option<&str>) -> Result<Option<u16>, OriginError> {
    let Some(port) = port else { return Ok(None) };
    let is_digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| is_digits && *port > 0).ok_or(OriginError::Port)?;
    Ok(Some(port).filter(|port| !matches!((scheme, *port), ("http", 80) | ("https", 443))))
}

/// Label by label: equal, or a star and exactly one label.
fn is_host_allowed(pattern: &str, host: &str) -> bool {
    let mut labels = host.split('.');
    let all_match = pattern.split('.').all(|wanted| {
        labels.next().is_some_and(|label| wanted == label || (wanted == "*" && is_label(label)))
    });
    all_match && labels.next().is_none()
}

fn is_label(label: &str) -> bool {
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    (1..=63).contains(&label.len()) && label.bytes().all(is_allowed)
}

impl FromStr for OriginPattern {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text == "null" {
            return Ok(Self::Null);
        }
        let text = text.to_ascii_lowercase();
        let (scheme, host, port) = split(&text).ok_or(OriginError::Scheme)?;
        check_scheme(scheme)?;
        if host.contains('/') || port.is_some_and(|port| port.contains('/')) {
            return Err(OriginError::Path);
        }
        check_host(host)?;
        let port = parse_port(scheme, port)?;
        Ok(Self::Page(Page { scheme: scheme.into(), host: host.into(), port }))
    }
}

fn check_scheme(scheme: &str) -> Result<(), OriginError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let starts_well = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    (starts_well && scheme.bytes().all(is_allowed)).then_some(()).ok_or(OriginError::Scheme)
}

fn check_host(host: &str) -> Result<(), OriginError> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address = address.parse::<std::net::Ipv6Addr>();
        return address.map(|_| ()).map_err(|_| OriginError::Host);
    }
    for label in host.split('.') {
        if label.contains('*') && label != "*" {
            return Err(OriginError::Star);
        }
        if label != "*" && !is_label(label) {
            return Err(OriginError::Host);
        }
    }
    Ok(())
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Page(Page { scheme, host, port: None }) => write!(f, "{scheme}://{host}"),
            Self::Page(Page { scheme, host, port: Some(port) }) => {
                write!(f, "{scheme}://{host}:{port}")
            }
        }
    }
}

written_as_text!(OriginPattern, Kind::Origin);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pattern: &str, allowed: &[&str], refused: &[&str]) {
        let parsed: OriginPattern = pattern.parse().unwrap();
        for origin in allowed {
            assert!(parsed.matches(origin), "{pattern} should allow {origin}");
        }
        for origin in refused {
            assert!(!parsed.matches(origin), "{pattern} should refuse {origin}");
        }
    }

    #[test]
    fn scheme_host_and_port_count_exactly() {
        check(
            "https://good.example",
            &["https://good.example", "https://good.example:443"],
            &[
                "",
                "null",
                "good.example",
                "http://good.example",
                "https://good.example:8443",
                "https://good.example.evil",
                "https://evilgood.example",
                "https://good.example@evil",
                "https://good.example/",
                "https://good.example:443:1",
                "https://good.example:0443x",
                "https://GOOD.example",
                "https://good.example.",
            ],
        );
        check(
            "http://localhost:3000",
            &["http://localhost:3000"],
            &["http://localhost", "http://localhost:30000"],
        );
        check("capacitor://localhost", &["capacitor://localhost"], &["http://localhost"]);
        check("http://[::1]:3000", &["http://[::1]:3000"], &["http://[::1]", "http://[::2]:3000"]);
    }

    #[test]
    fn a_star_is_exactly_one_label() {
        check(
            "https://*.example.com",
            &["https://a.example.com", "https://xn--a.example.com"],
            &[
                "https://example.com",
                "https://a.b.example.com",
                "https://.example.com",
                "https://a.example.com.evil",
            ],
        );
        check(
            "https://*.example.com:8443",
            &["https://a.example.com:8443"],
            &["https://a.example.com"],
        );
        check("https://*", &["https://intranet"], &["https://evil.example", "https://"]);
    }

    #[test]
    fn null_is_matched_by_null_alone() {
        check("null", &["null"], &["", "https://null", "https://a.example"]);
        check("https://null", &["https://null"], &["null"]);
    }

    #[test]
    fn what_no_browser_sends_is_refused() {
        let check = |text: &str, expected| {
            assert_eq!(text.parse::<OriginPattern>(), Err(expected), "{text}");
        };
        check("*", OriginError::Scheme);
        check("app.example.com", OriginError::Scheme);
        check("://a", OriginError::Scheme);
        check("https://a.example/", OriginError::Path);
        check("https://a.example:1/x", OriginError::Path);
        check("https://", OriginError::Host);
        check("https://münchen.example", OriginError::Host);
        check("https://a..example", OriginError::Host);
        check("https://me@a.example", OriginError::Host);
        check("https://a*.example", OriginError::Star);
        check("https://**.example", OriginError::Star);
        check("https://a.example:*", OriginError::Port);
        check("https://a.example:0", OriginError::Port);
        check("https://a.example:+1", OriginError::Port);
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(text in "(https?|app)://(\\*|[A-Za-z0-9-]{1,9})(\\.(\\*|[a-z0-9]{1,9})){0,3}(:[1-9][0-9]{0,3})?") {
            let pattern: OriginPattern = text.parse().unwrap();

            prop_assert_eq!(pattern.to_string().parse(), Ok(pattern));
        }

        #[test]
        fn no_text_panics(pattern in "[a-z:/.*\\[\\]0-9ü]{0,20}", origin in "[a-z:/.\\[\\]0-9ü]{0,20}") {
            if let Ok(pattern) = pattern.parse::<OriginPattern>() {
                pattern.matches(&origin);
            }
        }
    }
}
