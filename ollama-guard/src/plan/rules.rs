//! The policy of one interface, lowered to what a kernel program holds: constants and allow-list entries.
//!
//! Interfaces with equal rules share one program instance, so an `[[allow]]` for one interface makes an instance of
//! its own and the kernel never matches an interface by index.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use ollama_guard_common::abi::{self, InterfaceClass, ServiceIndex, ServiceSet};

use super::services::ServiceTable;
use crate::class::Class;
use crate::policy::{ContainerAccess, Forwarded, InterfaceName, Mode, Policy, Protocol};

/// A port that a program instance guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuardedPort {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The destination port.
    pub port: u16,
    /// The service it is counted for.
    pub service: ServiceIndex,
}

/// What one program instance enforces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KernelRules {
    /// The class of the interfaces it is attached to.
    pub class: Class,
    /// Count only.
    pub observe: bool,
    /// `container_access = "allow"`.
    pub containers_may_enter: bool,
    /// `forwarded = "pass"`.
    pub forward: bool,
    /// Guarded ports.
    pub ports: BTreeSet<GuardedPort>,
    /// Allowed sources. The longest prefix that holds an address names every service the address may reach.
    pub allow: BTreeMap<IpNet, ServiceSet>,
}

impl KernelRules {
    /// Lowers the policy for one interface. `derived` are ports whose userland proxy ends at a guarded one.
    pub fn lower(
        policy: &Policy,
        services: &ServiceTable,
        derived: &BTreeSet<GuardedPort>,
        class: Class,
        interface: &InterfaceName,
    ) -> Self {
        let configured = policy.services.iter().flat_map(|service| {
            let index = services.index(&service.name);
            service.protocols.iter().flat_map(move |&protocol| {
                service.ports.iter().map(move |port| GuardedPort { protocol, port: port.get(), service: index })
            })
        });
        let allow = match class {
            Class::Guarded => allowed_sources(policy, services, interface),
            Class::Trusted | Class::Container => BTreeMap::new(),
        };
        Self {
            class,
            observe: policy.mode == Mode::Observe,
            containers_may_enter: class == Class::Container && policy.container_access == ContainerAccess::Allow,
            forward: class == Class::Guarded && policy.forwarded == Forwarded::Pass,
            ports: derived.iter().copied().chain(configured).collect(),
            allow,
        }
    }

    /// The constants of the program. `seed`: random, for the gate's hash.
    pub fn constants(&self, seed: u32) -> Box<abi::Rules> {
        let mut rules = Box::new(abi::Rules::EMPTY);
        rules.class = match self.class {
            Class::Guarded => InterfaceClass::Guarded,
            Class::Container => InterfaceClass::Container,
            Class::Trusted => InterfaceClass::Trusted,
        } as u8;
        rules.observe = self.observe.into();
        rules.containers_may_enter = self.containers_may_enter.into();
        rules.forward = self.forward.into();
        rules.allows_v4 = self.allow.keys().any(|net| matches!(net, IpNet::V4(_))).into();
        rules.allows_v6 = self.allow.keys().any(|net| matches!(net, IpNet::V6(_))).into();
        rules.seed = seed;
        for guarded in &self.ports {
            let (word, bit) = (usize::from(guarded.port >> 6), guarded.port & 63);
            let service = &mut rules.services[usize::from(guarded.port)];
            match guarded.protocol {
                Protocol::Tcp => {
                    rules.guards_tcp = 1;
                    rules.tcp[word] |= 1 << bit;
                    *service = *service & 0xf0 | guarded.service.get();
                }
                Protocol::Udp => {
                    rules.guards_udp = 1;
                    rules.udp[word] |= 1 << bit;
                    *service = *service & 0x0f | guarded.service.get() << 4;
                }
            }
        }
        rules
    }
}

/// Every source that some `[[allow]]` names for this interface, with the union of the services of all entries that
/// contain it: a longest-prefix match finds one entry only.
fn allowed_sources(policy: &Policy, services: &ServiceTable, interface: &InterfaceName) -> BTreeMap<IpNet, ServiceSet> {
    let mut sources: BTreeMap<IpNet, ServiceSet> = BTreeMap::new();
    for allow in &policy.allow {
        if allow.interface.as_ref().is_some_and(|only| only != interface) {
            continue;
        }
        let set = match &allow.service {
            Some(name) => services.index(name).bit(),
            None => services.all(),
        };
        *sources.entry(allow.source.trunc()).or_default() |= set;
    }
    inherit(&mut sources);
    sources
}

/// Adds to each prefix the services of the prefixes that contain it. In the map's order (family, address, length) a
/// containing prefix comes first, so one pass with a stack does.
fn inherit(sources: &mut BTreeMap<IpNet, ServiceSet>) {
    let mut containing: Vec<(IpNet, ServiceSet)> = Vec::new();
    for (net, set) in sources.iter_mut() {
        while containing.last().is_some_and(|(outer, _)| !outer.contains(net)) {
            containing.pop();
        }
        if let Some((_, inherited)) = containing.last() {
            *set |= inherited;
        }
        containing.push((*net, *set));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net() -> impl Strategy<Value = IpNet> {
        (any::<u16>(), 8_u8..=32).prop_map(|(bits, length)| {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 | u32::from(bits) << 12);
            IpNet::new(address.into(), length).unwrap().trunc()
        })
    }

    fn guarded_port() -> impl Strategy<Value = GuardedPort> {
        let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)];
        // Few ports, so that both protocols meet in one; the ends of the table and of its words among them.
        let port = prop_oneof![prop::sample::select(vec![0, 63, 64, 11434, u16::MAX]), any::<u16>()];
        (protocol, port, 1..=15_u8).prop_map(|(protocol, port, service)| GuardedPort {
            protocol,
            port,
            service: ServiceIndex::new(service),
        })
    }

    /// As the layout says: a bit for each port, and half a byte for its service.
    fn held(rules: &abi::Rules, protocol: Protocol, port: u16) -> Option<ServiceIndex> {
        let services = rules.services[usize::from(port)];
        let (bitmap, service) = match protocol {
            Protocol::Tcp => (&rules.tcp, services & 0x0f),
            Protocol::Udp => (&rules.udp, services >> 4),
        };
        let guarded = bitmap[usize::from(port / 64)] >> (port % 64) & 1 == 1;
        guarded.then_some(ServiceIndex::new(service))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_constants_guard_these_ports_and_no_others(
            ports in prop::collection::vec(guarded_port(), 0..12),
            (observe, containers_may_enter, forward) in any::<(bool, bool, bool)>(),
            allow in prop::collection::btree_map(prop::sample::select(vec!["10.0.0.0/8", "fd00::/8"]), 1..8_u32, 0..=2),
            seed: u32,
        ) {
            // A port belongs to one service.
            let expected: BTreeMap<_, _> = ports.iter().map(|one| ((one.protocol, one.port), one.service)).collect();
            let ports = expected.iter().map(|(&(protocol, port), &service)| GuardedPort { protocol, port, service });
            for (class, number) in [(Class::Guarded, 0), (Class::Container, 1), (Class::Trusted, 2)] {
                let allow = allow.iter().map(|(net, set)| (net.parse().unwrap(), *set)).collect();
                let ports = ports.clone().collect();
                let rules = KernelRules { class, observe, containers_may_enter, forward, ports, allow };
                let constants = rules.constants(seed);
                prop_assert_eq!((constants.class, constants.seed, constants.reserved), (number, seed, [0; 4]));
                prop_assert_eq!(constants.observe == 1, observe);
                prop_assert_eq!(constants.containers_may_enter == 1, containers_may_enter);
                prop_assert_eq!(constants.forward == 1, forward);
                prop_assert_eq!(constants.allows_v4 == 1, rules.allow.contains_key(&"10.0.0.0/8".parse().unwrap()));
                prop_assert_eq!(constants.allows_v6 == 1, rules.allow.contains_key(&"fd00::/8".parse().unwrap()));
                for (protocol, guards) in [(Protocol::Tcp, constants.guards_tcp), (Protocol::Udp, constants.guards_udp)] {
                    prop_assert_eq!(guards == 1, rules.ports.iter().any(|guarded| guarded.protocol == protocol));
                    for port in 0..=u16::MAX {
                        prop_assert_eq!(held(&constants, protocol, port), expected.get(&(protocol, port)).copied());
                    }
                }
            }
        }

        #[test]
        fn a_longest_prefix_match_finds_what_any_entry_allows(
            entries in proptest::collection::vec((net(), 1_u32..8), 0..40),
            probes in proptest::collection::vec(any::<u32>(), 40),
        ) {
            let mut sources = BTreeMap::new();
            for (net, set) in &entries {
                *sources.entry(*net).or_default() |= set;
            }
            inherit(&mut sources);
            for probe in probes {
                let address: std::net::IpAddr = std::net::Ipv4Addr::from(0x0a00_0000 | probe >> 8).into();
                let any = entries.iter().filter(|(net, _)| net.contains(&address)).fold(0, |all, (_, set)| all | set);
                let longest = sources.iter().filter(|(net, _)| net.contains(&address)).max_by_key(|(net, _)| net.prefix_len());
                prop_assert_eq!(longest.map_or(0, |(_, set)| *set), any);
            }
        }
    }
}
