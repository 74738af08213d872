//! What sort of device an interface is.

use std::fmt;

use crate::netlink::attributes::{Attributes, text};

/// `IFLA_INFO_KIND`, in the kernel's words; a NIC has none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No kind: a NIC's driver, or a virtual device without one of its own.
    Physical,
    /// `lo`, under whatever name (`IFF_LOOPBACK`).
    Loopback,
    /// A bridge.
    Bridge,
    /// A bond.
    Bond,
    /// A team.
    Team,
    /// One end of a veth pair.
    Veth,
    /// A layer-3 tunnel of a program (`OpenVPN`, tailscaled, wireguard-go).
    Tun,
    /// A layer-2 tunnel of a program (QEMU, `OpenVPN`).
    Tap,
    /// In-kernel `WireGuard`.
    Wireguard,
    /// 802.1Q or 802.1ad on top of another interface.
    Vlan,
    /// A second MAC address on another interface.
    Macvlan,
    /// A macvlan whose traffic goes to a program.
    Macvtap,
    /// A second IP address holder on another interface.
    Ipvlan,
    /// An ipvlan whose traffic goes to a program.
    Ipvtap,
    /// A routing domain.
    Vrf,
    /// One end of a netkit pair.
    Netkit,
    /// Sends into nothing, receives nothing.
    Dummy,
    /// Where `tc` redirects traffic to shape it.
    Ifb,
    /// Decapsulates packets that reached this host: `gre`, `ipip`, `sit`, `vxlan`, …
    Tunnel(String),
    /// Anything else.
    Other(String),
}

/// `include/uapi/linux/if_link.h`, `include/uapi/linux/if_tun.h`.
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_TUN_TYPE: u16 = 3;
const IFLA_TUN_VNET_HDR: u16 = 5;
const IFF_TAP: u8 = 2;

const TUNNELS: [&str; 19] = [
    "amt",
    "bareudp",
    "erspan",
    "geneve",
    "gre",
    "gretap",
    "gtp",
    "ip6erspan",
    "ip6gre",
    "ip6gretap",
    "ip6tnl",
    "ipip",
    "ovpn",
    "ppp",
    "sit",
    "vti",
    "vti6",
    "vxlan",
    "xfrm",
];

impl Kind {
    /// From the payload of `IFLA_LINKINFO`. `ethernet`: does it have an Ethernet header?
    pub(super) fn parse(info: &[u8], ethernet: bool) -> Self {
        let info = Attributes(info);
        let Some(kind) = info.get(IFLA_INFO_KIND).map(text) else { return Self::Physical };
        if kind == b"tun" {
            let data = Attributes(info.get(IFLA_INFO_DATA).unwrap_or_default());
            // Kernels before 4.20 do not say which; the hardware type does, unless a program changed it.
            let tap = data.get(IFLA_TUN_TYPE).and_then(|t| t.first()).map_or(ethernet, |&t| t == IFF_TAP);
            return if tap { Self::Tap } else { Self::Tun };
        }
        Self::from_word(&String::from_utf8_lossy(kind))
    }

    /// From the same payload: do a tap's frames carry virtio's header?
    pub(super) fn virtio(info: &[u8]) -> bool {
        let info = Attributes(info);
        let data = Attributes(info.get(IFLA_INFO_DATA).unwrap_or_default());
        info.get(IFLA_INFO_KIND).map(text) == Some(b"tun")
            && data.get(IFLA_TUN_VNET_HDR).and_then(|header| header.first()).is_some_and(|&header| header != 0)
    }

    fn from_word(word: &str) -> Self {
        match word {
            "bridge" => Self::Bridge,
            "bond" => Self::Bond,
            "team" => Self::Team,
            "veth" => Self::Veth,
            "wireguard" => Self::Wireguard,
            "vlan" => Self::Vlan,
            "macvlan" => Self::Macvlan,
            "macvtap" => Self::Macvtap,
            "ipvlan" => Self::Ipvlan,
            "ipvtap" => Self::Ipvtap,
            "vrf" => Self::Vrf,
            "netkit" => Self::Netkit,
            "dummy" => Self::Dummy,
            "ifb" => Self::Ifb,
            _ if TUNNELS.contains(&word) => Self::Tunnel(word.to_owned()),
            _ => Self::Other(word.to_owned()),
        }
    }

    /// The kernel's word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Physical => "physical",
            Self::Loopback => "loopback",
            Self::Bridge => "bridge",
            Self::Bond => "bond",
            Self::Team => "team",
            Self::Veth => "veth",
            Self::Tun => "tun",
            Self::Tap => "tap",
            Self::Wireguard => "wireguard",
            Self::Vlan => "vlan",
            Self::Macvlan => "macvlan",
            Self::Macvtap => "macvtap",
            Self::Ipvlan => "ipvlan",
            Self::Ipvtap => "ipvtap",
            Self::Vrf => "vrf",
            Self::Netkit => "netkit",
            Self::Dummy => "dummy",
            Self::Ifb => "ifb",
            Self::Tunnel(word) | Self::Other(word) => word,
        }
    }

    /// As a master, takes every data frame of its members before the IP stack sees it (its `rx_handler`
    /// consumes it or sends it round again as received by the master), so that the member is not judged.
    /// Bridge, bond, team, and: Open vSwitch (`ovs-system`; what is for the host comes out of its internal
    /// ports), and a NIC that is master of another, as Hyper-V's `netvsc` and `net_failover` are of their
    /// accelerated twin. Not VRF: there the slave's packets are the slave's.
    pub fn gathers(&self) -> bool {
        match self {
            Self::Bridge | Self::Bond | Self::Team | Self::Physical => true,
            Self::Other(word) => word == "openvswitch",
            _ => false,
        }
    }

    /// As a master, leaves frames to link-local addresses (01:80:c2:00:00:00 to 0f) to its members: they go up as received
    /// by the member. A bridge (`br_handle_frame`, `net/bridge/br_input.c`) and a team (`team_handle_frame`) do unless they
    /// forward them, a bond (`bond_handle_frame`) on an inactive member.
    pub const fn leaves_link_local(&self) -> bool {
        matches!(self, Self::Bridge | Self::Bond | Self::Team)
    }

    /// Made by a container engine or a hypervisor, which may shape its traffic by an ingress qdisc: the bandwidth plugin of
    /// CNI and libvirt add one at once, and fail if one is there.
    pub const fn is_shaped_by_its_maker(&self) -> bool {
        matches!(self, Self::Veth | Self::Tap)
    }

    /// One end of a pair: `IFLA_LINK` names the other end, not a device below.
    pub const fn is_pair(&self) -> bool {
        matches!(self, Self::Veth | Self::Netkit)
    }

    /// Created here by container engines and moved into a container's namespace at once.
    pub const fn may_move_away(&self) -> bool {
        matches!(self, Self::Veth | Self::Netkit | Self::Macvlan | Self::Macvtap | Self::Ipvlan | Self::Ipvtap)
    }

    /// Picks its own frames out of those that arrive on the device below it. Tunnels do not: theirs are
    /// addressed to this host and decapsulated by the IP stack.
    pub const fn shares_lower(&self) -> bool {
        matches!(self, Self::Vlan | Self::Macvlan | Self::Macvtap | Self::Ipvlan | Self::Ipvtap | Self::Other(_))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attributes::push_attribute;

    fn info(kind: &[u8], data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_attribute(&mut bytes, IFLA_INFO_KIND, kind);
        push_attribute(&mut bytes, IFLA_INFO_DATA, data);
        bytes
    }

    #[test]
    fn kinds_come_from_the_kernels_words() {
        assert_eq!(Kind::parse(&[], true), Kind::Physical);
        assert_eq!(Kind::parse(&info(b"bridge\0", &[]), true), Kind::Bridge);
        assert_eq!(Kind::parse(&info(b"vxlan", &[]), true), Kind::Tunnel("vxlan".to_owned()));
        assert_eq!(Kind::parse(&info(b"dsa\0", &[]), true), Kind::Other("dsa".to_owned()));
    }

    /// What people read is what `ip -details link` calls it.
    #[test]
    fn a_kind_goes_by_the_kernels_word() {
        let other = ["bridge", "bond", "team", "veth", "wireguard", "vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"];
        for word in other.into_iter().chain(["vrf", "netkit", "dummy", "ifb", "hsr"]).chain(TUNNELS) {
            let kind = Kind::parse(&info(word.as_bytes(), &[]), true);
            assert_eq!(format!("{kind:>11}|"), format!("{word:>11}|"));
            assert_eq!(matches!(kind, Kind::Other(_)), word == "hsr", "{kind:?}");
            assert_eq!(matches!(kind, Kind::Tunnel(_)), TUNNELS.contains(&word), "{kind:?}");
        }
        let own = [Kind::Physical, Kind::Loopback, Kind::Tun, Kind::Tap];
        assert_eq!(own.map(|kind| kind.to_string()), ["physical", "loopback", "tun", "tap"]);
    }

    #[test]
    fn tun_and_tap_are_told_apart_by_type_then_by_hardware() {
        let mut data = Vec::new();
        push_attribute(&mut data, IFLA_TUN_TYPE, &[1]);
        assert_eq!(Kind::parse(&info(b"tun\0", &data), true), Kind::Tun);
        assert_eq!(Kind::parse(&info(b"tun\0", &[]), true), Kind::Tap);
        assert_eq!(Kind::parse(&info(b"tun\0", &[]), false), Kind::Tun);
    }

    #[test]
    fn virtio_s_header_is_the_kernel_s_word() {
        let mut data = Vec::new();
        push_attribute(&mut data, IFLA_TUN_VNET_HDR, &[1]);
        assert!(Kind::virtio(&info(b"tun\0", &data)));
        assert!(!Kind::virtio(&info(b"tun\0", &[])) && !Kind::virtio(&info(b"veth\0", &data)) && !Kind::virtio(&[]));
    }
}
