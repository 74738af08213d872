//! The sentences of the design on hooks, one test each.

use proptest::prelude::*;

use super::*;
use crate::links::{AttachedXdp, XdpMode};
use crate::plan::fixture::{self, link};

const OURS: u32 = 11;

fn choose(attach: Attach, class: Class, links: Vec<Link>) -> (Vec<&'static str>, String) {
    let first = links[0].clone();
    let links: Links = links.into_iter().collect();
    let policy = AttachPolicy { default: attach, ..AttachPolicy::default() };
    let choice = Choice::new(&policy, &links, &first, class, &|id| id == OURS);
    (choice.candidates.iter().map(|hook| hook.as_str()).collect(), choice.why.to_string())
}

fn auto(links: Vec<Link>) -> (Vec<&'static str>, String) {
    choose(Attach::Auto, Class::Guarded, links)
}

fn tc(why: &str) -> (Vec<&'static str>, String) {
    (vec!["tcx", "clsact"], why.to_owned())
}

fn native(why: &str) -> (Vec<&'static str>, String) {
    (vec!["xdp-native", "tcx", "clsact"], why.to_owned())
}

fn with_xdp(mut link: Link, program_id: u32) -> Link {
    link.xdp.push(AttachedXdp { mode: XdpMode::Native, program_id });
    link
}

#[test]
fn auto_takes_native_xdp_on_a_bare_nic_only() {
    assert_eq!(auto(vec![fixture::nic(2, "eth0")]), native("physical NIC"));
    for kind in [Kind::Veth, Kind::Bond, Kind::Bridge, Kind::Tap, Kind::Other("dsa".to_owned())] {
        let why = format!("not a physical NIC ({kind})");
        let mut virtual_device = link(2, "x0", kind);
        assert_eq!(auto(vec![virtual_device.clone()]), tc(&why));
        virtual_device.physical = true;
        assert_eq!(auto(vec![virtual_device]), tc(&why));
    }
    assert_eq!(auto(vec![link(2, "x0", Kind::Physical)]), tc("not a physical NIC"));
}

/// What `ip link set mtu 9000` would meet later, by what the kernel says of the device.
#[test]
fn auto_takes_native_xdp_only_where_it_forbids_no_mtu() {
    let nic = |takes_fragments, max| {
        let mut nic = fixture::nic(2, "eth0");
        (nic.takes_fragments, nic.mtu.max) = (takes_fragments, max);
        nic
    };
    for (takes_fragments, max, keeps) in [
        (true, Some(9216), true),
        (true, None, true),
        (true, Some(0), true),
        (false, Some(1500), true),
        (false, Some(3498), true),
        (false, Some(3499), false),
        (false, Some(9216), false),
        (false, Some(65535), false),
        (false, Some(0), false), // no limit
        (false, None, false),    // not told
    ] {
        let nic = || nic(takes_fragments, max);
        let expected = if keeps { native("physical NIC") } else { tc("native XDP would forbid larger MTUs") };
        assert_eq!(auto(vec![nic()]), expected, "{takes_fragments} {max:?}");
        assert_eq!(choose(Attach::Xdp, Class::Guarded, vec![nic()]), native("configured"));
        // Another obstacle is the one that is told.
        let vlan = fixture::on(link(9, "eth0.10", Kind::Vlan), 2);
        assert_eq!(auto(vec![nic(), vlan]), tc("has VLAN eth0.10 on top"));
    }
}

#[test]
fn members_get_traffic_control_and_a_qdisc_only_where_its_maker_adds_none() {
    let choose = |attach, link: &Link| {
        let policy = AttachPolicy { default: attach, ..AttachPolicy::default() };
        let choice = Choice::member(&policy, link, &"br0".parse().unwrap());
        assert_eq!(choice.why.to_string(), "member of br0");
        choice.candidates
    };
    for attach in [Attach::Auto, Attach::Xdp, Attach::XdpGeneric, Attach::Tc] {
        assert_eq!(choose(attach, &fixture::nic(2, "eth0")), TC);
        for kind in [Kind::Veth, Kind::Tap] {
            assert_eq!(choose(attach, &link(2, "x0", kind)), [Hook::Tcx]);
        }
    }
    assert_eq!(choose(Attach::Clsact, &link(2, "x0", Kind::Veth)), CLSACT);
}

#[test]
fn who_gives_way_takes_another_hook_and_the_same_one_only_if_there_is_nothing_else() {
    let give_way = |attach, links: Vec<Link>, alone| {
        let policy = AttachPolicy { default: attach, ..AttachPolicy::default() };
        let first = links[0].clone();
        let links: Links = links.into_iter().collect();
        Choice::new(&policy, &links, &first, Class::Guarded, &|_| false).giving_way(alone)
    };
    let veth = || link(2, "veth0", Kind::Veth);
    assert_eq!(give_way(Attach::Clsact, vec![veth()], false), [Hook::Tcx, Hook::XdpGeneric]);
    assert_eq!(give_way(Attach::Auto, vec![veth()], true), [Hook::Tcx, Hook::XdpGeneric, Hook::Clsact]);
    assert_eq!(give_way(Attach::XdpGeneric, vec![veth()], false), [Hook::XdpGeneric, Hook::Tcx]);
    let vlan = fixture::on(link(9, "veth0.10", Kind::Vlan), 2);
    assert_eq!(give_way(Attach::Auto, vec![veth(), vlan], false), [Hook::Tcx]);
    assert_eq!(give_way(Attach::Auto, vec![link(2, "tun0", Kind::Tun)], true), [Hook::Tcx, Hook::Clsact]);
}

#[test]
fn an_interface_on_top_rules_xdp_out_even_if_configured() {
    let with = |kind, name: &str| vec![fixture::nic(2, "eth0"), fixture::on(link(9, name, kind), 2)];
    for attach in [Attach::Auto, Attach::Xdp, Attach::XdpGeneric] {
        let choose = |links| choose(attach, Class::Guarded, links);
        assert_eq!(choose(with(Kind::Vlan, "eth0.10")), tc("has VLAN eth0.10 on top"));
        assert_eq!(choose(with(Kind::Macvlan, "mv0")), tc("has macvlan mv0 on top"));
        assert_eq!(choose(with(Kind::Ipvlan, "iv0")), tc("has ipvlan iv0 on top"));
        assert_eq!(choose(with(Kind::Other("dsa".to_owned()), "lan1")), tc("has dsa lan1 on top"));
    }
}

#[test]
fn what_shares_no_frames_with_a_nic_does_not_matter() {
    let gre = fixture::on(link(9, "gre1", Kind::Tunnel("gre".to_owned())), 2);
    let peer = fixture::on(link(10, "veth1", Kind::Veth), 2);
    assert_eq!(auto(vec![fixture::nic(2, "eth0"), gre, peer]), native("physical NIC"));
}

#[test]
fn a_foreign_xdp_program_is_left_alone_and_ours_is_not_foreign() {
    let foreign = || vec![with_xdp(with_xdp(fixture::nic(2, "eth0"), OURS), 7)];
    assert_eq!(auto(foreign()), tc("another XDP program (id 7) is attached"));
    assert_eq!(choose(Attach::Xdp, Class::Guarded, foreign()), tc("another XDP program (id 7) is attached"));
    assert_eq!(auto(vec![with_xdp(fixture::nic(2, "eth0"), OURS)]), native("physical NIC"));
}

#[test]
fn layer_three_devices_get_traffic_control_whatever_is_configured() {
    for attach in [Attach::Auto, Attach::Xdp, Attach::XdpGeneric] {
        assert_eq!(choose(attach, Class::Guarded, vec![link(2, "tun0", Kind::Tun)]), tc("layer-3 device"));
    }
}

#[test]
fn trusted_and_container_interfaces_always_get_traffic_control() {
    for attach in [Attach::Auto, Attach::Xdp, Attach::XdpGeneric] {
        let nic = || vec![fixture::nic(2, "eth0")];
        assert_eq!(choose(attach, Class::Trusted, nic()), tc("trusted: counted by traffic control"));
        assert_eq!(choose(attach, Class::Container, nic()), tc("container: counted by traffic control"));
    }
}

#[test]
fn what_is_configured_is_tried_first() {
    let veth = || vec![link(2, "veth0", Kind::Veth)];
    assert_eq!(choose(Attach::Xdp, Class::Guarded, veth()), native("configured"));
    assert_eq!(choose(Attach::Tc, Class::Guarded, vec![fixture::nic(2, "eth0")]), tc("configured"));
    let clsact = (vec!["clsact", "tcx"], "configured".to_owned());
    assert_eq!(choose(Attach::Clsact, Class::Guarded, vec![fixture::nic(2, "eth0")]), clsact);
    assert_eq!(choose(Attach::Clsact, Class::Trusted, veth()), clsact);
    let generic = (vec!["xdp-generic", "tcx", "clsact"], "configured".to_owned());
    assert_eq!(choose(Attach::XdpGeneric, Class::Guarded, veth()), generic);
}

#[test]
fn one_interface_can_differ() {
    let mut policy = AttachPolicy::default();
    policy.per_interface.insert("eth1".parse().unwrap(), Attach::Tc);
    let links: Links = [fixture::nic(2, "eth0"), fixture::nic(3, "eth1")].into_iter().collect();
    let first = |index| {
        let link = links.get(index).unwrap();
        Choice::new(&policy, &links, link, Class::Guarded, &|_| false).candidates[0]
    };
    assert_eq!((first(2), first(3)), (Hook::XdpNative, Hook::Tcx));
}

#[test]
fn a_nic_that_stands_in_for_another_gets_traffic_control() {
    let links = vec![fixture::nic(2, "eth0"), fixture::member(fixture::nic(3, "enP1s1"), 2)];
    assert_eq!(auto(links), tc("has member enP1s1"));
}

proptest! {
    #[test]
    fn every_choice_ends_with_traffic_control(links in fixture::any_links(), wanted in 0..5_usize) {
        let default = [Attach::Auto, Attach::Xdp, Attach::XdpGeneric, Attach::Tc, Attach::Clsact][wanted];
        let policy = AttachPolicy { default, ..AttachPolicy::default() };
        for link in links.iter() {
            for class in [Class::Trusted, Class::Container, Class::Guarded] {
                let choice = Choice::new(&policy, &links, link, class, &|_| false);
                let end = if default == Attach::Clsact { CLSACT } else { TC };
                prop_assert!(choice.candidates.ends_with(&end));
                let xdp = !choice.candidates[0].is_tc();
                prop_assert!(!xdp || class == Class::Guarded);
                prop_assert!(!xdp || !matches!(link.hardware, Hardware::Other(_)));
            }
        }
    }
}

#[test]
fn a_hook_has_one_name_everywhere() {
    for hook in [Hook::XdpNative, Hook::XdpGeneric, Hook::Tcx, Hook::Clsact] {
        assert_eq!(serde_json::to_value(hook).unwrap(), hook.as_str());
        assert_eq!(Hook::label(Some(hook)), hook.as_str());
        assert_eq!(format!("{hook:>12}|"), format!("{:>12}|", hook.as_str()));
    }
    assert_eq!(Hook::label(None), "none");
}
