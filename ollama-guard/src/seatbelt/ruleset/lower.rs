//! From the policy to the table.

use std::collections::BTreeSet;

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
    /// Whose it is.
    pub container: String,
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
    Ruleset { sets, counters: CounterName::all(), chains: chains::of(policy, &allows) }
}

fn exact(name: &str, interfaces: &BTreeSet<InterfaceName>) -> Set {
    let patterns = interfaces.iter().cloned().map(crate::policy::NamePattern::Exact).collect();
    Set { name: name.into(), elements: Elements::Names(patterns) }
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
    let mut ports = BTreeSet::new();
    for service in policy.services.iter().filter(|service| service.name == *name) {
        for protocol in &service.protocols {
            ports.extend(service.ports.iter().map(|port| (*protocol, port.get())));
        }
    }
    let derived = surroundings.derived.iter().filter(|derived| derived.service == *name);
    ports.extend(derived.map(|derived| (derived.protocol, derived.port)));
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
            container: "open-webui-1".into(),
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
}
