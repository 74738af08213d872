//! What becomes of a packet under every policy.

use ollama_guard_common::abi::{InterfaceClass, ServiceIndex};
use ollama_guard_common::{Ambiguity, Decision, Fate, Outcome, Verdict, classify_ethernet, is_ours, judge, suspect};
use proptest::prelude::*;

use crate::model::{Fixed, GUARDED, OTHER};
use crate::packet::strategy::{self, Frame, Pool};
use crate::packet::{Extension, Fragment, Packet};

/// What the whole machine says of a frame; `None`: passed without being counted.
fn decide(policy: Fixed, frame: &[u8]) -> Option<Decision> {
    let suspect = suspect(&policy, classify_ethernet(frame)).filter(|suspect| is_ours(&policy, frame, *suspect))?;
    Some(judge(&policy, frame, suspect))
}

fn outcome(policy: Fixed, packet: &Packet) -> Option<Outcome> {
    decide(policy, &packet.bytes()).map(|decision| decision.outcome)
}

fn policy() -> impl Strategy<Value = Fixed> {
    let class =
        prop_oneof![Just(InterfaceClass::Guarded), Just(InterfaceClass::Container), Just(InterfaceClass::Trusted)];
    (class, any::<[bool; 6]>()).prop_map(|(class, [observes, containers_may_enter, forwards, udp, allows, local])| {
        Fixed { class, observes, containers_may_enter, forwards, udp, allows, local, proxied: false }
    })
}

#[test]
fn a_guarded_interface_drops_unless_something_lets_in() {
    let plain = Fixed::default();
    for packet in [Packet::v4(GUARDED), Packet::v6(GUARDED)] {
        assert_eq!(outcome(plain, &packet), Some(Outcome::DroppedUntrusted));
        assert_eq!(outcome(Fixed { observes: true, ..plain }, &packet), Some(Outcome::WouldDropUntrusted));
        assert_eq!(outcome(Fixed { allows: true, ..plain }, &packet), Some(Outcome::PassedAllowed));
        assert_eq!(outcome(Fixed { local: false, ..plain }, &packet), Some(Outcome::DroppedUntrusted));
        let onward = Fixed { forwards: true, local: false, ..plain };
        assert_eq!(outcome(onward, &packet), Some(Outcome::PassedForwarded));
        assert_eq!(outcome(Fixed { local: true, ..onward }, &packet), Some(Outcome::DroppedUntrusted));
        assert_eq!(outcome(plain, &packet.clone().udp()), None, "UDP is not guarded");
        assert_eq!(outcome(Fixed { udp: true, ..plain }, &packet.udp()), Some(Outcome::DroppedUntrusted));
    }
}

#[test]
fn a_container_reaches_everything_but_the_host() {
    let plain = Fixed { class: InterfaceClass::Container, ..Fixed::default() };
    for packet in [Packet::v4(GUARDED), Packet::v6(GUARDED)] {
        assert_eq!(outcome(plain, &packet), Some(Outcome::DroppedUntrusted));
        assert_eq!(outcome(Fixed { local: false, ..plain }, &packet), Some(Outcome::PassedForwarded));
        assert_eq!(outcome(Fixed { containers_may_enter: true, ..plain }, &packet), Some(Outcome::PassedContainer));
    }
}

#[test]
fn a_proxied_port_is_guarded_for_this_host_s_addresses_only() {
    let proxied = Fixed { proxied: true, ..Fixed::default() };
    let (v4, v6) = (Packet::v4(GUARDED), Packet::v6(GUARDED));
    assert_eq!(outcome(proxied, &v4), Some(Outcome::DroppedUntrusted));
    assert_eq!(outcome(proxied, &v6), None, "its proxy does not listen there");
    for class in [InterfaceClass::Guarded, InterfaceClass::Container, InterfaceClass::Trusted] {
        assert_eq!(outcome(Fixed { local: false, class, ..proxied }, &v4), None, "it is another machine's");
    }
    let everybody = v4.with_v4(|header| header.destination = "224.0.0.1".parse().unwrap());
    assert_eq!(outcome(Fixed { local: false, ..proxied }, &everybody), Some(Outcome::DroppedUntrusted));
}

#[test]
fn what_is_for_a_group_is_for_this_host_whatever_the_routes_say() {
    let onward = Fixed { forwards: true, local: false, ..Fixed::default() };
    for group in ["255.255.255.255", "224.0.0.251", "239.255.255.255", "0.1.2.3"] {
        let packet = Packet::v4(GUARDED).with_v4(|header| header.destination = group.parse().unwrap());
        assert_eq!(outcome(onward, &packet), Some(Outcome::DroppedUntrusted), "{group}");
    }
    for group in ["ff02::1", "ff0e::1"] {
        let packet = Packet::v6(GUARDED).with_v6(|header| header.destination = group.parse().unwrap());
        assert_eq!(outcome(onward, &packet), Some(Outcome::DroppedUntrusted), "{group}");
    }
    for one in ["192.0.2.255", "223.255.255.255", "240.0.0.1", "1.0.0.0"] {
        let packet = Packet::v4(GUARDED).with_v4(|header| header.destination = one.parse().unwrap());
        assert_eq!(outcome(onward, &packet), Some(Outcome::PassedForwarded), "{one}");
    }
}

#[test]
fn an_unreadable_packet_is_dropped_for_its_own_reason_even_from_an_allowed_source() {
    let policy = Fixed { allows: true, ..Fixed::default() };
    let first = Packet::v6(OTHER).behind(&[Extension::Fragment(Fragment::FIRST)]);
    let far = Packet::v6(OTHER).behind(&[Extension::Destination(0); 9]);
    for (frame, expected) in [
        (first.bytes()[..first.transport_offset()].to_vec(), Outcome::DroppedFragment),
        (far.bytes(), Outcome::DroppedExtension),
        (Packet::v4(OTHER).bytes()[..36].to_vec(), Outcome::DroppedTruncated),
    ] {
        let decision = decide(policy, &frame).unwrap();
        assert_eq!((decision.outcome, decision.service), (expected, ServiceIndex::UNKNOWN));
        let trusted = Fixed { class: InterfaceClass::Trusted, ..policy };
        assert_eq!(decide(trusted, &frame), None, "on a trusted interface it is nobody's business");
    }
}

#[test]
fn the_source_is_the_one_in_the_packet() {
    for (packet, source) in [(Packet::v4(GUARDED), "203.0.113.9"), (Packet::v6(GUARDED), "2001:db8::9")] {
        let decision = decide(Fixed::default(), &packet.bytes()).unwrap();
        assert_eq!(decision.source.ip(), Some(source.parse().unwrap()));
    }
    let stub = &Packet::v4(GUARDED).bytes()[..20];
    assert_eq!(decide(Fixed::default(), stub).unwrap().source.ip(), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_packet_and_the_policy(
        policy in policy(),
        Frame(frame) in strategy::frame(&Pool::of_ports(&[GUARDED, OTHER])),
    ) {
        let Some(decision) = decide(policy, &frame) else { return Ok(()) };
        let fate = decision.outcome.fate();
        prop_assert_eq!(decision.verdict() == Verdict::Drop, fate == Fate::Dropped);
        if policy.observes {
            prop_assert_ne!(fate, Fate::Dropped, "observe mode drops nothing");
        } else {
            prop_assert_ne!(fate, Fate::WouldDrop);
        }
        if policy.class == InterfaceClass::Trusted {
            prop_assert_eq!(decision.outcome, Outcome::PassedTrusted);
        }
        if policy.class == InterfaceClass::Container && policy.containers_may_enter {
            prop_assert_eq!(decision.outcome, Outcome::PassedContainer);
        }
        let nothing_lets_in = !policy.allows && (!policy.forwards || policy.local);
        if policy.class == InterfaceClass::Guarded && nothing_lets_in {
            prop_assert_ne!(fate, Fate::Passed, "fail closed");
        }
        prop_assert_eq!(decision.outcome as usize, Outcome::ALL.iter().position(|o| *o == decision.outcome).unwrap());
    }

    #[test]
    fn a_readable_packet_to_another_port_is_never_counted(
        policy in policy(),
        packet in strategy::wrapped(&Pool::of_ports(&[OTHER, 443])),
    ) {
        prop_assert_eq!(decide(policy, &packet.bytes()), None);
    }

    #[test]
    fn ambiguity_is_the_only_reason_without_a_service(
        policy in policy(),
        Frame(frame) in strategy::frame(&Pool::of_ports(&[GUARDED, OTHER])),
    ) {
        let Some(suspect) = suspect(&policy, classify_ethernet(&*frame)) else { return Ok(()) };
        prop_assert_eq!(suspect.service == ServiceIndex::UNKNOWN, suspect.ambiguity.is_some());
        let reasons = [None, Some(Ambiguity::Fragment), Some(Ambiguity::Extension), Some(Ambiguity::Truncated)];
        prop_assert!(reasons.contains(&suspect.ambiguity));
    }
}
