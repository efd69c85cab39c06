//! How the gateway is reached, and who may look into it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Install, Switch};
use crate::value::{Cidr, kind};

/// The Service in front of the pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Service {
    /// How it is reached.
    #[serde(rename = "type")]
    pub kind: ServiceKind,
    /// Its port.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// Its annotations, which many load balancers read.
    #[schemars(schema_with = "kind::annotations")]
    pub annotations: BTreeMap<String, String>,
}

/// How a Service is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceKind {
    /// From within the cluster.
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// By a port of every node.
    NodePort,
    /// By a load balancer of the cloud.
    LoadBalancer,
}

impl Default for Service {
    fn default() -> Self {
        Self { kind: ServiceKind::ClusterIp, port: 80, annotations: BTreeMap::new() }
    }
}

/// A way in from outside: an `HTTPRoute` where there are `parentRefs`, else an Ingress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The host names that lead here.
    #[serde(default)]
    #[schemars(schema_with = "kind::hostnames")]
    pub hostnames: Vec<String>,
    /// The class of the Ingress. Left out, the cluster's own. Not together with `parentRefs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "kind::object_name")]
    pub ingress_class_name: Option<String>,
    /// The Gateways (of the Gateway API, in the same namespace) that the `HTTPRoute` belongs to.
    #[serde(default)]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub parent_refs: Vec<ParentReference>,
}

/// A Gateway of the Gateway API, in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentReference {
    /// Its name.
    #[schemars(schema_with = "kind::object_name")]
    pub name: String,
    /// The name of one of its listeners. Left out: every listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "kind::object_name")]
    pub section_name: Option<String>,
}

/// What is installed for Prometheus and Grafana.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Monitoring {
    /// What tells the Prometheus operator to scrape the pods.
    pub service_monitor: Install,
    /// Alerts, each with what to do.
    pub prometheus_rule: Install,
    /// A `ConfigMap` that Grafana's sidecar reads.
    pub dashboard: Install,
}

impl Default for Monitoring {
    fn default() -> Self {
        Self {
            service_monitor: Install::Auto,
            prometheus_rule: Install::Auto,
            dashboard: Install::Auto,
        }
    }
}

/// Who may reach the internal port, besides the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct NetworkPolicy {
    /// Whether there is a `NetworkPolicy`.
    pub mode: Switch,
    /// Who else reaches the internal port: Prometheus, and the backends that publish.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub internal_from: Vec<NetworkPolicyPeer>,
}

impl Default for NetworkPolicy {
    fn default() -> Self {
        Self { mode: Switch::Enabled, internal_from: Vec::new() }
    }
}

/// Pods or addresses that may connect. With both selectors, both must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct NetworkPolicyPeer {
    /// Pods with these labels, of this namespace or of those that `namespaceSelector` names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// Namespaces with these labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Addresses. Not together with a selector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_block: Option<IpBlock>,
}

/// Labels that must all be there; none at all match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct LabelSelector {
    /// The labels.
    #[schemars(schema_with = "kind::labels")]
    pub match_labels: BTreeMap<String, String>,
}

/// A network, but for parts of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IpBlock {
    /// The network.
    pub cidr: Cidr,
    /// The parts of it that may not.
    #[serde(default)]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub except: Vec<Cidr>,
}
