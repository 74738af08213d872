//! Addresses and the keys they are part of.

use std::net::{IpAddr, Ipv4Addr};

use ollama_guard_common::abi::SourceKey;
use ollama_guard_common::{Address, Protocol, classify_ethernet, destination, suspect};
use proptest::prelude::*;

use crate::model::{Fixed, GUARDED};
use crate::packet::Packet;

/// Where a packet says that it goes, whether or not all of the address is there.
fn goes_to(frame: &[u8]) -> Option<IpAddr> {
    let suspect = suspect(&Fixed::default(), classify_ethernet(frame)).unwrap();
    destination(frame, suspect).ip()
}

#[test]
fn the_destination_is_the_one_in_the_packet() {
    let v4 = Packet::v4(GUARDED).with_v4(|header| header.destination = "192.0.2.77".parse().unwrap());
    let v6 = Packet::v6(GUARDED).with_v6(|header| header.destination = "2001:db8::77".parse().unwrap());
    assert_eq!(goes_to(&v4.bytes()), Some("192.0.2.77".parse().unwrap()));
    assert_eq!(goes_to(&v6.bytes()), Some("2001:db8::77".parse().unwrap()));
    assert_eq!(goes_to(&v4.bytes()[..32]), None, "the packet ends within the address");
    assert_eq!(goes_to(&v6.bytes()[..52]), None, "the packet ends within the address");
}

#[test]
fn the_number_of_a_protocol_is_the_one_of_packets() {
    for (packet, protocol) in [(Packet::v4(GUARDED), Protocol::Tcp), (Packet::v4(GUARDED).udp(), Protocol::Udp)] {
        assert_eq!(packet.bytes()[14 + 9], protocol.number());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_address_comes_back_as_it_was(ip: IpAddr) {
        prop_assert_eq!(Address::from(ip).ip(), Some(ip));
        prop_assert_eq!(Address::from(ip).family, if ip.is_ipv4() { 4 } else { 6 });
    }

    /// A real IPv6 packet may carry one: it is not the IPv4 address's.
    #[test]
    fn a_mapped_address_is_another_than_the_one_it_maps(ip: Ipv4Addr) {
        let (plain, mapped) = (Address::from(IpAddr::V4(ip)), Address::from(IpAddr::V6(ip.to_ipv6_mapped())));
        prop_assert_eq!(plain.words, mapped.words);
        prop_assert_ne!(plain, mapped);
    }

    /// `is` is how programs compare, `==` what it must mean. One bit decides.
    #[test]
    fn keys_are_the_same_if_every_bit_is(bytes: [u8; 24], bit in 0..24 * 8_usize) {
        let key: SourceKey = zerocopy::transmute!(bytes);
        prop_assert!(key.is(&key));
        let mut bytes = bytes;
        bytes[bit / 8] ^= 1 << (bit % 8);
        let other: SourceKey = zerocopy::transmute!(bytes);
        prop_assert!(!key.is(&other) && !other.is(&key) && key != other);
    }
}
