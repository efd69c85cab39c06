//! The `RealtimeGateway` resource.
//!
//! One type, [`v1alpha1::RealtimeGatewaySpec`], is the custom resource's schema, the gateway's configuration and the
//! source of `docs/configuration.md`. Without the feature `kube` this crate compiles no Kubernetes client: the
//! gateway reads the same manifest that the API server takes, and [`manifest`] refuses what the API server would.

pub mod value;

pub mod v1alpha1;

pub mod rules;

pub mod schema;

pub mod manifest;

pub use schema::schema;
