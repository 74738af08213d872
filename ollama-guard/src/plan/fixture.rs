//! Links and policies for the tests of this module.

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use proptest::prelude::*;

use crate::links::{Elsewhere, Hardware, Kind, Link, Links, Mtu, Queues, Use};
use crate::policy::{
    AttachPolicy, ContainerAccess, Forwarded, Layers, Mode, Paths, Policy, Profile, Protocol, Service, SourceLimits,
};

/// The defaults that matter for classes.
pub(super) fn policy() -> Policy {
    let patterns = |all: &[&str]| all.iter().map(|pattern| pattern.parse().unwrap()).collect();
    Policy {
        profile: Profile::Vpn,
        mode: Mode::Enforce,
        layers: Layers { wall: true, seatbelt: true },
        ollama: true,
        services: vec![Service {
            name: "ollama".parse().unwrap(),
            ports: NonZeroU16::new(11434).into_iter().collect(),
            protocols: BTreeSet::from([Protocol::Tcp]),
            insist: false,
        }],
        trusted: patterns(&["lo", "tailscale0", "wg0"]),
        containers: patterns(&["docker0", "br-*", "podman*", "virbr*"]),
        container_access: ContainerAccess::Deny,
        count_loopback: false,
        forwarded: Forwarded::Drop,
        allow: Vec::new(),
        attach: AttachPolicy::default(),
        sources: SourceLimits { tracked: 65536, exported: 100 },
        metrics: None,
        web_config: None,
        paths: Paths { bpf: "/nowhere".into(), run: "/nowhere".into() },
    }
}

/// A virtual interface that is up and alone.
pub(crate) fn link(index: u32, name: &str, kind: Kind) -> Link {
    let hardware = match &kind {
        Kind::Loopback => Hardware::Loopback,
        Kind::Tun | Kind::Wireguard => Hardware::Other(0xfffe),
        Kind::Tunnel(word) if word != "vxlan" => Hardware::Other(778),
        _ => Hardware::Ethernet,
    };
    Link {
        index,
        name: name.parse().unwrap(),
        raw_name: None,
        kind,
        hardware,
        up: true,
        master: None,
        lower: None,
        elsewhere: None,
        virtio: false,
        forwards: false,
        uses: BTreeSet::new(),
        address: [2, 0, 0, 0, 0, 1].into(),
        mtu: Mtu { current: 1500, min: Some(68), max: Some(65535) },
        queues: Queues { rx: Some(1), tx: Some(1) },
        physical: false,
        takes_fragments: false,
        other_names: Vec::new(),
        ipvlan_elsewhere: false,
        xdp: Vec::new(),
    }
}

/// A NIC.
pub(crate) fn nic(index: u32, name: &str) -> Link {
    Link { physical: true, takes_fragments: true, ..link(index, name, Kind::Physical) }
}

pub(super) fn down(link: Link) -> Link {
    Link { up: false, ..link }
}

pub(crate) fn member(link: Link, master: u32) -> Link {
    Link { master: Some(master), ..link }
}

pub(super) fn on(link: Link, lower: u32) -> Link {
    Link { lower: Some(lower), ..link }
}

/// The other end is in a container.
pub(crate) fn inside(link: Link) -> Link {
    Link { elsewhere: Some(Elsewhere { id: 1, inside: true }), ..link }
}

/// The other end may be anywhere.
pub(super) fn outside(link: Link) -> Link {
    Link { elsewhere: Some(Elsewhere { id: 0, inside: false }), ..link }
}

/// This host routes for what is there, and uses it so.
pub(super) fn used<const N: usize>(link: Link, uses: [Use; N]) -> Link {
    Link { forwards: true, uses: uses.into(), ..link }
}

/// Any interfaces in any relation, circles and dangling indices included.
pub(super) fn any_links() -> impl Strategy<Value = Links> {
    let names = ["lo", "eth0", "wg0", "docker0", "br-lan", "podman1", "tailscale0", "bond0", "x"];
    let kinds = prop::sample::select(vec![
        Kind::Physical,
        Kind::Loopback,
        Kind::Bridge,
        Kind::Bond,
        Kind::Team,
        Kind::Veth,
        Kind::Tun,
        Kind::Tap,
        Kind::Wireguard,
        Kind::Vlan,
        Kind::Macvlan,
        Kind::Vrf,
        Kind::Dummy,
        Kind::Other("openvswitch".to_owned()),
        Kind::Other("hsr".to_owned()),
    ]);
    let relation = || prop::option::of(1..12_u32);
    let uses = [Use::DefaultRoute, Use::Router, Use::LeasedAddress, Use::Unknown, Use::Network, Use::Address];
    let uses = prop::collection::btree_set(prop::sample::select(uses.to_vec()), 0..3);
    let elsewhere = prop::option::of((-1..3, any::<bool>()).prop_map(|(id, inside)| Elsewhere { id, inside }));
    let flags = any::<(bool, bool, bool, bool)>();
    let name = prop::sample::select(names.to_vec());
    let one = (1..10_u32, name, kinds, flags, relation(), relation(), uses, elsewhere);
    let one =
        one.prop_map(|(index, name, kind, (up, physical, virtio, forwards), master, lower, uses, elsewhere)| Link {
            up,
            physical,
            virtio,
            forwards,
            uses,
            elsewhere,
            master: master.filter(|&master| master != index),
            lower: lower.filter(|&lower| lower != index),
            ..link(index, name, kind)
        });
    prop::collection::vec(one, 0..10).prop_map(|links| links.into_iter().collect())
}
