//! Who is a container: each arrangement that people have, and each that looks like it.

use super::*;
use crate::plan::fixture::{inside, member, nic, outside, used};

fn pod(index: u32, name: &str) -> Link {
    inside(link(index, name, Kind::Veth))
}

fn vm(index: u32, name: &str) -> Link {
    Link { virtio: true, ..link(index, name, Kind::Tap) }
}

fn bridge(index: u32, name: &str) -> Link {
    used(link(index, name, Kind::Bridge), [Use::Network])
}

/// The class of the first link, and what decided.
fn class_of(links: Vec<Link>) -> (Class, Vec<String>) {
    let first = links[0].index;
    let placements = Placements::new(&policy(), &links.into_iter().collect());
    let Some(Placement::Attach(class, notes)) = placements.get(first) else { panic!("{placements:?}") };
    (*class, notes.iter().map(ToString::to_string).collect())
}

fn is_container(links: Vec<Link>) -> bool {
    class_of(links).0 == Class::Container
}

/// Guarded, and the note says so in these words.
fn loses_by(words: &str, links: Vec<Link>) {
    let (class, notes) = class_of(links);
    assert_eq!(class, Class::Guarded);
    assert!(notes.iter().any(|note| note.contains(words)), "{words}: {notes:?}");
}

/// Guarded without a word, as anybody expects.
fn is_no_container(links: Vec<Link>) {
    assert_eq!(class_of(links), (Class::Guarded, vec![]));
}

#[test]
fn a_named_bridge_is_one_of_containers_while_nothing_speaks_against_it() {
    assert!(is_container(vec![bridge(3, "docker0")]), "an empty one");
    let ports = vec![
        bridge(3, "virbr0"),
        member(pod(4, "veth1"), 3),
        member(vm(5, "vnet0"), 3),
        member(link(6, "lxdbr0-mtu", Kind::Dummy), 3),
        member(fixture::down(link(7, "virbr0-nic", Kind::Tap)), 3),
    ];
    assert_eq!(class_of(ports), (Class::Container, vec!["leads to containers and virtual machines only".to_owned()]));
    let starting = vec![
        bridge(3, "docker0"),
        member(fixture::on(link(4, "veth1", Kind::Veth), 5), 3),
        fixture::on(fixture::down(link(5, "vethtmp", Kind::Veth)), 4),
    ];
    assert!(is_container(starting), "a container's pair, both ends still here");
    let ending =
        Link { elsewhere: Some(crate::links::Elsewhere { id: -1, inside: false }), ..link(4, "v", Kind::Veth) };
    assert!(is_container(vec![bridge(3, "docker0"), member(ending, 3)]), "its namespace is gone");
}

#[test]
fn a_bridge_under_any_name_is_one_of_containers_if_the_facts_say_so() {
    let ai = || bridge(3, "ai-net");
    assert!(is_container(vec![ai(), member(pod(4, "veth1"), 3)]));
    assert!(is_container(vec![ai(), member(vm(4, "tap7"), 3)]));
    is_no_container(vec![ai()]);
    is_no_container(vec![ai(), member(outside(link(4, "eth0", Kind::Veth)), 3)]);
    is_no_container(vec![Link { forwards: false, ..ai() }, member(pod(4, "veth1"), 3)]);
    is_no_container(vec![used(ai(), [Use::PublicAddress, Use::Network]), member(pod(4, "veth1"), 3)]);
    is_no_container(vec![ai(), member(pod(4, "veth1"), 3), member(nic(5, "eth1"), 3)]);
    is_no_container(vec![used(ai(), [Use::DefaultRoute]), member(pod(4, "veth1"), 3)]);
}

#[test]
fn a_bridge_loses_the_class_by_what_its_ports_are_whatever_its_name() {
    let with = |port: Link| vec![bridge(3, "br-lan"), member(pod(4, "veth1"), 3), member(port, 3)];
    loses_by("eth0 is a physical device", with(nic(5, "eth0")));
    loses_by("eth0.10 is a vlan device", with(link(5, "eth0.10", Kind::Vlan)));
    loses_by("up0 is a macvlan device", with(outside(link(5, "up0", Kind::Macvlan))));
    loses_by("vx0 is a vxlan device", with(link(5, "vx0", Kind::Tunnel("vxlan".to_owned()))));
    loses_by("ztab is a tap without virtio", with(link(5, "ztab", Kind::Tap)));
    loses_by("eth0 leads to a namespace in which", with(outside(link(5, "eth0", Kind::Veth))));
    let unnamed = vec![bridge(3, "ai-net"), member(pod(4, "v"), 3), member(link(5, "tap0", Kind::Tap), 3)];
    loses_by("has containers on it but tap0 is a tap", unnamed);
}

#[test]
fn a_bridge_loses_the_class_by_its_use() {
    let using = |what| vec![used(bridge(3, "docker0"), [Use::Network, what]), member(pod(4, "veth1"), 3)];
    loses_by("docker0 carries a default route", using(Use::DefaultRoute));
    loses_by("docker0 leads to a router", using(Use::Router));
    loses_by("docker0 has an address that another machine gave it", using(Use::LeasedAddress));
    loses_by("docker0 may carry a default route", using(Use::Unknown));
    assert!(is_container(using(Use::PublicAddress)), "the name says whose they are");
    let elsewhere = used(link(9, "wg0", Kind::Wireguard), [Use::DefaultRoute]);
    assert!(is_container(vec![bridge(3, "docker0"), member(pod(4, "veth1"), 3), elsewhere]), "by the VPN");
}

/// By both ends of a pair here, by a VLAN on top, by Open vSwitch: however many steps away.
#[test]
fn what_is_joined_is_judged_as_one() {
    let containers = || vec![bridge(3, "docker0"), member(pod(4, "veth1"), 3)];
    let patch = |one: u32, other: u32, master: u32| {
        [(one, other, 3), (other, one, master)].map(|(index, lower, master)| {
            member(fixture::on(link(index, &format!("patch{index}"), Kind::Veth), lower), master)
        })
    };
    let to = |far: Vec<Link>| [containers(), patch(5, 6, 7).to_vec(), far].concat();
    assert!(is_container(to(vec![bridge(7, "br-other"), member(pod(8, "veth2"), 7)])));
    loses_by("eth0 is a physical device", to(vec![bridge(7, "br-up"), member(nic(8, "eth0"), 7)]));
    let uplink = outside(used(link(8, "eth0", Kind::Veth), []));
    loses_by("br-up carries", to(vec![used(bridge(7, "br-up"), [Use::DefaultRoute]), member(uplink, 7)]));
    let switch = link(7, "ovs-system", Kind::Other("openvswitch".to_owned()));
    loses_by("eth0 is a physical device", to(vec![switch, member(nic(8, "eth0"), 7)]));
    let vlan = |uses| fixture::on(Link { uses, ..link(8, "docker0.10", Kind::Vlan) }, 3);
    loses_by("docker0.10", [containers(), vec![vlan([Use::DefaultRoute].into())]].concat());
    // A tunnel's packets are addressed to this host, whatever carries them.
    let tunnel = fixture::on(link(8, "vx0", Kind::Tunnel("vxlan".to_owned())), 3);
    assert!(is_container([containers(), vec![tunnel]].concat()));
    // Of a pair that is not in a bridge, the other end is the host's own.
    let host_end = [fixture::on(link(6, "host0", Kind::Veth), 5), fixture::on(member(link(5, "b", Kind::Veth), 3), 6)];
    assert!(is_container([containers(), host_end.to_vec()].concat()));
    let uplink = used(host_end[0].clone(), [Use::DefaultRoute]);
    loses_by("host0 carries", [containers(), vec![uplink, host_end[1].clone()]].concat());
}

#[test]
fn a_routed_pair_is_a_container_s_by_its_single_address_or_by_its_name() {
    let cali = |uses: &[Use]| Link { uses: uses.iter().copied().collect(), forwards: true, ..pod(3, "cali1") };
    assert!(is_container(vec![cali(&[Use::Address])]));
    is_no_container(vec![cali(&[])]);
    is_no_container(vec![cali(&[Use::Address, Use::Network])]);
    is_no_container(vec![cali(&[Use::Address, Use::DefaultRoute])]);
    is_no_container(vec![Link { forwards: false, ..cali(&[Use::Address]) }]);
    is_no_container(vec![outside(cali(&[Use::Address]))]);
    is_no_container(vec![Link { elsewhere: None, ..cali(&[Use::Address]) }]);
    let named = |link: Link| vec![Link { name: "podman-ve".parse().unwrap(), ..link }];
    assert!(is_container(named(cali(&[Use::Network]))), "as systemd-nspawn's ve-*");
    loses_by("carries a default route", named(cali(&[Use::Network, Use::DefaultRoute])));
    loses_by("leads to a namespace", named(outside(cali(&[Use::Network]))));
    loses_by("without virtio", named(link(3, "x", Kind::Tap)));
    assert!(is_container(named(vm(3, "x"))));
    loses_by("is a wireguard device", named(link(3, "x", Kind::Wireguard)));
}

#[test]
fn the_mirror_is_told_what_its_names_do_not_say() {
    let links: Links = [
        bridge(2, "ai-net"),
        member(pod(3, "veth1"), 2),
        bridge(4, "br-1"),
        member(pod(5, "veth2"), 4),
        member(link(6, "vx0", Kind::Tunnel("vxlan".to_owned())), 4),
        nic(7, "br-0"),
        bridge(8, "vmbr0"),
        member(nic(9, "eth0"), 8),
        member(vm(10, "tap1"), 8),
        bridge(11, "lost0"),
        member(pod(12, "veth3"), 11),
        member(link(13, "tap2", Kind::Tap), 11),
        bridge(14, "docker0"),
    ]
    .into_iter()
    .collect();
    let placements = Placements::new(&policy(), &links);
    let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<BTreeSet<InterfaceName>>();
    assert_eq!(placements.further_containers, names(&["ai-net"]));
    assert_eq!(placements.refused_containers, names(&["br-1", "br-0"]));
    assert_eq!(placements.with_containers, names(&["br-1", "lost0"]));
    assert!(!placements.unsettled);
}

/// Or a flood of processes, which keeps one from being seen, would open the way to it.
#[test]
fn a_container_that_is_not_seen_is_still_behind_its_bridge() {
    let behind = |bridge: Link| {
        let name = bridge.name.clone();
        let links: Links = [bridge, member(outside(link(4, "veth1", Kind::Veth)), 3)].into_iter().collect();
        Placements::new(&policy(), &links).with_containers.contains(&name)
    };
    assert!(behind(bridge(3, "docker0")));
    assert!(behind(bridge(3, "ai-net")));
    assert!(behind(used(bridge(3, "docker0"), [Use::DefaultRoute])), "named like one");
    assert!(!behind(used(bridge(3, "lan0"), [Use::DefaultRoute])), "an uplink");
}

#[test]
fn a_container_whose_namespace_is_new_is_looked_for_again() {
    let unsettled = |links: Vec<Link>| Placements::new(&policy(), &links.into_iter().collect()).unsettled;
    let unseen = || member(outside(link(4, "veth1", Kind::Veth)), 3);
    assert!(unsettled(vec![bridge(3, "docker0"), unseen()]));
    assert!(unsettled(vec![bridge(3, "ai-net"), unseen()]));
    assert!(!unsettled(vec![used(bridge(3, "docker0"), [Use::DefaultRoute]), unseen()]));
    assert!(!unsettled(vec![bridge(3, "br0")]));
}
