//! Values that parse themselves, print themselves and know their schema.

use std::{borrow::Cow, fmt, str::FromStr, time};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A text that is not what a field takes; says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not {1}")]
pub struct Invalid(String, &'static str);

const DURATION: &str = "a duration like 30s, 1m30s or 500ms (GEP-2257)";
const SIZE: &str = "a size in bytes like 65536, 512Ki, 1Mi or 2M";
const CIDR: &str = "an address or a CIDR like 10.0.0.0/8 or fd00::/8";
const ORIGIN: &str = "an origin like https://app.example.com or https://*.example.com:8443";
const PATTERN: &str = "a channel pattern like room.*, public.** or @user";

/// A span of time as the Gateway API writes it (GEP-2257), at most 99,999 of each unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(time::Duration);

impl Duration {
    /// A number of seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(time::Duration::from_secs(seconds))
    }

    /// The span.
    pub const fn get(self) -> time::Duration {
        self.0
    }

    /// The span in milliseconds.
    pub fn millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl FromStr for Duration {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid(text.to_owned(), DURATION);
        let mut rest = text;
        let mut millis = 0;
        let mut parts = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            let (unit, tail) =
                tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
            let unit = match unit {
                "h" => 3_600_000,
                "m" => 60_000,
                "s" => 1_000,
                "ms" => 1,
                _ => return Err(invalid()),
            };
            if !(1..=5).contains(&digits) {
                return Err(invalid());
            }
            millis += number.parse::<u64>().map_err(|_| invalid())? * unit;
            parts += 1;
            rest = tail;
        }
        if !(1..=4).contains(&parts) {
            return Err(invalid());
        }
        Ok(Self(time::Duration::from_millis(millis)))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = self.millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            let count = millis / size;
            if count > 0 {
                write!(f, "{count}{unit}")?;
                millis -= count * size;
            }
        }
        Ok(())
    }
}

/// A number of bytes: an integer, or a quantity as Kubernetes writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// So many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

const SIZE_UNITS: [(&str, u64); 8] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

impl FromStr for Size {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid(text.to_owned(), SIZE);
        let (number, unit) = SIZE_UNITS
            .iter()
            .find_map(|(unit, size)| text.strip_suffix(unit).map(|number| (number, *size)))
            .unwrap_or((text, 1));
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        let number: u64 = number.parse().map_err(|_| invalid())?;
        number.checked_mul(unit).map(Self).ok_or_else(invalid)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)] {
            if self.0 > 0 && self.0.is_multiple_of(size) {
                return write!(f, "{}{unit}", self.0 / size);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// A network; an address alone is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr(pub ipnet::IpNet);

impl FromStr for Cidr {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let address = || text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from).ok();
        let network = text.parse().ok().or_else(address);
        network.map(Self).ok_or_else(|| Invalid(text.to_owned(), CIDR))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Origins of pages: an exact scheme, host and port (RFC 6454), where `*` is one label of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern(String);

impl OriginPattern {
    /// Whether a page of this origin is meant; `origin` is the header's value.
    pub fn matches(&self, origin: &str) -> bool {
        if origin == "null" || self.0 == "null" {
            return origin == self.0;
        }
        let (Some((scheme, host)), Some((my_scheme, my_host))) =
            (origin.split_once("://"), self.0.split_once("://"))
        else {
            return false;
        };
        let mut labels = host.split('.');
        let mut mine = my_host.split('.');
        scheme.eq_ignore_ascii_case(my_scheme)
            && loop {
                match (labels.next(), mine.next()) {
                    (None, None) => break true,
                    (Some(label), Some(mine)) => {
                        let is_label =
                            !label.is_empty() && !label.contains([':', '/', '@', '?', '#']);
                        if !(mine == "*" && is_label || mine.eq_ignore_ascii_case(label)) {
                            break false;
                        }
                    }
                    _ => break false,
                }
            }
    }
}

impl FromStr for OriginPattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid(text.to_owned(), ORIGIN);
        if text == "null" {
            return Ok(Self(text.to_owned()));
        }
        let (scheme, authority) = text.split_once("://").ok_or_else(invalid)?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !authority.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let is_host = !host.is_empty()
            && (host.starts_with('[') || host.split('.').all(is_label))
            && !host.contains(['/', '@', '?', '#']);
        let is_scheme = !scheme.is_empty()
            && scheme.bytes().all(|it| it.is_ascii_alphanumeric() || b"+-.".contains(&it));
        let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|it| it > 0));
        if text.len() <= 253 && is_scheme && is_host && is_port {
            Ok(Self(text.to_owned()))
        } else {
            Err(invalid())
        }
    }
}

fn is_label(label: &str) -> bool {
    label == "*"
        || !label.is_empty()
            && label.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Channels: `*` is one part between dots, `**` at the end is one or more parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelPattern(String);

impl ChannelPattern {
    /// The pattern that every channel matches.
    pub fn any() -> Self {
        Self("**".to_owned())
    }

    /// Whether a channel is meant.
    pub fn matches(&self, channel: &str) -> bool {
        let mut parts = channel.split('.');
        for mine in self.0.split('.') {
            match (mine, parts.next()) {
                ("**", Some(first)) => return self.0.len() > 2 || !first.starts_with('@'),
                (_, None) => return false,
                ("*", Some(part)) => {
                    if part.starts_with('@') {
                        return false;
                    }
                }
                (mine, Some(part)) => {
                    if mine != part {
                        return false;
                    }
                }
            }
        }
        parts.next().is_none()
    }
}

impl FromStr for ChannelPattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parts: Vec<_> = text.split('.').collect();
        let is_part = |(at, part): (usize, &&str)| match *part {
            "" => false,
            "*" => true,
            "**" => at + 1 == parts.len(),
            part => !part.contains('*') && !part.chars().any(char::is_control),
        };
        let is_own = !text.starts_with('@') || matches!(text, "@user" | "@all");
        if text.len() <= 255 && is_own && parts.iter().enumerate().all(is_part) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid(text.to_owned(), PATTERN))
        }
    }
}

impl fmt::Display for ChannelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Serde and schema of a value that is written as a string.
macro_rules! text_value {
    ($type:ident, $schema:tt) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Scalar::deserialize(deserializer)?;
                text.as_text().parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

/// A string, or an integer where a size is written without quotes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Number(u64),
}

impl Scalar {
    fn as_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => text.into(),
            Self::Number(number) => number.to_string().into(),
        }
    }
}

text_value!(Duration, {
    "type": "string", "maxLength": 32, "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"
});
text_value!(Size, {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "x-kubernetes-int-or-string": true, "maxLength": 20
});
text_value!(Cidr, {"type": "string", "maxLength": 43});
text_value!(OriginPattern, {"type": "string", "maxLength": 253});
text_value!(ChannelPattern, {"type": "string", "minLength": 1, "maxLength": 255});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_those_of_gep_2257() {
        let check = |text: &str, millis: Option<u64>| {
            assert_eq!(text.parse::<Duration>().ok().map(Duration::millis), millis, "{text}");
        };
        check("1m30s", Some(90_000));
        check("500ms", Some(500));
        check("0s", Some(0));
        for wrong in ["", "1", "s", "1d", "-1s", "1.5s", "100000s", "1h1h1h1h1h", "1 s"] {
            check(wrong, None);
        }
    }

    #[test]
    fn sizes_are_integers_or_quantities() {
        let check = |text: &str, bytes: Option<u64>| {
            assert_eq!(text.parse::<Size>().ok().map(Size::bytes), bytes, "{text}");
        };
        check("512Ki", Some(524_288));
        check("2M", Some(2_000_000));
        check("7", Some(7));
        for wrong in ["", "Ki", "1.5Ki", "-1", "1KB", "99999999999999999999"] {
            check(wrong, None);
        }
    }

    #[test]
    fn an_origin_matches_exactly_but_for_one_label() {
        let check = |pattern: &str, origin: &str, matches| {
            assert_eq!(
                pattern.parse::<OriginPattern>().unwrap().matches(origin),
                matches,
                "{pattern} {origin}"
            );
        };
        check("https://app.example.com", "https://app.example.com", true);
        check("https://app.example.com", "https://APP.example.com", true);
        check("https://app.example.com", "http://app.example.com", false);
        check("https://app.example.com", "https://app.example.com:8443", false);
        check("https://app.example.com", "https://app.example.com.evil", false);
        check("https://*.example.com", "https://a.example.com", true);
        check("https://*.example.com", "https://a.b.example.com", false);
        check("https://*.example.com", "https://example.com", false);
        check("https://*.example.com", "https://.example.com", false);
        check("http://localhost:8080", "http://localhost:8080", true);
        check("https://a.example.com", "null", false);
        check("null", "null", true);
    }

    #[test]
    fn patterns_match_parts() {
        let check = |pattern: &str, channel: &str, matches| {
            let pattern: ChannelPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(channel), matches, "{pattern} {channel}");
        };
        check("room.*", "room.1", true);
        check("room.*", "room", false);
        check("room.*", "room.1.2", false);
        check("room.**", "room.1.2", true);
        check("room.**", "room", false);
        check("**", "a.b", true);
        check("**", "@user", false);
        check("*", "@all", false);
        check("@user", "@user", true);
        for wrong in ["", "a..b", "**.a", "a*", ".a", "@other"] {
            assert!(wrong.parse::<ChannelPattern>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(millis in 0_u64..3_600_000_000, bytes in 0..u64::MAX / 2) {
            let duration = Duration(time::Duration::from_millis(millis));
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
            prop_assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }
    }
}
