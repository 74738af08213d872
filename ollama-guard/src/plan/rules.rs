//! The policy of one interface, lowered to what a kernel program holds: constants and allow-list entries.
//!
//! Interfaces with equal rules share one program instance, so an `[[allow]]` for one interface makes an instance of
//! its own and the kernel never matches an interface by index.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use ollama_guard_common::Address;
use ollama_guard_common::abi::{self, InterfaceClass, Onward, ProxiedKey, ServiceIndex, ServiceSet};

use super::services::ServiceTable;
use crate::class::Class;
use crate::policy::{Allow, ContainerAccess, Forwarded, InterfaceName, Mode, Policy, Protocol};

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

/// A port that is guarded where its proxy listens, and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxiedPort {
    /// The port.
    pub port: GuardedPort,
    /// Addresses of this host at which the proxy listens; the unspecified one stands for all of its family.
    pub addresses: BTreeSet<IpAddr>,
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
    /// What becomes of packets for other machines.
    pub onward: Onward,
    /// Guarded ports.
    pub ports: BTreeSet<GuardedPort>,
    /// Proxied ports, which are no guarded ones.
    pub proxied: BTreeSet<ProxiedPort>,
    /// Allowed sources. The longest prefix that holds an address names every service the address may reach.
    pub allow: BTreeMap<IpNet, ServiceSet>,
}

impl KernelRules {
    /// Lowers the policy for one interface. `proxied` are ports whose proxy ends at a guarded one.
    pub fn lower(
        policy: &Policy,
        services: &ServiceTable,
        proxied: &BTreeSet<ProxiedPort>,
        class: Class,
        interface: &InterfaceName,
    ) -> Self {
        let ports: BTreeSet<_> = policy
            .services
            .iter()
            .flat_map(|service| {
                let index = services.index(&service.name);
                service.protocols.iter().flat_map(move |&protocol| {
                    service.ports.iter().map(move |port| GuardedPort { protocol, port: port.get(), service: index })
                })
            })
            .collect();
        let guards =
            |one: &ProxiedPort| ports.iter().any(|own| (own.protocol, own.port) == (one.port.protocol, one.port.port));
        let containers_may_enter = class == Class::Container && policy.container_access == ContainerAccess::Allow;
        let allow = match class {
            Class::Guarded => allowed_sources(policy.allow.iter(), services, interface),
            Class::Container if !containers_may_enter => {
                allowed_sources(policy.allow.iter().filter(|allow| !allow.implied), services, interface)
            }
            Class::Trusted | Class::Container => BTreeMap::new(),
        };
        Self {
            class,
            observe: policy.mode == Mode::Observe,
            containers_may_enter,
            onward: if class == Class::Guarded && policy.forwarded == Forwarded::Pass {
                Onward::Pass
            } else {
                Onward::Drop
            },
            proxied: proxied.iter().filter(|one| !guards(one)).cloned().collect(),
            ports,
            allow,
        }
    }

    /// The same for an interface whose frames ipvlan children in other namespaces share. Theirs bear its MAC address and come
    /// by its program, and are no more this host's than a macvlan child's: what the host would route back to the wire passes.
    #[must_use]
    pub fn shared(self) -> Self {
        let shares = self.class == Class::Guarded && self.onward == Onward::Drop;
        Self { onward: if shares { Onward::PassBack } else { self.onward }, ..self }
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
        rules.forward = self.onward as u8;
        rules.allows_v4 = self.allow.keys().any(|net| matches!(net, IpNet::V4(_))).into();
        rules.allows_v6 = self.allow.keys().any(|net| matches!(net, IpNet::V6(_))).into();
        let passes = self.onward != Onward::Drop || !self.allow.is_empty() || !self.proxied.is_empty();
        rules.refuses_all = (self.class == Class::Guarded && !passes).into();
        rules.proxies = (!self.proxied.is_empty()).into();
        rules.seed = seed;
        for guarded in self.ports.iter().chain(self.proxied.iter().map(|one| &one.port)) {
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

    /// The keys of the map `proxied`.
    pub fn proxied_keys(&self) -> Vec<ProxiedKey> {
        let keys = self.proxied.iter().flat_map(|ProxiedPort { port, addresses }| {
            let key = |address: Address| ProxiedKey {
                address: address.words,
                port: port.port,
                protocol: port.protocol.number(),
                family: u8::try_from(address.family).unwrap_or(0),
            };
            let listens = addresses.iter().map(|&address| Address::from(address));
            [Address::UNKNOWN].into_iter().chain(listens).map(key).collect::<Vec<_>>()
        });
        keys.collect()
    }
}

/// Every source that some `[[allow]]` names for this interface, with the union of the services of all entries that
/// contain it: a longest-prefix match finds one entry only.
fn allowed_sources<'a>(
    allows: impl Iterator<Item = &'a Allow>,
    services: &ServiceTable,
    interface: &InterfaceName,
) -> BTreeMap<IpNet, ServiceSet> {
    let mut sources: BTreeMap<IpNet, ServiceSet> = BTreeMap::new();
    for allow in allows {
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
mod tests;
