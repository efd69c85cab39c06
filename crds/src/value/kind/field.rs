//! The schemas of fields that are plain strings, or lists and maps of them, for `schemars(schema_with = ..)`.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::Kind;

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
