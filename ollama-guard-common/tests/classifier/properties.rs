//! What holds of any packet.

use ollama_guard_common::abi::ServiceIndex;
use ollama_guard_common::{Ambiguity, Network, Protocol, Suspect, classify_ethernet, classify_network, suspect};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::{Fixed, GUARDED, OTHER, told};
use crate::packet::strategy::{self, Frame, Pool};
use crate::packet::{Transport, Truth};

fn pool() -> Pool {
    Pool::of_ports(&[GUARDED, OTHER, 0, 11433, 11435, 0x6011, 443])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200), ethertype: u16, offset in 0_usize..300) {
        classify_ethernet(&*bytes);
        classify_network(&*bytes, ethertype, offset);
    }

    #[test]
    fn no_mutation_of_a_packet_makes_it_panic(Frame(frame) in strategy::frame(&pool())) {
        classify_ethernet(&*frame);
    }

    #[test]
    fn it_tells_the_truth(packet in strategy::packet(&pool())) {
        prop_assert_eq!(told(classify_ethernet(&*packet.bytes())), packet.truth());
    }

    #[test]
    fn it_tells_the_truth_of_what_is_cut_off(packet in strategy::packet(&pool()), thousandths in 0_usize..=1000) {
        let bytes = packet.bytes();
        let end = bytes.len() * thousandths / 1000;
        prop_assert_eq!(told(classify_ethernet(&bytes[..end])), packet.truth_of_first(end));
    }

    #[test]
    fn no_wrapping_hides_a_port(packet in strategy::wrapped(&pool())) {
        let expected = match packet.transport {
            Transport::Udp { destination, .. } => Truth::Udp(destination),
            _ => Truth::Tcp(packet.transport.port().unwrap()),
        };
        prop_assert_eq!(told(classify_ethernet(&*packet.bytes())), expected);
    }

    #[test]
    fn no_cut_turns_a_wrapped_packet_into_something_else(packet in strategy::wrapped(&pool()), end: prop::sample::Index) {
        let bytes = packet.bytes();
        let whole = told(classify_ethernet(&*bytes));
        let part = told(classify_ethernet(&bytes[..end.index(bytes.len())]));
        prop_assert!(part == whole || matches!(part, Truth::Hidden(_)), "{:?} was {:?}", part, whole);
    }

    #[test]
    fn a_packet_to_another_port_is_nobodys_business(packet in strategy::wrapped(&Pool::of_ports(&[OTHER, 0, 443]))) {
        let policy = Fixed { udp: true, ..Fixed::default() };
        prop_assert_eq!(suspect(&policy, classify_ethernet(&*packet.bytes())), None);
    }

    #[test]
    fn a_suspect_survives_being_one_number(
        kind in 0_u8..3, offset in 0_usize..256, service in 0_u8..16, ambiguity in 0_u8..4, protocol in 0_u8..3, port: u16,
    ) {
        let suspect = Suspect {
            network: [None, Some(Network::V4(offset)), Some(Network::V6(offset))][usize::from(kind)],
            service: ServiceIndex::new(service),
            ambiguity: [None, Some(Ambiguity::Fragment), Some(Ambiguity::Extension), Some(Ambiguity::Truncated)]
                [usize::from(ambiguity)],
            protocol: [None, Some(Protocol::Tcp), Some(Protocol::Udp)][usize::from(protocol)],
            port,
        };
        prop_assert_ne!(suspect.to_bits(), 0);
        prop_assert_eq!(Suspect::from_bits(suspect.to_bits()), suspect);
    }
}
