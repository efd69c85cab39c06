//! The kinds of text in a manifest: for each its pattern for the API server, its length, its check and what is right.
//!
//! The pattern is the coarse net (the API server has no more); the check decides. Whatever the check takes, the pattern
//! takes too.

mod field;
pub(crate) use field::*;

mod grammar;

use schemars::{Schema, json_schema};

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

    const fn article(self) -> &'static str {
        match self {
            Self::HttpsUrl | Self::Image | Self::Origin => "an",
            _ => "a",
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
            Self::Quantity => grammar::is_quantity(text),
            Self::GatewayName => {
                grammar::is_dns_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase())
            }
            Self::Namespace => grammar::is_dns_label(text),
            Self::ObjectName => grammar::is_object_name(text),
            Self::FileName => grammar::is_file_name(text),
            Self::UrlPath => text.starts_with('/') && text.bytes().all(grammar::is_path_byte),
            Self::HttpsUrl => text.strip_prefix("https://").is_some_and(grammar::is_url_rest),
            Self::HttpUrl => grammar::is_http_url(text),
            Self::NatsUrl if text.contains('@') => {
                return Some(
                    "has a user, password or token in it, which belong in the Secret that credentialsSecretName names"
                        .to_owned(),
                );
            }
            Self::NatsUrl => text.split(',').all(grammar::is_nats_url),
            Self::Hostname => grammar::is_object_name(text.strip_prefix("*.").unwrap_or(text)),
            Self::Image => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()),
            Self::LabelKey => grammar::is_label_key(text),
            Self::LabelValue => text.is_empty() || grammar::is_label_name(text),
            Self::Line => !text.is_empty() && !text.contains(|c: char| c.is_ascii_control()),
        };
        (!is_right).then(|| format!("not {} {}", self.article(), self.name()))
    }

    /// Whether a text that is wrong may hold a secret: a key where a file's name belongs, or a URL with a password.
    pub fn may_hold_secret(self, text: &str) -> bool {
        match self {
            Self::FileName => true,
            Self::HttpsUrl | Self::HttpUrl | Self::NatsUrl => text.contains('@'),
            _ => false,
        }
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

#[cfg(test)]
mod tests;
