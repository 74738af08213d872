//! Generated policies and surroundings, from pools small enough that things meet.

use std::collections::BTreeSet;

use ollama_guard::policy::*;
use ollama_guard::seatbelt::ruleset::{Derived, Surroundings};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::support;

pub(crate) const INTERFACES: [&str; 10] =
    ["lo", "eth0", "eth1", "wg0", "wg1", "docker0", "br-1", "br-lan", "vmbr0", "tailscale0"];
const PATTERNS: [&str; 9] = ["lo", "eth0", "wg0", "wg*", "docker0", "br-*", "br*", "tailscale0", "eth*"];
pub(crate) const PORTS: [u16; 5] = [11434, 8080, 1, 65535, 3000];
const NETWORKS: [&str; 14] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.3/32",
    "11.0.0.0/8",
    "192.168.1.50/32",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::/0",
    "fd00::/8",
    "fd00:1::/32",
    "fd00:1::5/128",
    "8000::/1",
    "fe80::/10",
];
pub(crate) const SOURCES: [&str; 10] = [
    "10.0.0.1",
    "10.1.2.3",
    "10.1.2.4",
    "11.9.9.9",
    "192.168.1.50",
    "255.255.255.255",
    "fd00:1::5",
    "fd01::1",
    "2001:db8::1",
    "fe80::1",
];

/// Addresses of this host.
pub(crate) const OWN: [&str; 2] = ["203.0.113.1", "2001:db8::99"];

fn patterns() -> impl Strategy<Value = Vec<NamePattern>> {
    subsequence(PATTERNS.to_vec(), 0..5).prop_map(|names| support::patterns(&names))
}

fn names(pool: &'static [&'static str]) -> impl Strategy<Value = BTreeSet<InterfaceName>> {
    subsequence(pool.to_vec(), 0..=pool.len()).prop_map(|names| names.iter().map(|n| n.parse().unwrap()).collect())
}

fn services() -> impl Strategy<Value = Vec<Service>> {
    let protocols =
        prop_oneof![Just(vec![Protocol::Tcp]), Just(vec![Protocol::Udp]), Just(vec![Protocol::Tcp, Protocol::Udp])];
    (subsequence(PORTS.to_vec(), 1..=3), protocols.clone(), protocols).prop_map(|(ports, first, second)| {
        let (head, tail) = ports.split_at(1);
        let mut services = vec![support::service("one", head, &first)];
        if !tail.is_empty() {
            services.push(support::service("two", tail, &second));
        }
        services
    })
}

fn allow() -> impl Strategy<Value = Allow> {
    let interface = proptest::option::of(select(INTERFACES.to_vec()));
    let service = proptest::option::of(select(vec!["one", "two"]));
    (select(NETWORKS.to_vec()), interface, service, any::<bool>()).prop_map(|(source, interface, service, implied)| {
        Allow { implied, ..support::allow(source, interface, service) }
    })
}

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    (
        (services(), patterns(), patterns(), proptest::collection::vec(allow(), 0..6)),
        (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.1)),
    )
        .prop_map(|((services, trusted, containers, mut allow), (enter, pass, observe))| {
            // A policy's allows name services that exist.
            allow.retain(|allow| allow.service.iter().all(|name| services.iter().any(|s| s.name == *name)));
            Policy {
                services,
                trusted,
                containers,
                allow,
                container_access: if enter { ContainerAccess::Allow } else { ContainerAccess::Deny },
                forwarded: if pass { Forwarded::Pass } else { Forwarded::Drop },
                mode: if observe { Mode::Observe } else { Mode::Enforce },
                ..support::policy()
            }
        })
}

/// Ports of proxies, and where these listen. (One whose container has yet to start is guarded by nftables alone.)
fn derived() -> impl Strategy<Value = BTreeSet<Derived>> {
    let addresses = subsequence(vec!["0.0.0.0", "::", OWN[0], OWN[1], "192.0.2.200"], 1..=3);
    let protocol = select(vec![Protocol::Tcp, Protocol::Udp]);
    let one = (select(PORTS.to_vec()), protocol, addresses).prop_map(|(port, protocol, addresses)| Derived {
        protocol,
        port,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        expected: false,
        service: "one".parse().unwrap(),
    });
    proptest::collection::vec(one, 0..3).prop_map(|all| {
        let mut seen = BTreeSet::new();
        all.into_iter().filter(|one| seen.insert((one.protocol, one.port))).collect()
    })
}

pub(crate) fn surroundings() -> impl Strategy<Value = Surroundings> {
    let classes = (names(&["vmbr0", "eth1"]), names(&["br-lan", "br-1", "docker0"]), names(&["br-lan", "vmbr0"]));
    let bridges =
        (names(&["br-lan", "vmbr0", "br-1", "docker0"]), any::<bool>(), names(&["br-lan", "br-1", "docker0"]));
    (classes, bridges, names(&["red", "blue"]), derived()).prop_map(|(classes, bridges, vrf_devices, derived)| {
        let (containers, not_containers, with_containers) = classes;
        let (bridges, bridges_translate, judged) = bridges;
        Surroundings {
            containers,
            not_containers,
            with_containers,
            bridges,
            vrf_devices,
            bridges_translate,
            judged,
            derived,
        }
    })
}
