//! The model of the kernel programs: the classifier and the decision, run on the host, over answers that are looked
//! up in the policy as the user wrote it and in a routing table written down by hand.

use std::net::{IpAddr, Ipv4Addr};

use ollama_guard::class::Class;
use ollama_guard::plan::services::ServiceTable;
use ollama_guard::policy::{self, ContainerAccess, Forwarded, InterfaceName, Mode, NamePattern};
use ollama_guard::seatbelt::ruleset::{Ruleset, Surroundings, lower};
use ollama_guard_common::abi::{Counter, InterfaceClass, ServiceIndex};
use ollama_guard_common::{
    Address, Decision, Policy, Protocol, Traffic, Verdict, classify_ethernet, classify_network, judge, suspect,
};

use super::seen::{Seen, seen};
use super::truth::truth;
use super::{Counted, MAC, Way};
use crate::packet::Packet;

/// What must happen on an interface.
#[derive(Clone, Debug)]
pub struct Model {
    policy: policy::Policy,
    services: ServiceTable,
    class: Class,
    interface: InterfaceName,
    ruleset: Ruleset,
}

impl Model {
    pub(super) fn new(policy: policy::Policy, services: ServiceTable, class: Class, interface: InterfaceName) -> Self {
        // To nftables the class is the name's.
        let named = |is: Class| if is == class { vec![NamePattern::Exact(interface.clone())] } else { Vec::new() };
        let by_name =
            policy::Policy { trusted: named(Class::Trusted), containers: named(Class::Container), ..policy.clone() };
        let ruleset = lower(&by_name, &Surroundings::default());
        Self { policy, services, class, interface, ruleset }
    }

    /// The nftables layer of the same policy.
    pub fn ruleset(&self) -> &Ruleset {
        &self.ruleset
    }

    /// The packet that nftables sees of a frame, if there is one.
    pub fn seen(&self, frame: &[u8]) -> Option<Seen> {
        seen(frame, &self.interface)
    }

    /// What must become of a frame; `None`: passed without being counted. Trusts the classifier.
    pub fn decide(&self, way: Way, frame: &[u8]) -> Option<Decision> {
        let traffic = match way {
            Way::Xdp | Way::Tc => classify_ethernet(frame),
            Way::TcLayer3 => classify_network(&frame[14..], u16::from_be_bytes([frame[12], frame[13]]), 0),
        };
        self.decide_on(traffic, way, frame)
    }

    fn decide_on(&self, traffic: Traffic, way: Way, frame: &[u8]) -> Option<Decision> {
        // Linux marks a frame for another host's address, and leaves it to whoever has that address.
        if way == Way::Tc && frame[..6] != MAC && frame[0] & 1 == 0 {
            return None;
        }
        let packet = if way == Way::TcLayer3 { &frame[14..] } else { frame };
        suspect(self, traffic).map(|suspect| judge(self, packet, suspect))
    }

    /// Verdict and counters: what [`super::Loaded::meet`] must return for a frame. Trusts the classifier.
    pub fn expects(&self, way: Way, frame: &[u8]) -> (bool, Vec<Counted>) {
        verdict_and_counters(self.decide(way, frame), frame)
    }

    /// The same for a packet, from what is true of it, whatever the classifier says.
    pub fn expects_of(&self, way: Way, packet: &Packet) -> (bool, Vec<Counted>) {
        let frame = packet.bytes();
        verdict_and_counters(self.decide_on(truth(way, packet), way, &frame), &frame)
    }

    /// Is it routed to another machine?
    pub(super) fn is_onward(source: IpAddr, destination: IpAddr) -> bool {
        match destination {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                let on_link = [a, b, c] == [192, 0, 2] && address != Ipv4Addr::new(192, 0, 2, 1) && d != 255;
                on_link || ([a, b, c] == [198, 51, 100] && d < 128)
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                let host = address.to_bits() & u128::from(u64::MAX);
                // Address 0 of a network is every router's (RFC 4291 §2.6.1), and this one is.
                let on_link = [a, b, c, d] == [0x2001, 0xdb8, 0, 0] && host > 1;
                is_routable(source) && (on_link || ([a, b, c] == [0x2001, 0xdb8, 5] && d != 0xffff))
            }
        }
    }
}

impl Policy for Model {
    fn class(&self) -> InterfaceClass {
        match self.class {
            Class::Guarded => InterfaceClass::Guarded,
            Class::Container => InterfaceClass::Container,
            Class::Trusted => InterfaceClass::Trusted,
        }
    }

    fn observes(&self) -> bool {
        self.policy.mode == Mode::Observe
    }

    fn containers_may_enter(&self) -> bool {
        self.policy.container_access == ContainerAccess::Allow
    }

    fn forwards(&self) -> bool {
        self.policy.forwarded == Forwarded::Pass
    }

    fn service(&self, protocol: Protocol, port: u16) -> Option<ServiceIndex> {
        let service = self.policy.services.iter().find(|service| {
            service.protocols.contains(&in_policy(protocol)) && service.ports.iter().any(|own| own.get() == port)
        })?;
        Some(self.services.index(&service.name))
    }

    fn guards_any(&self, protocol: Option<Protocol>) -> bool {
        let guards = |protocol| self.policy.services.iter().any(|service| service.protocols.contains(&protocol));
        protocol.is_none_or(|protocol| guards(in_policy(protocol)))
    }

    fn allows(&self, source: Address, service: ServiceIndex) -> bool {
        let Some(source) = source.ip() else { return false };
        self.policy.allow.iter().any(|allow| {
            allow.source.contains(&source)
                && (self.class == Class::Guarded || !allow.implied)
                && allow.interface.as_ref().is_none_or(|only| *only == self.interface)
                && allow.service.as_ref().is_none_or(|only| self.services.index(only) == service)
        })
    }

    fn is_for_this_host(&self, source: Address, destination: Address) -> bool {
        !source.ip().zip(destination.ip()).is_some_and(|(source, destination)| Self::is_onward(source, destination))
    }

    fn is_surely_for_this_host(&self, source: Address, destination: Address) -> bool {
        self.is_for_this_host(source, destination)
    }

    fn is_proxied(&self, _: Protocol, _: u16) -> bool {
        false
    }

    fn is_proxied_at(&self, _: Protocol, _: u16, _: Address) -> bool {
        false
    }
}

fn verdict_and_counters(decision: Option<Decision>, frame: &[u8]) -> (bool, Vec<Counted>) {
    let Some(decision) = decision else { return (true, Vec::new()) };
    let counter = Counter { packets: 1, bytes: frame.len() as u64 };
    let change = Counted { service: decision.service, outcome: decision.outcome, counter };
    (decision.verdict() == Verdict::Pass, vec![change])
}

/// No router passes on what comes from anywhere else (`ip6_forward`, `net/ipv6/ip6_output.c`).
fn is_routable(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(_) => true,
        IpAddr::V6(source) => !source.is_loopback() && !source.is_multicast() && !source.is_unicast_link_local(),
    }
}

fn in_policy(protocol: Protocol) -> policy::Protocol {
    match protocol {
        Protocol::Tcp => policy::Protocol::Tcp,
        Protocol::Udp => policy::Protocol::Udp,
    }
}
