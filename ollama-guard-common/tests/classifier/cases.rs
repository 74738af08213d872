//! One test for each way that a single packet has to hide its port.

use ollama_guard_common::{MAX_EXTENSIONS, MAX_TAGS, MAX_TRANSPORT_OFFSET, classify_ethernet, classify_network};

use crate::model::{GUARDED, told};
use crate::packet::{Extension, Fragment, Packet, Tag, Transport, Truth, Why, flags};

/// Both families of a packet to the guarded port.
fn both() -> [Packet; 2] {
    [Packet::v4(GUARDED), Packet::v6(GUARDED)]
}

#[track_caller]
pub(crate) fn is(packet: &Packet, truth: Truth) {
    assert_eq!(packet.truth(), truth, "the test is wrong about {packet:?}");
    assert_eq!(told(classify_ethernet(&*packet.bytes())), truth, "{packet:?}");
}

pub(crate) const FOUND: Truth = Truth::Tcp(GUARDED);
pub(crate) const HIDDEN: Truth = Truth::Hidden(Why::Headers);

#[test]
fn whatever_the_tcp_flags() {
    for packet in both() {
        for bits in [flags::SYN, flags::ACK, flags::RST, flags::FIN, flags::NULL, flags::XMAS, 0xff] {
            is(&packet.clone().flags(bits), FOUND);
        }
        is(&packet.udp(), Truth::Udp(GUARDED));
    }
}

#[test]
fn behind_ipv4_options_of_every_length() {
    for options in 0..=10 {
        is(&Packet::v4(GUARDED).with_v4(|header| header.options = options), FOUND);
        is(&Packet::v4(GUARDED).udp().with_v4(|header| header.options = options), Truth::Udp(GUARDED));
    }
}

#[test]
fn behind_every_extension_header_and_every_pair_of_them() {
    let kinds = [
        Extension::HopByHop(1),
        Extension::Destination(0),
        Extension::Routing(2),
        Extension::Authentication(3),
        Extension::Fragment(Fragment::WHOLE),
        Extension::Fragment(Fragment::FIRST),
    ];
    for first in kinds {
        is(&Packet::v6(GUARDED).behind(&[first]), FOUND);
        for second in kinds {
            is(&Packet::v6(GUARDED).udp().behind(&[first, second]), Truth::Udp(GUARDED));
        }
    }
}

#[test]
fn behind_as_many_extension_headers_as_the_bound_and_not_one_more() {
    for header in [Extension::Destination(0), Extension::Authentication(0), Extension::Fragment(Fragment::WHOLE)] {
        is(&Packet::v6(GUARDED).behind(&[header; MAX_EXTENSIONS]), FOUND);
        is(&Packet::v6(GUARDED).behind(&[header; MAX_EXTENSIONS + 1]), HIDDEN);
        is(&Packet::v6(GUARDED).behind(&[header; 40]), HIDDEN);
    }
}

#[test]
fn behind_extension_headers_as_long_as_the_bound_and_not_longer() {
    // 40 + 7 × 256 + 208 = 2040; the next multiple of eight is over the bound.
    const { assert!(MAX_TRANSPORT_OFFSET == 2047) };
    let mut chain = [Extension::Destination(31); MAX_EXTENSIONS];
    chain[7] = Extension::Routing(25);
    is(&Packet::v6(GUARDED).behind(&chain), FOUND);
    chain[7] = Extension::Routing(26);
    is(&Packet::v6(GUARDED).behind(&chain), HIDDEN);
    is(&Packet::v6(GUARDED).behind(&[Extension::HopByHop(255)]), HIDDEN);
}

#[test]
fn behind_an_authentication_header_in_ipv4() {
    for options in [0, 10] {
        for header in [Extension::Authentication(0), Extension::Authentication(3)] {
            let packet = Packet::v4(GUARDED).with_v4(|header| header.options = options);
            is(&packet.behind(&[header]), FOUND);
        }
    }
}

#[test]
fn in_a_first_or_atomic_fragment() {
    is(&Packet::v4(GUARDED).with_v4(|header| header.fragment = Fragment::FIRST), FOUND);
    for fragment in [Fragment::FIRST, Fragment::WHOLE] {
        is(&Packet::v6(GUARDED).behind(&[Extension::Fragment(fragment)]), FOUND);
    }
}

#[test]
fn a_first_fragment_without_its_ports_is_ambiguous() {
    let v4 = Packet::v4(GUARDED).with_v4(|header| header.fragment = Fragment::FIRST);
    let v6 = Packet::v6(GUARDED).behind(&[Extension::Fragment(Fragment::FIRST), Extension::Destination(0)]);
    for packet in [v4.behind(&[Extension::Authentication(0)]), v6] {
        let bytes = packet.bytes();
        for end in packet.transport_offset()..packet.transport_offset() + 4 {
            let told = told(classify_ethernet(&bytes[..end]));
            assert_eq!(told, Truth::Hidden(Why::Fragment), "{end} bytes of {packet:?}");
        }
    }
}

#[test]
fn other_fragments_are_let_go_because_the_first_is_not() {
    for fragment in [Fragment::LATER, Fragment::LAST, Fragment { offset: 1, more: true }] {
        is(&Packet::v4(GUARDED).with_v4(|header| header.fragment = fragment), Truth::Unrelated);
        is(&Packet::v6(GUARDED).behind(&[Extension::Fragment(fragment)]), Truth::Unrelated);
    }
}

#[test]
fn behind_priority_tags_up_to_the_bound_and_not_one_more() {
    for packet in both() {
        for count in 0..=MAX_TAGS {
            is(&packet.clone().tagged(&vec![Tag::priority(5); count]), FOUND);
        }
        is(&packet.clone().tagged(&[Tag::ad(0), Tag::priority(7)]), FOUND);
        is(&packet.tagged(&[Tag::priority(0); MAX_TAGS + 1]), HIDDEN);
    }
}

#[test]
fn a_tagged_frame_is_its_vlan_interfaces() {
    for packet in both() {
        for tags in [&[Tag::q(1)][..], &[Tag::q(4095)], &[Tag::ad(7), Tag::q(8)], &[Tag::priority(3), Tag::q(9)]] {
            is(&packet.clone().tagged(tags), Truth::Unrelated);
        }
    }
}

#[test]
fn cut_off_at_every_byte() {
    let long = [Extension::HopByHop(0), Extension::Routing(1), Extension::Authentication(0), Extension::Destination(0)];
    let mut packets = both().to_vec();
    packets.extend(both().map(|packet| packet.tagged(&[Tag::priority(1), Tag::ad(0)])));
    packets.push(Packet::v6(GUARDED).behind(&long));
    packets.push(Packet::v6(GUARDED).behind(&[Extension::Fragment(Fragment::FIRST), long[0]]));
    packets.push(Packet::v4(GUARDED).with_v4(|header| header.options = 10).behind(&[Extension::Authentication(3)]));
    for packet in packets {
        let bytes = packet.bytes();
        for end in 0..=bytes.len() {
            let told = told(classify_ethernet(&bytes[..end]));
            assert_eq!(told, packet.truth_of_first(end), "{end} bytes of {packet:?}");
            assert!(matches!(told, FOUND | Truth::Hidden(_)), "{end} bytes of {packet:?} are let go");
        }
    }
}

#[test]
fn to_a_group_or_a_mapped_address() {
    for group in ["255.255.255.255", "192.0.2.255", "224.0.0.1", "0.0.0.0"] {
        is(&Packet::v4(GUARDED).with_v4(|header| header.destination = group.parse().unwrap()), FOUND);
    }
    for group in ["ff02::1", "ff0e::1234", "::ffff:192.0.2.1", "::1", "::"] {
        is(&Packet::v6(GUARDED).with_v6(|header| header.destination = group.parse().unwrap()), FOUND);
    }
}

#[test]
fn what_linux_discards_is_not_ours() {
    for version in [0, 3, 5, 6, 15] {
        is(&Packet::v4(GUARDED).with_v4(|header| header.version = version), Truth::Unrelated);
    }
    for version in [0, 4, 5, 7] {
        is(&Packet::v6(GUARDED).with_v6(|header| header.version = version), Truth::Unrelated);
    }
    for words in 0..5 {
        is(&Packet::v4(GUARDED).with_v4(|header| header.claimed_words = Some(words)), Truth::Unrelated);
    }
}

#[test]
fn other_protocols_have_no_ports() {
    for number in [1, 47, 50, 58, 59, 132, 136] {
        for mut packet in both() {
            packet.transport = Transport::Other(number, [GUARDED, GUARDED]);
            is(&packet, Truth::Unrelated);
        }
    }
    let mut frame = Packet::v4(GUARDED).bytes();
    for ethertype in [0x0806_u16, 0x0026, 0x8847, 0x88cc, 0x9100] {
        frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        assert_eq!(told(classify_ethernet(&*frame)), Truth::Unrelated, "{ethertype:#x}");
    }
}

#[test]
fn without_a_link_header() {
    for (packet, ethertype) in both().into_iter().zip([0x0800, 0x86dd]) {
        assert_eq!(told(classify_network(&*packet.ip(), ethertype, 0)), FOUND);
        // A tunnel may announce tags: __netif_receive_skb_core takes them off on any device.
        let tagged = packet.tagged(&[Tag::priority(0), Tag::ad(0)]).bytes();
        assert_eq!(told(classify_network(&tagged[14..], 0x8100, 0)), FOUND);
    }
}
