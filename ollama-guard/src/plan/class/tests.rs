//! The sentences of the design on classes, one test each.

mod containers;

use super::*;
use crate::plan::fixture::{self, link, policy};

/// Class names, `master N`, `waiting`, `loopback`, `vrf`: what became of each link, in their order.
fn outcome(policy: &Policy, links: Vec<Link>) -> Vec<String> {
    let links: Links = links.into_iter().collect();
    let placements = Placements::new(policy, &links);
    links.iter().map(|link| say(placements.get(link.index).unwrap())).collect()
}

fn say(placement: &Placement) -> String {
    match placement {
        Placement::Attach(class, notes) if notes.is_empty() => class.to_string(),
        Placement::Attach(class, notes) => format!("{class}: {}", notes.iter().map(headline).collect::<String>()),
        Placement::LeftToMaster(master) => format!("master {master}"),
        Placement::Member { master, class } => format!("{class} member of {master}"),
        Placement::Waiting(_) => "waiting".to_owned(),
        Placement::NotCounted(NotCounted::Loopback) => "loopback".to_owned(),
        Placement::NotCounted(NotCounted::Vrf) => "vrf".to_owned(),
    }
}

fn headline(note: &Note) -> String {
    format!("{note:?}").split([' ', '(']).next().unwrap_or_default().to_owned()
}

#[test]
fn names_decide_and_everything_else_is_guarded() {
    let links = vec![
        link(1, "lo", Kind::Loopback),
        link(2, "eth0", Kind::Physical),
        link(3, "wg0", Kind::Wireguard),
        link(4, "wg1", Kind::Wireguard),
        link(5, "tailscale0", Kind::Tun),
        link(6, "gre1", Kind::Tunnel("gre".to_owned())),
    ];
    assert_eq!(outcome(&policy(), links), ["loopback", "guarded", "trusted", "guarded", "trusted", "guarded"]);
}

#[test]
fn loopback_is_known_by_kind_not_by_name() {
    let mut counted = policy();
    counted.count_loopback = true;
    counted.trusted.clear();
    let links = || vec![link(1, "inner", Kind::Loopback), link(2, "lo", Kind::Dummy)];
    assert_eq!(outcome(&policy(), links()), ["loopback", "guarded: FalseLoopback"]);
    assert_eq!(outcome(&counted, links()), ["trusted", "guarded: FalseLoopback"]);
}

#[test]
fn the_vpn_in_a_bridge_is_judged_by_the_bridges_name() {
    let links = vec![link(2, "br0", Kind::Bridge), fixture::member(link(3, "wg0", Kind::Tap), 2)];
    assert_eq!(outcome(&policy(), links), ["guarded", "master 2"]);
}

#[test]
fn slaves_of_a_bond_are_left_to_it_and_it_to_its_bridge() {
    let links = vec![
        fixture::member(fixture::nic(2, "eth0"), 4),
        fixture::member(fixture::nic(3, "eth1"), 4),
        fixture::member(link(4, "bond0", Kind::Bond), 5),
        link(5, "br0", Kind::Bridge),
    ];
    assert_eq!(
        outcome(&policy(), links),
        ["guarded member of 4", "guarded member of 4", "guarded member of 5", "guarded"]
    );
}

#[test]
fn the_accelerated_twin_of_a_hyper_v_nic_is_left_to_it() {
    let links = vec![fixture::nic(2, "eth0"), fixture::member(fixture::nic(3, "enP1s1"), 2)];
    assert_eq!(outcome(&policy(), links), ["guarded", "master 2"]);
}

#[test]
fn a_vrf_slave_is_judged_as_itself_and_the_vrf_never() {
    let links: Links = [
        link(2, "blue", Kind::Vrf),
        fixture::member(fixture::nic(3, "eth0"), 2),
        fixture::member(link(4, "wg0", Kind::Wireguard), 2),
    ]
    .into_iter()
    .collect();
    let placements = Placements::new(&policy(), &links);
    assert_eq!(placements.get(2), Some(&Placement::NotCounted(NotCounted::Vrf)));
    assert_eq!(placements.get(3), Some(&Placement::Attach(Class::Guarded, vec![])));
    assert_eq!(placements.get(4), Some(&Placement::Attach(Class::Trusted, vec![])));
    assert_eq!(placements.vrf_devices, BTreeSet::from(["blue".parse().unwrap()]));
}

#[test]
fn a_member_of_an_unknown_kind_of_master_is_judged_as_itself() {
    let hsr = link(2, "hsr0", Kind::Other("hsr".to_owned()));
    let links = vec![hsr, fixture::member(fixture::nic(3, "eth0"), 2), fixture::member(fixture::nic(4, "eth1"), 99)];
    assert_eq!(outcome(&policy(), links), ["guarded", "guarded: UnknownMaster", "guarded"]);
}

/// What a master leaves to its members nftables judges by the members' names, and so do the programs.
#[test]
fn a_member_has_a_program_for_what_its_master_never_sees() {
    for kind in [Kind::Bridge, Kind::Bond, Kind::Team] {
        let member = |name: &str| vec![link(2, "m0", kind.clone()), fixture::member(fixture::nic(3, name), 2)];
        assert_eq!(outcome(&policy(), member("eth0")), ["guarded", "guarded member of 2"]);
        assert_eq!(outcome(&policy(), member("tailscale0")), ["guarded", "master 2"]);
        // Named as if it were a container bridge: nftables has to be told that it is none.
        let links: Links = member("br-x").into_iter().collect();
        let placements = Placements::new(&policy(), &links);
        assert_eq!(placements.get(3), Some(&Placement::Member { master: 2, class: Class::Guarded }));
        assert_eq!(placements.refused_containers, BTreeSet::from(["br-x".parse().unwrap()]));
        // A trusted master lets nobody in by what it never sees.
        let trusted = vec![link(2, "wg0", kind.clone()), fixture::member(fixture::nic(3, "eth0"), 2)];
        assert_eq!(outcome(&policy(), trusted).last().unwrap(), "guarded member of 2");
        // Without an Ethernet header there is no such address.
        let layer3 = vec![link(2, "m0", kind.clone()), fixture::member(link(3, "tun0", Kind::Tun), 2)];
        assert_eq!(outcome(&policy(), layer3), ["guarded", "master 2"]);
    }
    let all = vec![link(2, "m0", Kind::Other("openvswitch".to_owned())), fixture::member(fixture::nic(3, "eth0"), 2)];
    assert_eq!(outcome(&policy(), all), ["guarded", "master 2"]);
}

#[test]
fn a_docker_veth_is_never_attached_on_its_way() {
    let bridge = || link(2, "docker0", Kind::Bridge);
    let veth = || link(7, "veth12ab", Kind::Veth);
    let peer = || fixture::down(link(8, "vethtmp", Kind::Veth));
    // Created here as a pair, its end enslaved, then up; the other end moves away.
    assert_eq!(outcome(&policy(), vec![bridge(), fixture::down(veth()), peer()]), ["container", "waiting", "waiting"]);
    let enslaved = fixture::member(fixture::down(veth()), 2);
    assert_eq!(outcome(&policy(), vec![bridge(), enslaved, peer()]), ["container", "master 2", "waiting"]);
    assert_eq!(outcome(&policy(), vec![bridge(), fixture::member(veth(), 2)]), ["container", "guarded member of 2"]);
    // Taken out of the bridge again, it is an interface of this host.
    assert_eq!(outcome(&policy(), vec![bridge(), veth()]), ["container", "guarded"]);
}

#[test]
fn macvlans_wait_for_being_up_other_kinds_do_not() {
    let links = vec![
        fixture::nic(2, "eth0"),
        fixture::on(fixture::down(link(3, "dm-1", Kind::Macvlan)), 2),
        fixture::on(link(4, "host-shim", Kind::Macvlan), 2),
        fixture::on(fixture::down(link(5, "iv0", Kind::Ipvlan)), 2),
        fixture::on(fixture::down(link(6, "eth0.10", Kind::Vlan)), 2),
        fixture::down(fixture::nic(7, "eth1")),
    ];
    assert_eq!(outcome(&policy(), links), ["guarded", "waiting", "guarded", "waiting", "guarded", "guarded"]);
}

#[test]
fn a_nic_that_goes_by_a_vpns_name_is_trusted_and_reported() {
    let links = vec![
        fixture::nic(2, "wg0"),
        fixture::on(link(3, "tailscale0", Kind::Vlan), 2),
        fixture::nic(4, "lan0"),
        link(5, "tun7", Kind::Tun),
        link(6, "wt0", Kind::Bridge),
        link(8, "wg1", Kind::Veth),
        link(9, "tun1", Kind::Tunnel("vxlan".to_owned())),
        link(10, "wg2", Kind::Wireguard),
        link(11, "tun2", Kind::Tunnel("ovpn".to_owned())),
    ];
    let mut trusting = policy();
    trusting.trusted.extend(["wt0", "wg1", "wg2"].map(|name| name.parse().unwrap()));
    trusting.trusted.extend(["lan0".parse().unwrap(), "tun*".parse().unwrap()]);
    let reported = "trusted: VpnNameOnANic";
    assert_eq!(
        outcome(&trusting, links),
        [reported, reported, "trusted", "trusted", reported, reported, reported, "trusted", "trusted"]
    );
}

#[test]
fn an_odd_name_matches_nothing_not_even_the_pattern_for_all() {
    let mut trusting = policy();
    trusting.trusted = vec!["*".parse().unwrap(), "wg?".parse().unwrap()];
    let mut odd = link(2, "wg?", Kind::Tun);
    odd.raw_name = Some(b"wg\xff".as_slice().into());
    assert_eq!(outcome(&trusting, vec![odd, link(3, "wg?", Kind::Tun)]), ["guarded: OddName", "trusted"]);
}

#[test]
fn masters_in_a_circle_are_judged_themselves() {
    let links = vec![
        fixture::member(link(2, "br0", Kind::Bridge), 3),
        fixture::member(link(3, "br1", Kind::Bridge), 2),
        fixture::member(fixture::nic(4, "eth0"), 2),
    ];
    assert!(outcome(&policy(), links).iter().all(|said| said.starts_with("guarded")));
}
