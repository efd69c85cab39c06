//! The grammar of names and addresses, as Kubernetes and the RFCs have it.

pub(super) fn is_quantity(text: &str) -> bool {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffixes =
        ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |part: &str, max: usize| {
        (1..=max).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    is_digits(whole, 16)
        && is_digits(fraction, 9)
        && text.strip_prefix(number).is_some_and(|suffix| suffixes.contains(&suffix))
}

/// A DNS subdomain (RFC 1123), as the names of most Kubernetes objects are.
pub(super) fn is_object_name(text: &str) -> bool {
    text.split('.').all(is_dns_label)
}

/// A DNS label (RFC 1123), lower case.
pub(super) fn is_dns_label(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty()
        && text.bytes().all(is_allowed)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// What Kubernetes allows as a key in a Secret; `..` would leave the folder.
pub(super) fn is_file_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed) && text != "." && !text.starts_with("..")
}

/// RFC 3986, section 3.3, with `%` of what is encoded.
pub(super) fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/".contains(&byte)
}

pub(super) fn is_http_url(text: &str) -> bool {
    text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).is_some_and(is_url_rest)
}

/// What follows the scheme: host, port, path and query; no user, no fragment, no white space.
pub(super) fn is_url_rest(text: &str) -> bool {
    let end = text.find(['/', '?']).unwrap_or(text.len());
    let (authority, rest) = text.split_at(end);
    is_authority(authority) && rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

pub(super) fn is_nats_url(text: &str) -> bool {
    text.strip_prefix("nats://").or_else(|| text.strip_prefix("tls://")).is_some_and(is_authority)
}

fn is_authority(text: &str) -> bool {
    let after_brackets = text.rfind(']').map_or(0, |at| at + 1);
    let colon = text.get(after_brackets..).and_then(|rest| rest.find(':'));
    let (host, port) = text.split_at(colon.map_or(text.len(), |colon| after_brackets + colon));
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_host_byte),
    };
    is_host && port.strip_prefix(':').is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

pub(super) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => {
            prefix.len() <= 253 && is_object_name(prefix) && is_label_name(name)
        }
        None => is_label_name(text),
    }
}

pub(super) fn is_label_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_end = |end: Option<char>| end.is_some_and(|end| end.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(is_allowed)
        && is_end(text.chars().next())
        && is_end(text.chars().next_back())
}
