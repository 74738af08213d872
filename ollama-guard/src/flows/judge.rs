//! Which connections the policy refuses. An entry does not say on which interface its packets arrive: the route of the
//! answers says it, because whoever holds a connection hears them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ollama_guard_common::abi::{Onward, ServiceIndex};

use super::entry::{Entry, Tuple};
use crate::class::Class;
use crate::links::{Kind, Links};
use crate::plan::class::{Placement, Placements};
use crate::plan::rules::KernelRules;
use crate::plan::services::ServiceTable;
use crate::policy::{InterfaceName, Mode, Policy, Protocol};

/// The interfaces by which a connection is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ground {
    /// Every interface.
    pub(super) all: BTreeSet<u32>,
    /// Those on which strangers arrive.
    pub(super) guarded: BTreeMap<u32, InterfaceName>,
    pub(super) containers: BTreeSet<u32>,
    pub(super) bridges: BTreeSet<u32>,
}

impl Ground {
    /// What the plan makes of this host's interfaces.
    pub(crate) fn new(links: &Links, placements: &Placements) -> Self {
        let mut ground = Self::default();
        for link in links.iter() {
            ground.all.insert(link.index);
            if link.kind == Kind::Bridge {
                ground.bridges.insert(link.index);
            }
            match placements.get(link.index) {
                Some(Placement::Attach(Class::Guarded, _)) => {
                    ground.guarded.insert(link.index, link.name.clone());
                }
                Some(Placement::Attach(Class::Container, _)) => {
                    ground.containers.insert(link.index);
                }
                _ => {}
            }
        }
        ground
    }

    /// Has an interface that was there before become guarded? A new one brings no connections.
    pub(super) fn is_stricter_than(&self, before: &Self) -> bool {
        self.guarded.keys().any(|index| before.all.contains(index) && !before.guarded.contains_key(index))
    }
}

/// Where the route to an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To this host.
    Here,
    /// Out of this interface.
    Through(u32),
}

/// A policy on this host's interfaces.
pub(super) struct Judge {
    ground: Ground,
    rules: BTreeMap<u32, Arc<KernelRules>>,
    ports: BTreeMap<(Protocol, u16), ServiceIndex>,
    forward: bool,
}

impl Judge {
    /// `None`: it drops nothing.
    pub(super) fn new(policy: &Policy, services: &ServiceTable, ground: Ground) -> Option<Self> {
        if policy.mode == Mode::Observe || (!policy.layers.wall && !policy.layers.seatbelt) {
            return None;
        }
        // Proxied ports are left out: their proxies are on this host, whose packets no flowtable carries.
        let lower = |name| Arc::new(KernelRules::lower(policy, services, &BTreeSet::new(), Class::Guarded, name));
        let (mut rules, mut ports, mut unnamed) = (BTreeMap::new(), BTreeMap::new(), None);
        for (&index, name) in &ground.guarded {
            let is_named = policy.allow.iter().any(|allow| allow.interface.as_ref() == Some(name));
            let lowered = if is_named { lower(name) } else { Arc::clone(unnamed.get_or_insert_with(|| lower(name))) };
            ports.extend(lowered.ports.iter().map(|port| ((port.protocol, port.port), port.service)));
            rules.insert(index, lowered);
        }
        let forward = rules.values().any(|rules| rules.onward == Onward::Pass);
        Some(Self { ground, rules, ports, forward })
    }

    /// Does it lead to a guarded port, as it arrived or as it was translated?
    pub(super) fn concerns(&self, entry: &Entry) -> bool {
        self.services(entry).next().is_some()
    }

    /// Does the policy refuse it? `client` is the way of the answers, `server` that to where it leads; what is not known
    /// speaks for the connection.
    pub(super) fn refuses(&self, entry: &Entry, client: Option<Way>, server: Option<Way>) -> bool {
        let Some(Way::Through(ingress)) = client else { return false };
        let Some(rules) = self.rules.get(&ingress) else { return false };
        let passes = match server {
            Some(Way::Here) => false,
            // What was bridged is not ours; what was translated was routed.
            Some(Way::Through(egress)) if egress == ingress && self.ground.bridges.contains(&egress) => {
                !entry.translated
            }
            Some(Way::Through(egress)) => self.forward && !self.ground.containers.contains(&egress),
            None => self.forward,
        };
        let source = entry.original.from.ip();
        !passes && self.services(entry).any(|service| !allows(rules, source, service))
    }

    fn services(&self, entry: &Entry) -> impl Iterator<Item = ServiceIndex> {
        let ports = [entry.original.to.port(), entry.reply.from.port()];
        ports.map(|port| self.ports.get(&(entry.protocol, port)).copied()).into_iter().flatten()
    }
}

/// The longest prefix decides: it names every service that any of its prefixes may reach.
fn allows(rules: &KernelRules, source: IpAddr, service: ServiceIndex) -> bool {
    let bits = if source.is_ipv4() { 32 } else { 128 };
    let prefixes = (0..=bits).rev().filter_map(|length| IpNet::new(source, length).ok());
    let set = prefixes.into_iter().find_map(|prefix| rules.allow.get(&prefix.trunc()));
    set.is_some_and(|set| set & service.bit() != 0)
}

/// Connections that were ended. Their servers go on sending for a while, and connection tracking takes that for
/// connections of the server's own (`nf_conntrack_tcp_loose`), which a flowtable would carry in both directions.
#[derive(Debug, Default)]
pub(super) struct Ended(BTreeSet<(Protocol, Tuple)>);

impl Ended {
    /// More are not remembered.
    const MOST: usize = 4096;

    pub(super) fn remember(&mut self, entry: &Entry) {
        if self.0.len() < Self::MOST {
            self.0.insert((entry.protocol, entry.reply));
        }
    }

    /// Is it what the server of an ended connection still sends?
    pub(super) fn is_echo(&self, entry: &Entry) -> bool {
        self.0.contains(&(entry.protocol, entry.original))
    }

    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::entry;
    use super::*;
    use crate::config::built_in;
    use crate::plan::fixture::{link, nic};
    use crate::policy::{Allow, Forwarded};

    const ETH: u32 = 2;
    const WG: u32 = 3;
    const DOCKER: u32 = 4;
    const BRIDGE: u32 = 5;

    fn judge(change: impl FnOnce(&mut Policy)) -> Option<Judge> {
        let mut policy = built_in();
        change(&mut policy);
        let links: Links = [
            link(1, "lo", Kind::Loopback),
            nic(ETH, "eth0"),
            link(WG, "wg0", Kind::Wireguard),
            link(DOCKER, "docker0", Kind::Bridge),
            link(BRIDGE, "vmbr0", Kind::Bridge),
        ]
        .into_iter()
        .collect();
        let (services, _) = ServiceTable::default().update(&policy);
        let ground = Ground::new(&links, &Placements::new(&policy, &links));
        Judge::new(&policy, &services, ground)
    }

    fn through(index: u32) -> Option<Way> {
        (index != 0).then_some(Way::Through(index))
    }

    fn published() -> Entry {
        entry("203.0.113.9:40000", "203.0.113.1:8080", "172.17.0.2:11434")
    }

    #[test]
    fn strangers_are_refused_wherever_the_port_is_in_the_entry() {
        let judge = judge(|_| ()).unwrap();
        let to = |seen, server| entry("203.0.113.9:40000", seen, server);
        for (connection, server) in [
            (published(), through(DOCKER)),
            (to("203.0.113.1:11434", "172.17.0.2:80"), through(DOCKER)),
            (to("203.0.113.1:11434", "203.0.113.1:11434"), Some(Way::Here)),
            (to("203.0.113.1:80", "203.0.113.1:11434"), Some(Way::Here)),
            (to("172.17.0.2:11434", "172.17.0.2:11434"), through(DOCKER)),
        ] {
            assert!(judge.concerns(&connection));
            assert!(judge.refuses(&connection, through(ETH), server), "{connection:?}");
        }
        let other = to("203.0.113.1:8080", "172.17.0.2:80");
        assert!(!judge.concerns(&other) && !judge.refuses(&other, through(ETH), through(DOCKER)));
        let from_the_port = entry("203.0.113.9:11434", "203.0.113.1:8080", "172.17.0.2:80");
        assert!(!judge.concerns(&from_the_port));
    }

    #[test]
    fn friends_containers_and_the_host_keep_theirs() {
        let judge = judge(|_| ()).unwrap();
        for client in [through(WG), through(DOCKER), through(1), through(99), Some(Way::Here), None] {
            assert!(!judge.refuses(&published(), client, through(DOCKER)), "{client:?}");
        }
    }

    #[test]
    fn an_allowed_source_keeps_its_own() {
        let allow = |source: &str, interface: Option<&str>| Allow {
            source: source.parse().unwrap(),
            interface: interface.map(|name| name.parse().unwrap()),
            service: None,
            comment: None,
            implied: false,
        };
        for (list, refused) in [
            (vec![allow("203.0.113.0/24", None)], false),
            (vec![allow("203.0.113.9/32", Some("eth0"))], false),
            (vec![allow("203.0.113.9/32", Some("eth1"))], true),
            (vec![allow("203.0.113.10/32", None), allow("2001:db8::/32", None)], true),
        ] {
            let judge = judge(|policy| policy.allow.clone_from(&list)).unwrap();
            assert_eq!(judge.refuses(&published(), through(ETH), through(DOCKER)), refused, "{list:?}");
        }
    }

    #[test]
    fn what_is_bridged_stays_and_what_is_translated_inside_a_bridge_does_not() {
        let judge = judge(|_| ()).unwrap();
        let bridged = entry("10.0.0.9:40000", "10.0.0.2:11434", "10.0.0.2:11434");
        assert!(!judge.refuses(&bridged, through(BRIDGE), through(BRIDGE)));
        assert!(judge.refuses(&bridged, through(ETH), through(BRIDGE)));
        let translated = entry("10.0.0.9:40000", "10.0.0.1:8080", "10.0.0.2:11434");
        assert!(judge.refuses(&translated, through(BRIDGE), through(BRIDGE)));
    }

    #[test]
    fn forwarded_pass_leaves_what_leads_to_other_machines() {
        let judge = judge(|policy| policy.forwarded = Forwarded::Pass).unwrap();
        let onward = entry("203.0.113.9:40000", "198.51.100.1:11434", "198.51.100.1:11434");
        assert!(!judge.refuses(&onward, through(ETH), through(BRIDGE)));
        assert!(!judge.refuses(&onward, through(ETH), None));
        assert!(judge.refuses(&published(), through(ETH), through(DOCKER)), "a container is no other machine");
    }

    #[test]
    fn observing_ends_nothing() {
        assert!(judge(|policy| policy.mode = Mode::Observe).is_none());
    }

    #[test]
    fn only_an_interface_that_was_there_before_makes_it_stricter() {
        let ground = |all: &[u32], guarded: &[u32]| Ground {
            all: all.iter().copied().collect(),
            guarded: guarded.iter().map(|index| (*index, "eth0".parse().unwrap())).collect(),
            ..Ground::default()
        };
        assert!(!ground(&[1, 2], &[2]).is_stricter_than(&ground(&[1], &[])));
        assert!(ground(&[1, 2], &[2]).is_stricter_than(&ground(&[1, 2], &[])));
        assert!(!ground(&[1, 2], &[2]).is_stricter_than(&ground(&[1, 2], &[2])));
    }

    #[test]
    fn what_a_server_still_sends_is_known() {
        let mut ended = Ended::default();
        ended.remember(&published());
        let echo = entry("172.17.0.2:11434", "203.0.113.9:40000", "203.0.113.9:40000");
        assert!(ended.is_echo(&echo) && !ended.is_echo(&published()));
        let own = entry("172.17.0.2:11434", "203.0.113.9:40001", "203.0.113.9:40001");
        assert!(!ended.is_echo(&own), "a connection that began there");
        ended.forget();
        assert!(!ended.is_echo(&echo));
    }
}
