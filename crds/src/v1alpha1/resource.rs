//! The custom resource itself, for who talks to the API server.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceValidation, JSONSchemaProps,
};
use kube::CustomResourceExt;

use super::RealtimeGateway;

/// The definition that a cluster needs before it takes a `RealtimeGateway`.
///
/// Not [`RealtimeGateway::crd`], which has no schema: the derive would make one of its own, with nullable fields that the
/// API conventions advise against. The one schema is made in [`crate::schema`].
pub fn crd() -> CustomResourceDefinition {
    let schema: JSONSchemaProps = serde_json::from_value(crate::schema::custom_resource())
        .expect("the schema has only keys that the API server knows; a test compares every one");
    let mut crd = RealtimeGateway::crd();
    for version in &mut crd.spec.versions {
        version.schema =
            Some(CustomResourceValidation { open_api_v3_schema: Some(schema.clone()) });
    }
    crd
}

/// The definition as YAML, for `kubectl apply`.
///
/// # Errors
///
/// Never: every value of it is one that YAML can say.
pub fn crd_yaml() -> Result<String, serde_saphyr::SerializeError> {
    let mut crd = serde_json::to_value(crd()).unwrap_or_default();
    // The typed schema has its bounds as floats and its fields by the alphabet. Ours is in the order of the manifest.
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = crate::schema::custom_resource();
    serde_saphyr::to_string(&crd)
}
