//! What a ruleset does to a packet: the kernel's evaluation, in a few lines, for tests and for `check`.

use std::net::IpAddr;

use super::interval::Edge;
use super::{Device, Elements, Family, Hook, Match, Place, Rule, Ruleset, Verdict};
use crate::policy::{InterfaceName, Protocol};

/// What the rules can see of a packet at one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketFacts {
    /// Where it is.
    pub hook: Hook,
    /// `iifname`
    pub ingress: InterfaceName,
    /// `oifname`, in [`Hook::Forward`].
    pub egress: Option<InterfaceName>,
    /// `meta sdifname`, where `ingress` is a VRF device.
    pub member: Option<InterfaceName>,
    /// Who sent it.
    pub source: IpAddr,
    /// Where it is going.
    pub address: IpAddr,
    /// What the routing tables say of that.
    pub destination: AddressType,
    /// What it carries.
    pub transport: Transport,
    /// How it goes on.
    pub carried: Carried,
}

/// How a packet that is not for this host goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carried {
    /// Routed.
    #[default]
    Routed,
    /// From port to port of a bridge, shown to the table by `br_netfilter`.
    Bridged,
    /// The same, after DNAT gave it another destination behind the same bridge.
    BridgedTranslated,
}

/// What nftables can read of a packet's transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Protocol number, and the bytes where TCP and UDP have the destination port.
    Port(u8, u16),
    /// A fragment other than the first.
    LaterFragment,
    /// The protocol is known, its header too short.
    Truncated(u8),
    /// The extension headers lead nowhere: not even the protocol is known.
    Unknown,
}

/// `RTN_*` (`include/uapi/linux/rtnetlink.h`), as `fib daddr type` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressType {
    /// Routed onward.
    Unicast,
    /// This host's.
    Local,
    /// Everybody's in a subnet.
    Broadcast,
    /// This host's, among others'.
    Anycast,
    /// A group's.
    Multicast,
    /// No route.
    Unreachable,
}

impl AddressType {
    /// The kernel's number.
    pub const fn number(self) -> u32 {
        match self {
            Self::Unicast => 1,
            Self::Local => 2,
            Self::Broadcast => 3,
            Self::Anycast => 4,
            Self::Multicast => 5,
            Self::Unreachable => 7,
        }
    }
}

impl Ruleset {
    /// What becomes of the packet at its hook: [`Verdict::Accept`] or [`Verdict::Drop`].
    pub fn evaluate(&self, packet: &PacketFacts) -> Verdict {
        self.trace(packet).last().map_or(Verdict::Accept, |rule| match rule.verdict {
            Verdict::Drop => Verdict::Drop,
            _ => Verdict::Accept,
        })
    }

    /// The rules that matched, in order.
    pub fn trace(&self, packet: &PacketFacts) -> Vec<&Rule> {
        let mut matched: Vec<&Rule> = Vec::new();
        for place in Place::ALL.into_iter().filter(|place| place.hook == packet.hook) {
            self.walk(place, packet, &mut matched);
            if matched.last().is_some_and(|rule| rule.verdict == Verdict::Drop) {
                break;
            }
        }
        matched
    }

    fn walk<'a>(&'a self, place: Place, packet: &PacketFacts, matched: &mut Vec<&'a Rule>) {
        let mut chain = self.chains.iter().find(|chain| chain.hook == Some(place));
        'chains: while let Some(current) = chain {
            for rule in current.rules.iter().filter(|rule| rule.matches.iter().all(|m| self.holds(m, packet, place))) {
                matched.push(rule);
                match &rule.verdict {
                    Verdict::Continue | Verdict::Untrack | Verdict::Note(..) => {}
                    Verdict::Accept | Verdict::Drop => break 'chains,
                    Verdict::Goto(name) => {
                        chain = self.chains.iter().find(|chain| chain.name == *name);
                        continue 'chains;
                    }
                }
            }
            break;
        }
    }

    fn holds(&self, condition: &Match, packet: &PacketFacts, place: Place) -> bool {
        let name = |device| match device {
            Device::Ingress => Some(&packet.ingress),
            Device::Egress => packet.egress.as_ref(),
            Device::Member => packet.member.as_ref(),
        };
        match condition {
            Match::Device { device, set, negated } => self.has_name(set, name(*device)) != *negated,
            Match::DeviceIs(device, wanted) => name(*device) == Some(wanted),
            Match::NoMember => packet.member.is_none(),
            Match::NoIngress => place.hook_name() == "postrouting" && packet.carried != Carried::Routed,
            Match::Translated => packet.carried == Carried::BridgedTranslated,
            // Asked of packets only that were just made so.
            Match::Untracked => true,
            Match::Devices(set) => {
                packet.egress.as_ref() == Some(&packet.ingress) && self.has_name(set, Some(&packet.ingress))
            }
            Match::Port { set, negated } => match packet.transport {
                Transport::Port(protocol, port) => self.has_port(set, protocol, port) != *negated,
                _ => false,
            },
            Match::Endpoint { family, set, negated } => match packet.transport {
                Transport::Port(protocol, port) if packet.family() == *family => {
                    self.has_endpoint(set, packet.address, protocol, port) != *negated
                }
                _ => false,
            },
            Match::ProtocolIsNot(wanted) => packet.protocol().is_some_and(|number| number != wanted.number()),
            Match::ProtocolIsNeither => packet.protocol().is_some_and(|number| number != 6 && number != 17),
            Match::LaterFragment(family) => packet.family() == *family && packet.transport == Transport::LaterFragment,
            Match::Source(family, set) => packet.family() == *family && self.has_address(set, packet.source),
            Match::Destination { kind, negated } => (packet.destination == *kind) != *negated,
            // As if this side had opened nothing: tests that send packets know of the rest.
            Match::OwnSource | Match::SourcePort(_) | Match::Opens { .. } | Match::Answers(..) => false,
            Match::DestinationNotIn(set) => match self.elements(set) {
                Some(Elements::Addresses(kinds)) => !kinds.contains(&packet.destination),
                _ => false,
            },
        }
    }

    fn elements(&self, name: &str) -> Option<&Elements> {
        self.sets.iter().find(|set| set.name == name).map(|set| &set.elements)
    }

    fn has_name(&self, set: &str, name: Option<&InterfaceName>) -> bool {
        match (self.elements(set), name) {
            (Some(Elements::Names(patterns)), Some(name)) => patterns.iter().any(|pattern| pattern.matches(name)),
            (Some(Elements::Inside(names)), Some(name)) => names.contains(name),
            _ => false,
        }
    }

    fn has_port(&self, set: &str, protocol: u8, port: u16) -> bool {
        match self.elements(set) {
            Some(Elements::Ports(ports)) => ports.iter().any(|(p, number)| p.number() == protocol && *number == port),
            _ => false,
        }
    }

    fn has_endpoint(&self, set: &str, address: IpAddr, protocol: u8, port: u16) -> bool {
        let same = |of: Protocol, number: u16| of.number() == protocol && number == port;
        match (self.elements(set), address) {
            (Some(Elements::V4Endpoints(ends)), IpAddr::V4(ip)) => {
                ends.iter().any(|end| end.0 == ip && same(end.1, end.2))
            }
            (Some(Elements::V6Endpoints(ends)), IpAddr::V6(ip)) => {
                ends.iter().any(|end| end.0 == ip && same(end.1, end.2))
            }
            _ => false,
        }
    }

    /// By the edges that the kernel gets, not by the networks they came from: the merging is tested with it.
    fn has_address(&self, set: &str, address: IpAddr) -> bool {
        let key = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let Some(elements) = self.elements(set) else { return false };
        let last = Edge { key, is_end: true };
        let before = elements.edges().into_iter().rfind(|edge| *edge <= last);
        before.is_some_and(|edge| !edge.is_end)
    }
}

impl PacketFacts {
    fn family(&self) -> Family {
        if self.source.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    fn protocol(&self) -> Option<u8> {
        match self.transport {
            Transport::Port(protocol, _) | Transport::Truncated(protocol) => Some(protocol),
            // It is known for most, but every packet this is asked of is accepted by a later rule just as well.
            Transport::LaterFragment | Transport::Unknown => None,
        }
    }
}
