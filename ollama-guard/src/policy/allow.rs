//! Exceptions: sources that may reach a guarded port on a guarded interface.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::{InterfaceName, ServiceName};

/// One `[[allow]]`. Its CIDR has no host bits set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allow {
    /// The sources.
    pub source: IpNet,
    /// Only packets that arrive on this interface; any guarded one if `None`.
    pub interface: Option<InterfaceName>,
    /// Only packets to this service, which exists; any if `None`.
    pub service: Option<ServiceName>,
    /// For people.
    pub comment: Option<String>,
}

const fn v4(octets: [u8; 4], prefix: u8) -> IpNet {
    let [a, b, c, d] = octets;
    IpNet::V4(Ipv4Net::new_assert(std::net::Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(first: u16, prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(std::net::Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), prefix))
}

/// What `profile = "lan"` allows: private (RFC 1918), unique-local (RFC 4193) and link-local
/// (RFC 3927, RFC 4291) sources.
pub const PRIVATE_SOURCES: [IpNet; 6] = [
    v4([10, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v4([169, 254, 0, 0], 16),
    v6(0xfc00, 7),
    v6(0xfe80, 10),
];
