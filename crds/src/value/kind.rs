//! The kinds of text in a manifest: for each its pattern for the API server, its length, its check and what is right.
//!
//! The pattern is the coarse net (the API server has no more); the check decides. Whatever the check takes, the pattern
//! takes too.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{ChannelPattern, Cidr, Duration, OriginPattern, Size};

/// A kind of text, or of an integer that may be written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is described by `right`")]
pub enum Kind {
    Duration,
    Size,
    Quantity,
    Cidr,
    Origin,
    ChannelPattern,
    GatewayName,
    Namespace,
    ObjectName,
    FileName,
    UrlPath,
    HttpsUrl,
    HttpUrl,
    NatsUrl,
    Hostname,
    Image,
    LabelKey,
    LabelValue,
    Line,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 19] = [
        Self::Duration,
        Self::Size,
        Self::Quantity,
        Self::Cidr,
        Self::Origin,
        Self::ChannelPattern,
        Self::GatewayName,
        Self::Namespace,
        Self::ObjectName,
        Self::FileName,
        Self::UrlPath,
        Self::HttpsUrl,
        Self::HttpUrl,
        Self::NatsUrl,
        Self::Hostname,
        Self::Image,
        Self::LabelKey,
        Self::LabelValue,
        Self::Line,
    ];

    /// The name in documentation and in schemas that are annotated.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Duration => "duration",
            Self::Size => "size",
            Self::Quantity => "quantity",
            Self::Cidr => "CIDR",
            Self::Origin => "origin",
            Self::ChannelPattern => "channel pattern",
            Self::GatewayName => "gateway's name",
            Self::Namespace => "namespace",
            Self::ObjectName => "name",
            Self::FileName => "file name",
            Self::UrlPath => "path",
            Self::HttpsUrl => "https URL",
            Self::HttpUrl => "URL",
            Self::NatsUrl => "NATS URL",
            Self::Hostname => "host name",
            Self::Image => "image",
            Self::LabelKey => "label key",
            Self::LabelValue => "label value",
            Self::Line => "text",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What is right, as the end of a sentence that begins with "must be".
    pub const fn right(self) -> &'static str {
        match self {
            Self::Duration => {
                "one to four numbers of at most 5 digits, each with h, m, s or ms: 54s, 1h30m, 250ms"
            }
            Self::Size => "a number of bytes, or a number with Ki, Mi, Gi, Ti, k, M, G or T: 512Ki",
            Self::Quantity => "a Kubernetes quantity: 250m, 2, 512Mi",
            Self::Cidr => "a network such as 10.0.0.0/8 or 2001:db8::/32, or one address",
            Self::Origin => {
                "a scheme and a host, and a port if it is not the scheme's own, where * is one whole label: \
                 https://app.example.com, https://*.example.com:8443; or null"
            }
            Self::ChannelPattern => {
                "parts between dots, at most 255 bytes, where * is one whole part and ** at the end is all that follow: \
                 room.*, public.**"
            }
            Self::GatewayName => {
                "at most 40 lower-case letters, digits and -, the first a letter and the last not -"
            }
            Self::Namespace => {
                "at most 63 lower-case letters, digits and -, the first and the last not -"
            }
            Self::ObjectName => {
                "a name of lower-case letters, digits, - and . that begins and ends with a letter or a digit"
            }
            Self::FileName => "the name of a file in the Secret: letters, digits, -, _ and .",
            Self::UrlPath => "a path of a URL that begins with /, without ? and #: /ws",
            Self::HttpsUrl => {
                "an https URL without user and fragment: https://id.example.com/jwks.json"
            }
            Self::HttpUrl => "an http or https URL without user and fragment: http://otel:4317",
            Self::NatsUrl => {
                "nats:// or tls:// with host and port, several joined by commas: nats://nats:4222"
            }
            Self::Hostname => "a host name, perhaps with * as its first label: chat.example.com",
            Self::Image => {
                "a container image without white space: registry.example.com/headgate/gateway:0.1.0"
            }
            Self::LabelKey => {
                "a label key: a name of at most 63 characters, perhaps after a DNS name and /"
            }
            Self::LabelValue => "a label value: at most 63 letters, digits, -, _ and ., or nothing",
            Self::Line => "text on one line",
        }
    }

    /// The most characters the text may have.
    pub const fn length_max(self) -> usize {
        match self {
            Self::Duration => 32,
            Self::Size => 20,
            Self::Quantity => 32,
            Self::Cidr => 49,
            Self::ChannelPattern => ChannelPattern::BYTES_MAX,
            Self::GatewayName => 40,
            Self::Namespace => 63,
            Self::UrlPath | Self::Line => 256,
            Self::HttpsUrl | Self::HttpUrl | Self::Image => 512,
            Self::NatsUrl => 1024,
            Self::LabelKey => 317,
            Self::LabelValue => 63,
            Self::Origin | Self::ObjectName | Self::FileName | Self::Hostname => 253,
        }
    }

    /// A regular expression that both RE2 and Rust read the same way.
    pub const fn pattern(self) -> &'static str {
        match self {
            Self::Duration => "^([0-9]{1,5}(h|m|s|ms)){1,4}$",
            Self::Size => r"^[0-9]{1,16}(\.[0-9]{1,3})?(Ki|Mi|Gi|Ti|k|M|G|T)?$",
            Self::Quantity => r"^[0-9]{1,16}(\.[0-9]{1,9})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
            Self::Cidr => "^[0-9a-fA-F:.]{2,45}(/[0-9]{1,3})?$",
            Self::Origin => {
                r"^(null|[A-Za-z][A-Za-z0-9+.-]*://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_*.-]+)(:[0-9]+)?)$"
            }
            Self::ChannelPattern => r"^(\*\*|(\*|[^*.]+)(\.(\*|[^*.]+))*(\.\*\*)?)$",
            Self::GatewayName => "^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$",
            Self::Namespace => "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
            Self::ObjectName => {
                r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
            }
            Self::FileName => "^[-._a-zA-Z0-9]+$",
            Self::UrlPath => "^/[-A-Za-z0-9._~!$&'()*+,;=:@%/]*$",
            Self::HttpsUrl => {
                r"^https://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?([/?][!-\x22$-~]*)?$"
            }
            Self::HttpUrl => {
                r"^https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?([/?][!-\x22$-~]*)?$"
            }
            Self::NatsUrl => {
                r"^(nats|tls)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(,(nats|tls)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?)*$"
            }
            Self::Hostname => {
                r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
            }
            Self::Image => "^[!-~]+$",
            Self::LabelKey => {
                r"^([a-z0-9][-a-z0-9.]*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
            }
            Self::LabelValue => "^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$",
            Self::Line => r"^[^\x00-\x1f\x7f]+$",
        }
    }

    /// What is wrong with the text, if something is. Its length is for the caller to check.
    pub fn problem(self, text: &str) -> Option<String> {
        let is_right = match self {
            Self::Duration => return problem_of(text.parse::<Duration>()),
            Self::Size => return problem_of(text.parse::<Size>()),
            Self::Cidr => return problem_of(text.parse::<Cidr>()),
            Self::Origin => return problem_of(text.parse::<OriginPattern>()),
            Self::ChannelPattern => return problem_of(text.parse::<ChannelPattern>()),
            Self::Quantity => is_quantity(text),
            Self::GatewayName => {
                is_dns_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase())
            }
            Self::Namespace => is_dns_label(text),
            Self::ObjectName => is_object_name(text),
            Self::FileName => is_file_name(text),
            Self::UrlPath => text.starts_with('/') && text.bytes().all(is_path_byte),
            Self::HttpsUrl => text.strip_prefix("https://").is_some_and(is_url_rest),
            Self::HttpUrl => is_http_url(text),
            Self::NatsUrl => text.split(',').all(is_nats_url),
            Self::Hostname => is_object_name(text.strip_prefix("*.").unwrap_or(text)),
            Self::Image => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()),
            Self::LabelKey => is_label_key(text),
            Self::LabelValue => text.is_empty() || is_label_name(text),
            Self::Line => !text.is_empty() && !text.contains(|c: char| c.is_ascii_control()),
        };
        (!is_right).then(|| {
            format!("not a {}", self.name()).replace("a a", "an a").replace("a https", "an https")
        })
    }

    /// The schema of a field of this kind.
    pub fn schema(self) -> Schema {
        let mut schema = json_schema!({
            "type": "string",
            "maxLength": self.length_max(),
            "pattern": self.pattern(),
            "x-headgate-kind": self.name(),
        });
        if matches!(self, Self::Size | Self::Quantity) {
            schema.remove("type");
            schema.insert("x-kubernetes-int-or-string".to_owned(), true.into());
        }
        schema
    }
}

fn problem_of<T, E: ToString>(parsed: Result<T, E>) -> Option<String> {
    parsed.err().map(|error| error.to_string())
}

fn is_quantity(text: &str) -> bool {
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
fn is_object_name(text: &str) -> bool {
    text.split('.').all(is_dns_label)
}

/// A DNS label (RFC 1123), lower case.
fn is_dns_label(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty()
        && text.bytes().all(is_allowed)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// What Kubernetes allows as a key in a Secret; `..` would leave the folder.
fn is_file_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed) && text != "." && !text.starts_with("..")
}

/// RFC 3986, section 3.3, with `%` of what is encoded.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/".contains(&byte)
}

fn is_http_url(text: &str) -> bool {
    text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).is_some_and(is_url_rest)
}

/// What follows the scheme: host, port, path and query; no user, no fragment, no white space.
fn is_url_rest(text: &str) -> bool {
    let end = text.find(['/', '?']).unwrap_or(text.len());
    let (authority, rest) = text.split_at(end);
    is_authority(authority) && rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

fn is_nats_url(text: &str) -> bool {
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

fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => {
            prefix.len() <= 253 && is_object_name(prefix) && is_label_name(name)
        }
        None => is_label_name(text),
    }
}

fn is_label_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_end = |end: Option<char>| end.is_some_and(|end| end.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(is_allowed)
        && is_end(text.chars().next())
        && is_end(text.chars().next_back())
}

/// For `schemars(schema_with = ..)` of a field that is a plain string.
macro_rules! schema_of {
    ($($name:ident => $kind:ident),+ $(,)?) => {$(
        #[doc = concat!("The schema of [`Kind::", stringify!($kind), "`].")]
        pub(crate) fn $name(_: &mut SchemaGenerator) -> Schema {
            Kind::$kind.schema()
        }
    )+};
}

schema_of! {
    object_name => ObjectName,
    file_name => FileName,
    url_path => UrlPath,
    https_url => HttpsUrl,
    http_url => HttpUrl,
    nats_url => NatsUrl,
    image => Image,
    label_key => LabelKey,
    label_value => LabelValue,
    line => Line,
}

/// A list of host names, at most 16.
pub(crate) fn hostnames(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "set",
        "items": Kind::Hostname.schema(),
    })
}

/// Labels to match, at most 32.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    map_of(Kind::LabelKey, &Kind::LabelValue.schema(), 32)
}

/// Annotations of an object, at most 32 of 4,096 characters.
pub(crate) fn annotations(_: &mut SchemaGenerator) -> Schema {
    map_of(Kind::LabelKey, &json_schema!({"type": "string", "maxLength": 4096}), 32)
}

/// Amounts of resources by name, at most 8.
pub(crate) fn quantities(_: &mut SchemaGenerator) -> Schema {
    map_of(Kind::LabelKey, &Kind::Quantity.schema(), 8)
}

fn map_of(keys: Kind, values: &Schema, properties_max: usize) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": properties_max,
        "additionalProperties": values,
        "x-headgate-keys": keys.name(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, string::string_regex};

    use super::*;

    /// Kinds of which the pattern is all there is to check, once the length is.
    const EXACT: [Kind; 8] = [
        Kind::GatewayName,
        Kind::Namespace,
        Kind::Quantity,
        Kind::ObjectName,
        Kind::Image,
        Kind::LabelValue,
        Kind::Line,
        Kind::UrlPath,
    ];

    proptest! {
        #[test]
        fn what_an_exact_pattern_takes_is_right(
            (kind, text) in prop::sample::select(&EXACT[..]).prop_flat_map(|kind| {
                let pattern = kind.pattern().trim_start_matches('^').trim_end_matches('$');
                (Just(kind), string_regex(pattern).unwrap())
            })
        ) {
            prop_assert_eq!(kind.problem(&text), None, "{:?} {:?}", kind, text);
        }

        #[test]
        fn no_text_panics(text in "(https?|nats)?(://)?[ -~é]{0,24}") {
            for kind in Kind::ALL {
                let _ = kind.problem(&text);
            }
        }
    }

    fn check(kind: Kind, right: &[&str], wrong: &[&str]) {
        for text in right {
            assert_eq!(kind.problem(text), None, "{kind:?} {text}");
        }
        for text in wrong {
            assert!(kind.problem(text).is_some(), "{kind:?} {text}");
        }
    }

    #[test]
    fn names_and_addresses_are_what_kubernetes_takes() {
        check(
            Kind::ObjectName,
            &["a", "chat-jwt", "a.b-c.d"],
            &["", "A", "-a", "a-", "a..b", "a_b"],
        );
        check(
            Kind::FileName,
            &["hmac", "tls.crt", "..data".trim_start_matches('.')],
            &["", ".", "..", "..data", "a/b"],
        );
        check(Kind::UrlPath, &["/", "/ws", "/a%20b"], &["", "ws", "/ws?x", "/ws#x", "/w s", "/é"]);
        check(
            Kind::Hostname,
            &["a.example.com", "*.example.com"],
            &["", "*", "a.*.com", "A.com", "a:80"],
        );
        check(Kind::Quantity, &["250m", "2", "0.5", "1Gi"], &["", "m", "1Q", "-1", "1.", "1 Gi"]);
        check(Kind::LabelKey, &["a", "example.com/a_b"], &["", "/a", "a/", "a/b/c", "-a"]);
    }

    #[test]
    fn a_url_has_a_host_and_no_user_or_fragment() {
        check(
            Kind::HttpsUrl,
            &["https://a", "https://a.example:8443/jwks?x=1", "https://[::1]:1/"],
            &[
                "http://a",
                "https://",
                "https://me:pw@a/",
                "https://a/#x",
                "https://a:0",
                "https://a:99999",
                "https://a b",
            ],
        );
        check(
            Kind::HttpUrl,
            &["http://otel:4317", "https://otel"],
            &["otel:4317", "grpc://otel", "http://:1"],
        );
        check(
            Kind::NatsUrl,
            &["nats://a:4222", "tls://a,nats://b:1"],
            &["", "nats://u:p@a", "nats://a,", "nats://a/x", "http://a"],
        );
    }
}
