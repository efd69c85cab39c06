//! The `RealtimeGateway` resource.
//!
//! One type, [`v1alpha1::RealtimeGatewaySpec`], is the custom resource's schema, the gateway's configuration and the
//! source of `docs/configuration.md`. Without the feature `kube` this crate compiles no Kubernetes client: the
//! gateway reads the same manifest that the API server takes.

pub mod value;

pub mod v1alpha1;

pub mod rules;

pub mod schema;

pub use schema::schema;
