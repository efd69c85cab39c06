//! The types of the `RealtimeGateway` resource: schema, defaults, bounds and rules.
//!
//! One type is the resource's schema and the gateway's configuration, so that the file that is
//! applied to a cluster is the file that runs on a laptop.

pub mod manifest;
mod rules;
pub mod v1alpha1;
pub mod value;

/// The JSON Schema of a manifest's `spec`.
pub fn schema() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|it| {
        it.inline_subschemas = true;
    });
    settings.into_generator().into_root_schema_for::<v1alpha1::RealtimeGatewaySpec>().to_value()
}
