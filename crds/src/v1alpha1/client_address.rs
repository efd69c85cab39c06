//! Where a client's address is read from: what limits per address and logs go by.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::Cidr;

/// Where a client's address is read from. IPv6 addresses count per /64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ClientAddress {
    /// What says who the client is.
    pub from: ClientAddressFrom,
    /// The networks of the proxies that are believed. The client is the rightmost hop that is not one of them.
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub trusted_proxies: Vec<Cidr>,
}

/// What says who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClientAddressFrom {
    /// The address of the TCP connection.
    Socket,
    /// The header `X-Forwarded-For` of a trusted proxy.
    XForwardedFor,
    /// The PROXY header (versions 1 and 2) of a trusted proxy; that of a stranger is a 400.
    ProxyProtocol,
}

impl Default for ClientAddress {
    fn default() -> Self {
        Self { from: ClientAddressFrom::Socket, trusted_proxies: Vec::new() }
    }
}
