//! The pods: how many, and where. Small types of our own instead of a pod template, which could undo what is safe.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::value::{
    Duration,
    kind::{self, Kind},
};

/// Scaling by connections. It needs nothing else installed: the operator serves the metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Autoscaling {
    /// The fewest replicas. Not above `maxReplicas`.
    #[serde(default = "Autoscaling::min_replicas")]
    #[schemars(range(min = 1, max = 1_000))]
    pub min_replicas: u32,
    /// The most replicas.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_replicas: u32,
    /// How full the replicas should be: connections in percent of `maxConnections`.
    #[serde(default = "Autoscaling::target_utilization")]
    #[schemars(range(min = 10, max = 95))]
    pub target_utilization: u32,
    /// For so long the load must have been lower before there are fewer replicas.
    #[serde(default = "Autoscaling::scale_down_stabilization")]
    #[schemars(extend("x-headgate-range" = ["0s", "1h"]))]
    pub scale_down_stabilization: Duration,
}

impl Autoscaling {
    fn min_replicas() -> u32 {
        2
    }

    fn target_utilization() -> u32 {
        70
    }

    fn scale_down_stabilization() -> Duration {
        Duration::from_secs(600)
    }
}

/// The pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Deployment {
    /// The gateway's image. Left out, the one of the operator's release.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "kind::image")]
    pub image: Option<String>,
    /// The Secrets with which the image is pulled.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub image_pull_secrets: Vec<LocalReference>,
    /// CPU and memory of a pod. Left out, the operator's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The labels a node must have.
    #[schemars(schema_with = "kind::labels")]
    pub node_selector: BTreeMap<String, String>,
    /// The taints of nodes that don't matter.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Vec<Toleration>,
    /// Over what the pods are spread, where that is possible.
    pub topology_spread: TopologySpread,
}

/// An object of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalReference {
    /// Its name.
    #[schemars(schema_with = "kind::object_name")]
    pub name: String,
}

/// CPU and memory of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Resources {
    /// What it is sure of, such as `cpu: 250m` and `memory: 256Mi`.
    #[schemars(schema_with = "kind::quantities")]
    pub requests: BTreeMap<String, Quantity>,
    /// What it may use at most. A limit of CPU sets the number of workers.
    #[schemars(schema_with = "kind::quantities")]
    pub limits: BTreeMap<String, Quantity>,
}

/// An amount of a resource, as Kubernetes writes it. It is only handed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Quantity {
    /// A whole number without a unit.
    Integer(u64),
    /// A number with a unit.
    Text(String),
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Kind::Quantity.schema()
    }
}

/// A taint of nodes that doesn't matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Toleration {
    /// The taint's key. Left out, with `operator: Exists`: every taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "kind::label_key")]
    pub key: Option<String>,
    /// How the taint's value is compared.
    #[serde(default)]
    pub operator: TolerationOperator,
    /// The taint's value, with `operator: Equal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "kind::label_value")]
    pub value: Option<String>,
    /// The taint's effect. Left out: every effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// For how many seconds a taint `NoExecute` is tolerated. Left out: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 86_400))]
    pub toleration_seconds: Option<u32>,
}

/// How a taint's value is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// It must be the same.
    #[default]
    Equal,
    /// Any will do.
    Exists,
}

/// What a taint does to pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// New ones don't come.
    NoSchedule,
    /// New ones come only if there is no other place.
    PreferNoSchedule,
    /// Those there have to go.
    NoExecute,
}

/// Over what the pods are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TopologySpread {
    /// Zones, and nodes within them.
    #[default]
    Zone,
    /// Nodes.
    Node,
    /// Nothing.
    Disabled,
}
