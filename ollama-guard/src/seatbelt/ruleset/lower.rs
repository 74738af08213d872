//! From the policy to the table.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::allows::Allows;
use super::chains::{self, names};
use super::{AddressType, CounterName, Elements, Family, Hook, Ruleset, Set};
use crate::links::{Kind, Links};
use crate::plan::class::Placements;
use crate::policy::{InterfaceName, NamePattern, Policy, Protocol, ServiceName};

/// What the ruleset depends on besides the policy: facts about this host's interfaces and sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Interfaces that lead to containers only, by facts and not by a name under `containers`.
    pub containers: BTreeSet<InterfaceName>,
    /// Interfaces whose name matches `containers` but of which facts say otherwise: guarded.
    pub not_containers: BTreeSet<InterfaceName>,
    /// Guarded interfaces behind which there are containers of this host.
    pub with_containers: BTreeSet<InterfaceName>,
    /// Every bridge device. With `br_netfilter` the frames inside a bridge meet the table as if they had arrived on the
    /// bridge device; on these names only what is for the host, or leaves by another interface, is judged.
    pub bridges: BTreeSet<InterfaceName>,
    /// VRF devices: what arrives on a member passes prerouting a second time under the device's name.
    pub vrf_devices: BTreeSet<InterfaceName>,
    /// `br_netfilter` is loaded: DNAT also sends frames elsewhere inside one bridge.
    pub bridges_translate: bool,
    /// Bridges on which an eBPF program stands.
    pub judged: BTreeSet<InterfaceName>,
    /// Host ports behind which a userland proxy leads to a guarded port.
    pub derived: BTreeSet<Derived>,
}

impl Surroundings {
    /// What the interfaces say; the rest is another's business.
    pub fn of(placements: &Placements, links: &Links) -> Self {
        let bridges = links.iter().filter(|link| link.kind == Kind::Bridge).map(|link| link.name.clone());
        Self {
            containers: placements.further_containers.clone(),
            with_containers: placements.with_containers.clone(),
            not_containers: placements.refused_containers.clone(),
            bridges: bridges.collect(),
            vrf_devices: placements.vrf_devices.clone(),
            ..Self::default()
        }
    }

    /// Prerouting leaves packets on bridges to their programs.
    pub(super) fn leaves_bridges(&self) -> bool {
        self.bridges_translate && !self.judged.is_empty()
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
    let by_facts = surroundings.containers.iter().cloned().map(NamePattern::Exact);
    let containers = policy.containers.iter().cloned().chain(by_facts).collect();
    let mut sets = vec![
        Set { name: names::PORTS.into(), elements: Elements::Ports(guarded_ports(policy, surroundings)) },
        Set { name: names::TRUSTED.into(), elements: Elements::Names(policy.trusted.iter().cloned().collect()) },
        Set { name: names::CONTAINERS.into(), elements: Elements::Names(containers) },
        exact(names::NOT_CONTAINERS, &surroundings.not_containers),
        exact(names::WITH_CONTAINERS, &surroundings.with_containers),
        exact(names::BRIDGES, &surroundings.bridges),
        exact(
            names::JUDGED,
            &if surroundings.leaves_bridges() { surroundings.judged.clone() } else { BTreeSet::new() },
        ),
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
    for family in [Family::V4, Family::V6] {
        sets.push(Set { name: names::began(family), elements: Elements::Conversations(family) });
    }
    for hook in Hook::ALL {
        for observed in [false, true] {
            sets.push(Set { name: names::counted(hook, observed), elements: Elements::Counted });
        }
    }
    Ruleset { sets, counters: CounterName::all(), chains: chains::of(policy, &allows, surroundings) }
}

fn exact(name: &str, interfaces: &BTreeSet<InterfaceName>) -> Set {
    let patterns = interfaces.iter().cloned().map(NamePattern::Exact).collect();
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
    use crate::policy::Forwarded;
    use crate::seatbelt::ruleset::{Carried, PacketFacts, Transport, Verdict};

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
                ..Surroundings::default()
            }
        );
    }

    /// A class that facts give or take holds in both directions.
    #[test]
    fn a_class_by_facts_holds_for_what_arrives_and_for_what_leaves() {
        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let surroundings = Surroundings {
            containers: names(&["ai-net"]),
            not_containers: names(&["br-lost"]),
            with_containers: names(&["br-lost", "lost0"]),
            ..Surroundings::default()
        };
        let passing = Policy { forwarded: Forwarded::Pass, ..built_in() };
        let [dropping, passing] = [built_in(), passing].map(|policy| lower(&policy, &surroundings));
        let verdict = |ruleset: &Ruleset, ingress: &str, egress: &str| {
            ruleset.evaluate(&PacketFacts {
                hook: Hook::Forward,
                ingress: ingress.parse().unwrap(),
                egress: egress.parse().ok(),
                member: None,
                source: [203, 0, 113, 9].into(),
                address: [10, 0, 0, 2].into(),
                destination: AddressType::Unicast,
                carried: Carried::Routed,
                transport: Transport::Port(6, 11434),
            })
        };
        for ruleset in [&dropping, &passing] {
            assert_eq!(verdict(ruleset, "ai-net", "eth0"), Verdict::Accept);
            assert_eq!(verdict(ruleset, "br-1", "eth0"), Verdict::Accept);
            for behind in ["ai-net", "br-1", "br-lost", "lost0"] {
                assert_eq!(verdict(ruleset, "eth0", behind), Verdict::Drop, "to {behind}");
            }
        }
        for lost in ["br-lost", "lost0"] {
            assert_eq!(verdict(&dropping, lost, "eth0"), Verdict::Drop, "{lost}");
            assert_eq!(verdict(&passing, lost, "ai-net"), Verdict::Drop, "{lost}");
        }
        assert_eq!(verdict(&passing, "eth0", "eth1"), Verdict::Accept);
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
                carried: Carried::Routed,
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
