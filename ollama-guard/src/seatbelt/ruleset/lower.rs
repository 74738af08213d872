//! From the policy to the table.

use std::collections::BTreeSet;

use super::allows::Allows;
use super::chains::{self, names};
use super::{AddressType, CounterName, Elements, Hook, Ruleset, Set};
use crate::policy::{InterfaceName, Listen, Policy, Protocol, ServiceName};

/// What the ruleset depends on besides the policy: facts about this host's interfaces and sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Bridges whose name matches `containers` but that have a member that is neither veth nor tap: guarded.
    pub not_containers: BTreeSet<InterfaceName>,
    /// Every bridge device. With `br_netfilter` the frames inside a bridge meet the table as if they had arrived on the
    /// bridge device; on these names only what is for the host, or leaves by another interface, is judged.
    pub bridges: BTreeSet<InterfaceName>,
    /// VRF devices: what arrives on a member passes prerouting a second time under the device's name.
    pub vrf_devices: BTreeSet<InterfaceName>,
    /// Host ports behind which a userland proxy leads to a guarded port.
    pub derived: BTreeSet<Derived>,
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
        exact(names::BRIDGES, &(&surroundings.bridges | &surroundings.not_containers)),
        exact(names::VRF_DEVICES, &surroundings.vrf_devices),
        Set {
            name: names::INSIDE_BRIDGES.into(),
            elements: Elements::Inside(&surroundings.bridges | &surroundings.not_containers),
        },
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

/// Every guarded port: the services', the derived ones, and the metrics' own where strangers could reach it.
pub(super) fn guarded_ports(policy: &Policy, surroundings: &Surroundings) -> BTreeSet<(Protocol, u16)> {
    let mut ports = BTreeSet::new();
    for service in &policy.services {
        ports.extend(service_ports(policy, surroundings, &service.name));
    }
    if let Some(listen) = policy.metrics.as_ref().and_then(Listen::reachable) {
        ports.insert((Protocol::Tcp, listen.port()));
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
