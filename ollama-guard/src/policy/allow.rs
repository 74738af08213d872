//! Exceptions: sources that may reach a guarded port on a guarded interface.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::{InterfaceName, ServiceName};

/// One `[[allow]]`. Its CIDR has no host bits set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allow {
    /// The sources.
    pub source: IpNet,
    /// Only packets that arrive on this interface; any guarded one or container bridge if `None`.
    pub interface: Option<InterfaceName>,
    /// Only packets to this service, which exists; any if `None`.
    pub service: Option<ServiceName>,
    /// For people.
    pub comment: Option<String>,
    /// It comes with `profile = "lan"`, which is about the LAN: it opens guarded interfaces and no container bridge, whose
    /// addresses are private ones too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub implied: bool,
}

/// What `profile = "lan"` allows: private (RFC 1918), unique-local (RFC 4193) and link-local
/// (RFC 3927, RFC 4291) sources.
pub const PRIVATE_SOURCES: [IpNet; 6] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10)),
];
