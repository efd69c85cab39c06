//! Origins and `X-Forwarded-For`: a pattern decides as a plain reading of it does, without heap, and
//! a hop is believed only as far as trusted proxies reported it.
#![no_main]

use std::net::IpAddr;

use headgate_crds::{
    v1alpha1::{ClientAddressFrom, Permission},
    value::OriginPattern,
};
use headgate_fuzz::memory;
use headgate_gateway::admission::{address, origin};
use http::{HeaderMap, HeaderValue, header::ORIGIN};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (pattern, value) = match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, data),
    };
    hops_are_believed_from_the_right(value);
    let Some(pattern) = str::from_utf8(pattern).ok().and_then(|it| it.parse().ok()) else { return };
    origin_is_the_pattern(&[pattern], value);
});

fn origin_is_the_pattern(patterns: &[OriginPattern; 1], value: &[u8]) {
    let printed = patterns[0].to_string();
    assert_eq!(printed.parse().as_ref(), Ok(&patterns[0]));
    let Ok(header) = HeaderValue::from_bytes(value) else { return };
    let headers = HeaderMap::from_iter([(ORIGIN, header)]);

    let (ours, heap) = memory::most(|| origin::is_allowed(&headers, patterns, Permission::Deny));

    assert_eq!(heap, 0);
    if ours {
        let value = str::from_utf8(value).expect("an origin is text");
        assert!(is_meant(&printed, value), "{value} passes for {printed}");
    }
}

/// Part by part, a star being one label of a host.
fn is_meant(pattern: &str, origin: &str) -> bool {
    let port_of = |text: &str| -> Option<String> {
        let own = if text.starts_with("https:") { ":443" } else { ":80" };
        let is_web = text.starts_with("http:") || text.starts_with("https:");
        let stripped = text.strip_suffix(own).filter(|_| is_web);
        Some(stripped.unwrap_or(text).to_owned())
    };
    let (Some(pattern), Some(origin)) = (port_of(pattern), port_of(origin)) else { return false };
    if pattern == origin {
        return true;
    }
    let (pattern, origin): (Vec<_>, Vec<_>) =
        (pattern.split(['.', '/', ':']).collect(), origin.split(['.', '/', ':']).collect());
    let is_label = |it: &str| {
        !it.is_empty() && it.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    // A port may be written with zeros before it.
    let is_same =
        |a: &str, b: &str| a == b || a == "*" && is_label(b) || a == b.trim_start_matches('0');
    let last_is_own_port =
        origin.last().is_some_and(|it| matches!(it.trim_start_matches('0'), "80" | "443"));
    let origin = if last_is_own_port && origin.len() == pattern.len() + 1 {
        &origin[..pattern.len()]
    } else {
        &origin[..]
    };
    pattern.len() == origin.len() && pattern.iter().zip(origin).all(|(a, b)| is_same(a, b))
}

fn hops_are_believed_from_the_right(value: &[u8]) {
    let Ok(header) = HeaderValue::from_bytes(value) else { return };
    let name = http::HeaderName::from_static("x-forwarded-for");
    let headers = HeaderMap::from_iter([(name, header)]);
    let trusted =
        ["198.18.0.0/15".parse().expect("a network"), "fd00::/8".parse().expect("a network")];
    let client =
        |peer: IpAddr| address::client(peer, &headers, ClientAddressFrom::XForwardedFor, &trusted);
    let (stranger, proxy) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([198, 18, 0, 1]));

    assert_eq!(client(stranger), stranger);
    let claimed = client(proxy);
    let _ = address::key(claimed);
    if claimed != proxy {
        let is_said = String::from_utf8_lossy(value).split(',').any(|hop| {
            let hop = hop.trim();
            let bare = hop.trim_start_matches('[').split(']').next().unwrap_or_default();
            let with_port = hop.parse::<std::net::SocketAddr>().ok().map(|it| it.ip());
            bare.parse().ok().or(with_port).is_some_and(|it: IpAddr| it.to_canonical() == claimed)
        });
        assert!(is_said, "{claimed} is nowhere in the header");
    }
}
