//! The interfaces of the current network namespace, as the kernel describes them (rtnetlink), and the stream
//! of their changes. Says what is there; [`crate::plan`] says what to do about it.

mod elsewhere;
mod events;
pub mod features;
mod kind;
mod message;
mod name;
mod namespaces;
mod read;
mod routes;
mod sysfs;
mod uses;
mod vpn;

use std::collections::{BTreeMap, BTreeSet};

pub use events::LinkEvents;
pub use kind::Kind;
pub use namespaces::Elsewhere;
pub use routes::Routes;
pub use uses::Use;

pub use crate::netlink::NetlinkError;

use crate::policy::InterfaceName;

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
pub struct Link {
    /// The kernel's number for it, unique while it exists, reused afterwards.
    pub index: u32,
    /// Its name. If [`Link::raw_name`] is set, only a rendering of it.
    pub name: InterfaceName,
    /// The kernel's bytes, where the name is not one the policy could spell: such a link matches no pattern.
    pub raw_name: Option<Box<[u8]>>,
    /// What sort of device it is.
    pub kind: Kind,
    /// What its frames begin with.
    pub hardware: Hardware,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// Index of the bridge, bond, team, VRF, … that it belongs to.
    pub master: Option<u32>,
    /// Index of the device it sits on (VLAN, macvlan, tunnel) or is paired with (veth), if in this namespace.
    pub lower: Option<u32>,
    /// Where that device is, if in another network namespace.
    pub elsewhere: Option<Elsewhere>,
    /// A tap whose frames carry virtio's header (`IFF_VNET_HDR`): hypervisors ask for it, VPNs do not.
    pub virtio: bool,
    /// What arrives there is routed onward if it is for another machine (`net.ipv4.conf.NAME.forwarding`, or IPv6's).
    pub forwards: bool,
    /// What this host uses it for, by its routing tables and addresses.
    pub uses: BTreeSet<Use>,
    /// Hardware address; empty for most layer-3 devices.
    pub address: Box<[u8]>,
    /// MTU and its limits.
    pub mtu: Mtu,
    /// Queues allocated.
    pub queues: Queues,
    /// Has a parent device (PCI, USB, virtio, …).
    pub physical: bool,
    /// Its driver says that it takes frames of several buffers in XDP (`NETDEV_XDP_ACT_RX_SG`, kernel 6.3): asked of NICs only.
    pub takes_fragments: bool,
    /// Other names that user space knows it by (`ip link property`, udev), as far as a configuration could spell them.
    pub other_names: Vec<InterfaceName>,
    /// Has an ipvlan child in another namespace, as far as this one knows of that.
    pub ipvlan_elsewhere: bool,
    /// XDP programs attached, at most one a mode.
    pub xdp: Vec<AttachedXdp>,
}

/// From `ARPHRD_*` (`include/uapi/linux/if_arp.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hardware {
    /// Frames begin with an Ethernet header.
    Ethernet,
    /// As on `lo`: frames begin with an Ethernet header of zeroes.
    Loopback,
    /// No Ethernet header: tun, `WireGuard`, ipip, gre, sit, ppp, raw IP, …
    Other(u16),
}

/// MTU in bytes. Zero as maximum means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mtu {
    /// In force.
    pub current: u32,
    /// Least that may be set.
    pub min: Option<u32>,
    /// Most that may be set.
    pub max: Option<u32>,
}

/// Numbers of queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// For receiving.
    pub rx: Option<u32>,
    /// For sending.
    pub tx: Option<u32>,
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachedXdp {
    /// Where it runs.
    pub mode: XdpMode,
    /// The kernel's number for the program.
    pub program_id: u32,
}

/// Where an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the network core, after an `skb` was built.
    Generic,
    /// On the NIC.
    Offload,
}

/// All interfaces of a network namespace, by index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links(BTreeMap<u32, Link>);

impl Links {
    /// In order of their index.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.0.values()
    }

    /// The interface with this index.
    pub fn get(&self, index: u32) -> Option<&Link> {
        self.0.get(&index)
    }

    /// The interface with this name.
    pub fn by_name(&self, name: &InterfaceName) -> Option<&Link> {
        self.iter().find(|link| link.raw_name.is_none() && link.name == *name)
    }

    /// What belongs to this bridge, bond, team, VRF, ….
    pub fn members_of(&self, master: u32) -> impl Iterator<Item = &Link> {
        self.iter().filter(move |link| link.master == Some(master))
    }

    /// What sits on this interface: VLANs, macvlans, some tunnels, …. Not the other end of a pair, and not what
    /// was moved to another namespace: nothing here tells of that.
    pub fn stacked_on(&self, lower: u32) -> impl Iterator<Item = &Link> {
        self.iter().filter(move |link| link.lower == Some(lower) && !link.kind.is_pair())
    }

    /// Shares its frames with ipvlan children, wherever they are.
    pub fn has_ipvlan(&self, link: &Link) -> bool {
        let is_ipvlan = |top: &Link| matches!(top.kind, Kind::Ipvlan | Kind::Ipvtap);
        link.ipvlan_elsewhere || self.stacked_on(link.index).any(is_ipvlan)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Not even `lo`.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Link> for Links {
    fn from_iter<T: IntoIterator<Item = Link>>(links: T) -> Self {
        Self(links.into_iter().map(|link| (link.index, link)).collect())
    }
}

/// For the fuzzer: bytes as the kernel might send them, one message or several.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    let _ = message::parse(bytes);
    for message in crate::netlink::attributes::Messages(bytes) {
        let _ = message::parse(message.body);
    }
}
