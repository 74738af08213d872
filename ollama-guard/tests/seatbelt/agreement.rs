//! One policy, two layers, one verdict: what the kernel programs decide about generated packets is what the planned
//! ruleset does to them on their way through prerouting and then input or forward.

use std::net::IpAddr;

use ollama_guard::class::Class;
use ollama_guard::plan::rules::{GuardedPort, KernelRules, ProxiedPort};
use ollama_guard::plan::services::ServiceTable;
use ollama_guard::policy::{InterfaceName, Policy, Protocol};
use ollama_guard::seatbelt::ruleset::{
    AddressType, Carried, Hook, PacketFacts, Ruleset, Surroundings, Transport, Verdict, lower,
};
use ollama_guard_common::abi::{InterfaceClass, Onward, ServiceIndex};
use ollama_guard_common::{self as common, Address};
use proptest::prelude::*;
use proptest::sample::select;

use crate::policies::{self, INTERFACES, OWN, PORTS, SOURCES};

/// What the wall asks of the policy, answered from the plan of one interface.
struct Wall<'a> {
    rules: &'a KernelRules,
    source: IpAddr,
    for_this_host: bool,
}

impl common::Policy for Wall<'_> {
    fn class(&self) -> InterfaceClass {
        match self.rules.class {
            Class::Trusted => InterfaceClass::Trusted,
            Class::Container => InterfaceClass::Container,
            Class::Guarded => InterfaceClass::Guarded,
        }
    }
    fn observes(&self) -> bool {
        self.rules.observe
    }
    fn containers_may_enter(&self) -> bool {
        self.rules.containers_may_enter
    }
    fn forwards(&self) -> bool {
        self.rules.onward == Onward::Pass
    }
    fn service(&self, protocol: common_protocol::Protocol, port: u16) -> Option<ServiceIndex> {
        let wanted = (protocol == common_protocol::Protocol::Tcp, port);
        let proxied = self.rules.proxied.iter().map(|proxied| &proxied.port);
        let guarded = self.rules.ports.iter().chain(proxied).find(|g| (g.protocol == Protocol::Tcp, g.port) == wanted);
        guarded.map(|guarded| guarded.service)
    }
    fn guards_any(&self, protocol: Option<common_protocol::Protocol>) -> bool {
        let is = |g: Protocol| match protocol {
            None => true,
            Some(wanted) => (wanted == common_protocol::Protocol::Tcp) == (g == Protocol::Tcp),
        };
        self.rules.ports.iter().any(|guarded| is(guarded.protocol))
    }
    fn allows(&self, _: Address, service: ServiceIndex) -> bool {
        let containing = self.rules.allow.iter().filter(|(network, _)| network.contains(&self.source));
        let longest = containing.max_by_key(|(network, _)| network.prefix_len());
        longest.is_some_and(|(_, services)| services & service.bit() != 0)
    }
    fn is_for_this_host(&self, _: Address, _: Address) -> bool {
        self.for_this_host
    }
    fn is_surely_for_this_host(&self, _: Address, _: Address) -> bool {
        self.for_this_host
    }
    fn is_proxied(&self, protocol: common_protocol::Protocol, port: u16) -> bool {
        self.is_proxied_at(protocol, port, Address::UNKNOWN)
    }
    fn is_proxied_at(&self, protocol: common_protocol::Protocol, port: u16, address: Address) -> bool {
        let protocol = if protocol == common_protocol::Protocol::Tcp { 6 } else { 17 };
        self.rules.proxied_keys().iter().any(|key| {
            (key.address, u32::from(key.family)) == (address.words, address.family)
                && (key.protocol, key.port) == (protocol, port)
        })
    }
}

mod common_protocol {
    pub(super) use ollama_guard_common::Protocol;
}

/// An Ethernet frame that nftables sees as these facts say.
fn frame(packet: &PacketFacts) -> Vec<u8> {
    let (protocol, payload, later, first) = match packet.transport {
        Transport::Port(protocol, port) => {
            let mut header = vec![0; 20];
            header[2..4].copy_from_slice(&port.to_be_bytes());
            header[12] = 0x50;
            (protocol, header, false, false)
        }
        Transport::LaterFragment => (6, vec![0; 16], true, false),
        Transport::Truncated(protocol) => (protocol, vec![0; 2], false, true),
        Transport::Unknown => (60, vec![], false, false),
    };
    let offset: u16 = if later { 8 } else { 0 };
    let mut frame = vec![0; 12];
    match (packet.source, packet.address) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend([0x08, 0x00, 0x45, 0]);
            frame.extend(u16::try_from(20 + payload.len()).unwrap().to_be_bytes());
            frame.extend([0, 0]);
            frame.extend((offset | if first { 0x2000 } else { 0 }).to_be_bytes());
            frame.extend([64, protocol, 0, 0]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut rest = payload;
            let mut next = protocol;
            if later || first {
                let mut fragment = vec![protocol, 0];
                fragment.extend((offset << 3 | u16::from(first)).to_be_bytes());
                fragment.extend([0; 4]);
                fragment.extend(rest);
                (rest, next) = (fragment, 44);
            }
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
            frame.extend([next, 64]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
            frame.extend(rest);
            return frame;
        }
        _ => unreachable!("one family"),
    }
    frame.extend(payload);
    frame
}

fn address(kind: AddressType, v4: bool) -> IpAddr {
    let text = match (kind, v4) {
        (AddressType::Multicast, true) => "224.0.0.251",
        (AddressType::Multicast, false) => "ff02::1",
        (AddressType::Unicast, true) => "203.0.113.7",
        (AddressType::Unicast, false) => "2001:db8::7",
        (_, true) => OWN[0],
        (_, false) => OWN[1],
    };
    text.parse().unwrap()
}

fn class(policy: &Policy, surroundings: &Surroundings, name: &InterfaceName) -> Class {
    if policy.trusted.iter().any(|pattern| pattern.matches(name)) {
        Class::Trusted
    } else if surroundings.not_containers.contains(name) {
        Class::Guarded
    } else if policy.containers.iter().any(|p| p.matches(name)) || surroundings.containers.contains(name) {
        Class::Container
    } else {
        Class::Guarded
    }
}

fn wall_drops(policy: &Policy, surroundings: &Surroundings, packet: &PacketFacts) -> bool {
    let (services, _) = ServiceTable::default().update(policy);
    let class = class(policy, surroundings, &packet.ingress);
    let proxied = surroundings.derived.iter().filter(|one| !one.expected).map(|one| ProxiedPort {
        port: GuardedPort { protocol: one.protocol, port: one.port, service: services.index(&one.service) },
        addresses: one.addresses.clone(),
    });
    let rules = KernelRules::lower(policy, &services, &proxied.collect(), class, &packet.ingress);
    let for_this_host = packet.destination != AddressType::Unicast;
    let wall = Wall { rules: &rules, source: packet.source, for_this_host };
    let frame = frame(packet);
    let Some(suspect) = common::suspect(&wall, common::classify_ethernet(frame.as_slice())) else { return false };
    if !common::is_ours(&wall, frame.as_slice(), suspect) {
        return false;
    }
    common::judge(&wall, frame.as_slice(), suspect).verdict() == common::Verdict::Drop
}

/// On a member of the VRF `red`: prerouting as the member's, once more as the device's, and then as the device's with the
/// member remembered.
fn seatbelt_drops_in_a_vrf(ruleset: &Ruleset, packet: &PacketFacts) -> bool {
    let inside =
        PacketFacts { ingress: "red".parse().unwrap(), member: Some(packet.ingress.clone()), ..packet.clone() };
    ruleset.evaluate(packet) == Verdict::Drop || seatbelt_drops(ruleset, &inside)
}

/// Prerouting, and the hook that comes after it for this destination; no NAT in between.
fn seatbelt_drops(ruleset: &Ruleset, packet: &PacketFacts) -> bool {
    let onward = packet.destination == AddressType::Unicast;
    let next = if onward { Hook::Forward } else { Hook::Input };
    let egress = onward.then(|| "uplink0".parse().unwrap());
    [(Hook::Prerouting, None), (next, egress)]
        .into_iter()
        .any(|(hook, egress)| ruleset.evaluate(&PacketFacts { hook, egress, ..packet.clone() }) == Verdict::Drop)
}

fn packet() -> impl Strategy<Value = PacketFacts> {
    use AddressType::{Anycast, Broadcast, Local, Multicast, Unicast};
    let transport = prop_oneof![
        6 => (select(vec![6u8, 17]), select(PORTS.to_vec())).prop_map(|(p, port)| Transport::Port(p, port)),
        1 => (select(vec![6u8, 17, 1]), any::<u16>()).prop_map(|(p, port)| Transport::Port(p, port)),
        1 => Just(Transport::LaterFragment),
        2 => select(vec![6u8, 17]).prop_map(Transport::Truncated),
        1 => Just(Transport::Unknown),
    ];
    let destination = select(vec![Unicast, Unicast, Local, Local, Broadcast, Anycast, Multicast]);
    (select(INTERFACES.to_vec()), select(SOURCES.to_vec()), destination, transport).prop_map(
        |(ingress, source, destination, transport)| {
            let source: IpAddr = source.parse().unwrap();
            // An IPv4 header always tells its protocol.
            let unknown = transport == Transport::Unknown && source.is_ipv4();
            PacketFacts {
                hook: Hook::Prerouting,
                ingress: ingress.parse().unwrap(),
                egress: None,
                member: None,
                source,
                address: address(destination, source.is_ipv4()),
                destination,
                transport: if unknown { Transport::Truncated(6) } else { transport },
                carried: Carried::Routed,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn both_layers_decide_alike(
        policy in policies::policy(),
        surroundings in policies::surroundings(),
        packets in proptest::collection::vec(packet(), 16),
    ) {
        let ruleset = lower(&policy, &surroundings);
        for packet in &packets {
            prop_assert_eq!(
                wall_drops(&policy, &surroundings, packet),
                seatbelt_drops(&ruleset, packet),
                "{:?}\n{:#?}", packet, ruleset.trace(packet)
            );
        }
    }

    #[test]
    fn both_layers_decide_alike_in_a_vrf(
        policy in policies::policy(),
        mut surroundings in policies::surroundings(),
        packets in proptest::collection::vec(packet(), 16),
    ) {
        surroundings.vrf_devices.insert("red".parse().unwrap());
        let ruleset = lower(&policy, &surroundings);
        for packet in &packets {
            prop_assert_eq!(
                wall_drops(&policy, &surroundings, packet),
                seatbelt_drops_in_a_vrf(&ruleset, packet),
                "{:?}", packet
            );
            let own = PacketFacts { ingress: "red".parse().unwrap(), ..packet.clone() };
            prop_assert!(!seatbelt_drops(&ruleset, &own), "the host's own: {:?}", own);
        }
    }
}
