//! What tells a network of containers from an uplink: routes, addresses, settings, and where the other end is.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use ollama_guard::links::Use;

use crate::namespace::{Namespace, by_name, ip};

/// But for the networks that this host has an address in.
fn uses(name: &str) -> Vec<Use> {
    by_name(name).uses.into_iter().filter(|one| !matches!(one, Use::Subnet(..))).collect()
}

#[test]
fn the_networks_of_an_interface_are_those_of_its_addresses() {
    let Some(_namespace) = Namespace::enter() else { return };
    ip("link add v0 type veth peer name v1");
    for address in ["172.17.0.1/16", "172.17.0.2/16", "10.0.0.1/24", "169.254.1.1/32", "fd17::1/64"] {
        ip(&format!("address add {address} dev v0"));
    }
    let networks: Vec<Use> = by_name("v0").uses.into_iter().filter(|one| matches!(one, Use::Subnet(..))).collect();
    assert_eq!(networks, [Use::Subnet([10, 0, 0, 0].into(), 24), Use::Subnet([172, 17, 0, 0].into(), 16)]);
}

#[test]
fn each_use_is_read_from_the_kernel() {
    let Some(_namespace) = Namespace::enter() else { return };
    ip("link add v0 type veth peer name v1");
    ip("link set v0 up");
    ip("link set v1 up");
    assert_eq!(uses("v0"), [], "IPv6 gives every interface its own");
    ip("address add 169.254.1.1/32 dev v0");
    assert_eq!(uses("v0"), []);
    let network: BTreeSet<Use> = [Use::Network].into();
    for (add, delete, what) in [
        ("address add 172.17.0.1/16 dev v0", "address delete 172.17.0.1/16 dev v0", Use::Network),
        (
            "address add 172.17.0.1/16 dev v0 valid_lft 600 preferred_lft 600",
            "address delete 172.17.0.1/16 dev v0",
            Use::LeasedAddress,
        ),
        (
            "address add fd17::1/128 dev v0 valid_lft 600 preferred_lft 600",
            "address delete fd17::1/128 dev v0",
            Use::LeasedAddress,
        ),
        ("address add 203.0.113.1/24 dev v0", "address delete 203.0.113.1/24 dev v0", Use::PublicAddress),
        ("route add 10.244.0.11 dev v0", "route delete 10.244.0.11", Use::Address),
        ("route add fd44::11 dev v0", "route delete fd44::11", Use::Address),
        ("route add 10.0.0.0/8 via 10.9.9.9 dev v0 onlink", "route delete 10.0.0.0/8", Use::Router),
        ("route add fd99::/16 via fe80::9 dev v0", "route delete fd99::/16", Use::Router),
        ("route add default dev v0 table 51820", "route delete default table 51820", Use::DefaultRoute),
        ("route add 128.0.0.0/1 dev v0", "route delete 128.0.0.0/1", Use::DefaultRoute),
        ("-6 route add default via fe80::9 dev v0", "-6 route delete default", Use::DefaultRoute),
    ] {
        ip(add);
        let found: BTreeSet<Use> = uses("v0").into_iter().collect();
        assert!(
            found.contains(&what) && found.iter().all(|one| *one == what || network.contains(one)),
            "{add}: {found:?}"
        );
        ip(delete);
        assert_eq!(uses("v0"), [], "{delete}");
    }
    ip("route add default nexthop dev v0 weight 1 nexthop via 10.9.9.9 dev v1 onlink weight 1");
    assert_eq!((uses("v0"), uses("v1")), (vec![Use::DefaultRoute], vec![Use::DefaultRoute]));
}

#[test]
fn a_route_by_a_nexthop_object_is_read_too() {
    let Some(_namespace) = Namespace::enter() else { return };
    ip("link add v0 type veth peer name v1");
    ip("link set v0 up");
    ip("link set v1 up");
    ip("address add 10.9.9.1/24 dev v0");
    ip("nexthop add id 7 via 10.9.9.9 dev v0");
    ip("route add default nhid 7");
    assert_eq!(uses("v0"), [Use::DefaultRoute, Use::Network]);
    // So the kernel names the object only, and nothing is believed.
    std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", "0").unwrap();
    assert_eq!((uses("v0"), uses("v1")), (vec![Use::Unknown], vec![Use::Unknown]));
}

#[test]
fn forwarding_is_read_by_interface() {
    let Some(_namespace) = Namespace::enter() else { return };
    ip("link add v0 type veth peer name v1");
    assert!(!by_name("v0").forwards);
    std::fs::write("/proc/sys/net/ipv4/conf/v0/forwarding", "1").unwrap();
    assert!(by_name("v0").forwards && !by_name("v1").forwards);
    std::fs::write("/proc/sys/net/ipv4/conf/v0/forwarding", "0").unwrap();
    std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    assert!(by_name("v0").forwards && by_name("v1").forwards);
}

#[test]
fn a_tap_for_a_virtual_machine_is_told_from_another() {
    let Some(_namespace) = Namespace::enter() else { return };
    ip("tuntap add dev tap0 mode tap");
    ip("tuntap add dev tap1 mode tap vnet_hdr");
    assert_eq!(["tap0", "tap1"].map(|name| by_name(name).virtio), [false, true]);
}

/// By a name, by a process; neither, and it may be where this machine's own host is.
#[test]
fn a_namespace_is_inside_while_something_there_can_be_seen() {
    let Some(_namespace) = Namespace::enter() else { return };
    let other = Namespace::create();
    ip("link add v0 type veth peer name v1");
    assert!(by_name("v0").elsewhere.is_none());
    ip(&format!("link set v1 netns {}", other.name));
    assert!(by_name("v0").elsewhere.unwrap().inside, "it has a name");

    let held = File::open(format!("/run/netns/{}", other.name)).unwrap();
    drop(other);
    let there = by_name("v0").elsewhere.unwrap();
    assert!(there.id >= 0 && !there.inside, "{there:?}");

    let path = format!("--net=/proc/{}/fd/{}", std::process::id(), held.as_raw_fd());
    let mut process = Command::new("nsenter").args([&path, "--", "sleep", "60"]).spawn().unwrap();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !by_name("v0").elsewhere.unwrap().inside {
        assert!(std::time::Instant::now() < until, "its process was never seen");
        std::thread::yield_now();
    }
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(!by_name("v0").elsewhere.unwrap().inside);
}

/// In a namespace that is no container of its own, process 1 is in the one around it.
#[test]
fn where_process_1_runs_is_outside() {
    let Some(_namespace) = Namespace::enter() else { return };
    let far = format!("og-{}", std::process::id());
    ip(&format!("link add v0 type veth peer name {far}"));
    let moved = Command::new("ip").args(["link", "set", &far, "netns", "1"]).output().unwrap();
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
    let there = by_name("v0").elsewhere.unwrap();
    ip("link delete v0");
    assert!(!there.inside, "{there:?}");
}
