//! From the policy to the table.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::allows::Allows;
use super::chains::{self, names};
use super::{AddressType, CounterName, Elements, Family, Hook, Ruleset, Set};
use crate::links::{Kind, Links};
use crate::plan::class::Placements;
use crate::policy::{InterfaceName, Policy, Protocol, ServiceName};

/// What the ruleset depends on besides the policy: facts about this host's interfaces and sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Interfaces whose name matches `containers` but that are no bridge, or have a member that is neither veth nor tap:
    /// guarded.
    pub not_containers: BTreeSet<InterfaceName>,
    /// Every bridge device. With `br_netfilter` the frames inside a bridge meet the table as if they had arrived on the
    /// bridge device; on these names only what is for the host, or leaves by another interface, is judged.
    pub bridges: BTreeSet<InterfaceName>,
    /// VRF devices: what arrives on a member passes prerouting a second time under the device's name.
    pub vrf_devices: BTreeSet<InterfaceName>,
    /// Host ports behind which a userland proxy leads to a guarded port.
    pub derived: BTreeSet<Derived>,
}

impl Surroundings {
    /// What the interfaces say; derived ports are another's business.
    pub fn of(placements: &Placements, links: &Links) -> Self {
        let bridges = links.iter().filter(|link| link.kind == Kind::Bridge).map(|link| link.name.clone());
        Self {
            not_containers: placements.refused_containers.clone(),
            bridges: bridges.collect(),
            vrf_devices: placements.vrf_devices.clone(),
            derived: BTreeSet::new(),
        }
    }
}

/// A port that is guarded because something listens there that dials a guarded port itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Derived {
    /// Its protocol.
    pub protocol: Protocol,
    /// The host's port.
    pub port: u16,
    /// The service it leads to.
    pub service: ServiceName,
    /// Addresses of this host at which its proxy listens; the unspecified one stands for all of its family.
    pub addresses: BTreeSet<IpAddr>,
    /// Its container has yet to start.
    pub expected: bool,
}

/// Plans the table.
pub fn lower(policy: &Policy, surroundings: &Surroundings) -> Ruleset {
    let allows = Allows::of(policy);
    let mut sets = vec![
        Set { name: names::PORTS.into(), elements: Elements::Ports(guarded_ports(policy, surroundings)) },
        Set { name: names::TRUSTED.into(), elements: Elements::Names(policy.trusted.iter().cloned().collect()) },
        Set { name: names::CONTAINERS.into(), elements: Elements::Names(policy.containers.iter().cloned().collect()) },
        exact(names::NOT_CONTAINERS, &surroundings.not_containers),
        exact(names::BRIDGES, &surroundings.bridges),
        exact(names::VRF_DEVICES, &surroundings.vrf_devices),
        Set { name: names::INSIDE_BRIDGES.into(), elements: Elements::Inside(surroundings.bridges.clone()) },
        Set {
            name: names::OWN_ADDRESSES.into(),
            elements: Elements::Addresses([AddressType::Local, AddressType::Anycast].into()),
        },
    ];
    sets.extend(proxied(policy, surroundings));
    for service in allows.services() {
        let ports = service_ports(policy, surroundings, service);
        sets.push(Set { name: names::service(service), elements: Elements::Ports(ports) });
    }
    sets.extend(allows.sets());
    for hook in Hook::ALL {
        for observed in [false, true] {
            sets.push(Set { name: names::counted(hook, observed), elements: Elements::Counted });
        }
    }
    Ruleset { sets, counters: CounterName::all(), chains: chains::of(policy, &allows) }
}

fn exact(name: &str, interfaces: &BTreeSet<InterfaceName>) -> Set {
    let patterns = interfaces.iter().cloned().map(crate::policy::NamePattern::Exact).collect();
    Set { name: name.into(), elements: Elements::Names(patterns) }
}

/// The proxied ports, and where each is guarded. What a service guards anyway is guarded everywhere.
fn proxied(policy: &Policy, surroundings: &Surroundings) -> Vec<Set> {
    let configured: BTreeSet<_> = policy.services.iter().flat_map(|service| own_ports(policy, &service.name)).collect();
    let is_ours = |one: &&Derived| {
        let known = policy.services.iter().any(|service| service.name == one.service);
        known && !configured.contains(&(one.protocol, one.port))
    };
    let ports: Vec<&Derived> = surroundings.derived.iter().filter(is_ours).collect();
    let numbers = |of: &dyn Fn(&Derived) -> bool| {
        Elements::Ports(ports.iter().filter(|one| of(one)).map(|one| (one.protocol, one.port)).collect())
    };
    let everywhere = |any: IpAddr| numbers(&|one| one.addresses.contains(&any));
    let (mut v4, mut v6) = (BTreeSet::new(), BTreeSet::new());
    for one in &ports {
        for address in one.addresses.iter().filter(|address| !address.is_unspecified()) {
            match *address {
                IpAddr::V4(ip) => drop(v4.insert((ip, one.protocol, one.port))),
                IpAddr::V6(ip) => drop(v6.insert((ip, one.protocol, one.port))),
            }
        }
    }
    let set = |name: &str, elements| Set { name: name.to_owned(), elements };
    vec![
        set(names::PROXIED, numbers(&|_| true)),
        set(names::EXPECTED, numbers(&|one| one.expected)),
        set(names::proxied_everywhere(Family::V4), everywhere([0; 4].into())),
        set(names::proxied_everywhere(Family::V6), everywhere([0_u16; 8].into())),
        set(names::proxied_at(Family::V4), Elements::V4Endpoints(v4)),
        set(names::proxied_at(Family::V6), Elements::V6Endpoints(v6)),
    ]
}

/// Every guarded port: the services' and the derived ones.
fn guarded_ports(policy: &Policy, surroundings: &Surroundings) -> BTreeSet<(Protocol, u16)> {
    let mut ports = BTreeSet::new();
    for service in &policy.services {
        ports.extend(service_ports(policy, surroundings, &service.name));
    }
    ports
}

fn service_ports(policy: &Policy, surroundings: &Surroundings, name: &ServiceName) -> BTreeSet<(Protocol, u16)> {
    let mut ports = own_ports(policy, name);
    // A port that another service has is that one's, whatever a proxy says of it.
    let configured: BTreeSet<_> = policy.services.iter().flat_map(|service| own_ports(policy, &service.name)).collect();
    let derived = surroundings.derived.iter().filter(|derived| derived.service == *name);
    ports.extend(derived.map(|derived| (derived.protocol, derived.port)).filter(|place| !configured.contains(place)));
    ports
}

fn own_ports(policy: &Policy, name: &ServiceName) -> BTreeSet<(Protocol, u16)> {
    let mut ports = BTreeSet::new();
    for service in policy.services.iter().filter(|service| service.name == *name) {
        for protocol in &service.protocols {
            ports.extend(service.ports.iter().map(|port| (*protocol, port.get())));
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::built_in;
    use crate::plan::fixture::{link, member, nic};
    use crate::seatbelt::ruleset::{PacketFacts, Transport, Verdict};

    #[test]
    fn the_surroundings_are_the_interfaces_that_names_alone_would_misjudge() {
        let links: Links = [
            nic(2, "eth0"),
            link(3, "docker0", Kind::Bridge),
            link(4, "br-lan", Kind::Bridge),
            member(nic(5, "eth1"), 4),
            link(6, "blue", Kind::Vrf),
            link(7, "br-0", Kind::Dummy),
        ]
        .into_iter()
        .collect();
        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        assert_eq!(
            Surroundings::of(&Placements::new(&built_in(), &links), &links),
            Surroundings {
                not_containers: names(&["br-lan", "br-0"]),
                bridges: names(&["docker0", "br-lan"]),
                vrf_devices: names(&["blue"]),
                derived: BTreeSet::new(),
            }
        );
    }

    /// With `br_netfilter` frames from port to port of a bridge are here too. They are not for this host.
    #[test]
    fn what_stays_inside_a_bridge_passes_and_what_leaves_it_is_judged() {
        let surroundings = Surroundings { bridges: ["vmbr0".parse().unwrap()].into(), ..Surroundings::default() };
        let ruleset = lower(&built_in(), &surroundings);
        let verdict = |ingress: &str, egress: &str| {
            ruleset.evaluate(&PacketFacts {
                hook: Hook::Forward,
                ingress: ingress.parse().unwrap(),
                egress: egress.parse().ok(),
                member: None,
                source: [203, 0, 113, 9].into(),
                address: [10, 0, 0, 2].into(),
                destination: AddressType::Unicast,
                transport: Transport::Port(6, 11434),
            })
        };
        assert_eq!(verdict("vmbr0", "vmbr0"), Verdict::Accept);
        assert_eq!(verdict("vmbr0", "eth0"), Verdict::Drop);
        assert_eq!(verdict("eth0", "vmbr0"), Verdict::Drop);
        assert_eq!(verdict("eth0", "eth0"), Verdict::Drop, "it is no bridge");
    }

    #[test]
    fn a_derived_port_is_guarded_as_its_service_s_own() {
        let derived = |service: &str, port| Derived {
            protocol: Protocol::Tcp,
            port,
            service: service.parse().unwrap(),
            addresses: ["0.0.0.0".parse().unwrap()].into(),
            expected: false,
        };
        let surroundings = Surroundings {
            derived: [derived("ollama", 8080), derived("gone", 8081)].into(),
            ..Surroundings::default()
        };
        let ports = service_ports(&built_in(), &surroundings, &"ollama".parse().unwrap());
        assert_eq!(ports, [(Protocol::Tcp, 8080), (Protocol::Tcp, 11434)].into());
        let ruleset = lower(&built_in(), &surroundings);
        let guarded = ruleset.sets.iter().find(|set| set.name == names::PORTS).unwrap();
        assert_eq!(guarded.elements, Elements::Ports(ports), "a service that is gone guards nothing");
    }

    /// Hook by hook: this host's addresses at which the proxy listens, before and after translation; nowhere else.
    #[test]
    fn a_proxied_port_is_guarded_where_its_proxy_listens() {
        let derived = |port, address: &str, expected| Derived {
            protocol: Protocol::Tcp,
            port,
            service: "ollama".parse().unwrap(),
            addresses: [address.parse().unwrap()].into(),
            expected,
        };
        let proxies = [derived(8080, "0.0.0.0", false), derived(8081, "10.0.0.5", false), derived(8082, "::", true)];
        let ruleset = lower(&built_in(), &Surroundings { derived: proxies.into(), ..Surroundings::default() });
        let verdict = |hook, address: &str, destination, port| {
            let address: IpAddr = address.parse().unwrap();
            ruleset.evaluate(&PacketFacts {
                hook,
                ingress: "eth0".parse().unwrap(),
                egress: None,
                member: None,
                source: if address.is_ipv4() { [203, 0, 113, 9].into() } else { "2001:db8::9".parse().unwrap() },
                address,
                destination,
                transport: Transport::Port(6, port),
            })
        };
        let (local, unicast) = (AddressType::Local, AddressType::Unicast);
        for hook in [Hook::Prerouting, Hook::Input] {
            assert_eq!(verdict(hook, "10.0.0.1", local, 8080), Verdict::Drop, "{hook:?}");
            assert_eq!(verdict(hook, "fd00::1", local, 8080), Verdict::Accept, "{hook:?}: not of that family");
            assert_eq!(verdict(hook, "10.0.0.5", local, 8081), Verdict::Drop, "{hook:?}");
            assert_eq!(verdict(hook, "10.0.0.1", local, 8081), Verdict::Accept, "{hook:?}: another address");
            assert_eq!(verdict(hook, "10.0.0.1", local, 11434), Verdict::Drop, "{hook:?}");
        }
        assert_eq!(verdict(Hook::Prerouting, "10.9.9.9", unicast, 8080), Verdict::Accept, "another machine's");
        assert_eq!(verdict(Hook::Forward, "172.17.0.3", unicast, 8080), Verdict::Accept, "another container's");
        assert_eq!(verdict(Hook::Prerouting, "fd00::1", local, 8082), Verdict::Accept, "may be translated");
        assert_eq!(verdict(Hook::Input, "fd00::1", local, 8082), Verdict::Drop);
    }
}
