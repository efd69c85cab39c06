//! The custom resource itself, for who talks to the API server.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{KIND, RealtimeGateway};

/// The schema is made once, in [`crate::schema`], in the form the API server takes.
impl JsonSchema for RealtimeGateway {
    fn schema_name() -> Cow<'static, str> {
        KIND.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Schema::try_from(crate::schema::custom_resource()).unwrap_or_default()
    }
}
