//! A packet ends where its IP header says, not where its frame does: what is behind is no part of it.

use ollama_guard_common::{classify_ethernet, classify_network};

use crate::cases::{FOUND, is};
use crate::model::{GUARDED, OTHER, told};
use crate::packet::{ETHERNET, Extension, Fragment, Packet, Tag, Truth, Why};

const FIRST: Extension = Extension::Fragment(Fragment::FIRST);
const OPTIONS: Extension = Extension::Destination(0);

fn fragment(packet: Packet) -> Packet {
    packet.with_v4(|header| header.fragment = Fragment::FIRST)
}

#[test]
fn a_trailer_changes_nothing() {
    for packet in [Packet::v4(GUARDED), Packet::v6(GUARDED), Packet::v6(GUARDED).behind(&[FIRST, OPTIONS])] {
        for length in [1, 6, 46] {
            is(&packet.clone().trailed_by(&vec![0; length]), FOUND);
            is(&packet.clone().udp().trailed_by(&vec![6; length]), Truth::Udp(GUARDED));
            is(&packet.clone().tagged(&[Tag::priority(1)]).trailed_by(&vec![0; length]), FOUND);
        }
    }
}

/// The packet says that it ends somewhere within its headers, the frame goes on: at every byte.
#[test]
fn cut_off_by_its_own_length() {
    let packets = [
        Packet::v4(OTHER),
        Packet::v4(OTHER).with_v4(|header| header.options = 2),
        fragment(Packet::v4(OTHER)),
        fragment(Packet::v4(OTHER)).behind(&[Extension::Authentication(1)]),
        Packet::v6(OTHER),
        Packet::v6(OTHER).behind(&[OPTIONS, Extension::HopByHop(1), Extension::Authentication(0)]),
        Packet::v6(OTHER).behind(&[FIRST, OPTIONS]),
        Packet::v6(OTHER).behind(&[OPTIONS]).carrying(Packet::v6(OTHER)),
    ];
    for packet in packets {
        let header = if packet.ip()[0] >> 4 == 4 { 0 } else { 40 };
        for length in 1..=packet.ip().len() - header {
            let packet = packet.clone().claiming(u16::try_from(length).unwrap()).trailed_by(&[0; 40]);
            let truth = packet.truth();
            is(&packet, truth);
            let ports = packet.transport_offset() - ETHERNET - header + 4;
            assert!(length >= ports || matches!(truth, Truth::Hidden(_)), "{length} bytes of {packet:?}");
        }
    }
}

/// RFC 2675; what the kernel merged beyond 65,535 bytes says zero too, by IPv4 as well.
#[test]
fn a_length_of_zero_says_nothing() {
    for packet in [
        Packet::v4(GUARDED),
        fragment(Packet::v4(GUARDED)),
        Packet::v6(GUARDED),
        Packet::v6(GUARDED).behind(&[Extension::HopByHop(0)]),
    ] {
        is(&packet.claiming(0), FOUND);
    }
}

#[test]
fn a_length_beyond_the_frame_changes_nothing() {
    for packet in [Packet::v4(GUARDED), Packet::v6(GUARDED).behind(&[FIRST])] {
        is(&packet.claiming(u16::MAX), FOUND);
    }
}

/// Of an IPv4 fragment that others follow, Linux takes eights and trims the rest (`ip_frag_queue`): the next one may bring
/// another port.
#[test]
fn a_port_beyond_the_last_eight_bytes_is_cut_off() {
    let header = Extension::Authentication(1);
    let whole = Packet::v4(OTHER).behind(&[header]);
    for (length, truth) in
        [(20 + 23, Truth::Hidden(Why::Fragment)), (20 + 24, Truth::Tcp(OTHER)), (20 + 20, Truth::Hidden(Why::Fragment))]
    {
        is(&fragment(whole.clone()).claiming(length), truth);
    }
    is(&whole.claiming(20 + 20), Truth::Tcp(OTHER));
}

#[test]
fn also_without_a_link_header() {
    let packet = Packet::v6(OTHER).behind(&[FIRST, OPTIONS]).claiming(8);
    assert_eq!(told(classify_network(&*packet.ip(), 0x86dd, 0)), Truth::Hidden(Why::Fragment));
    assert_eq!(told(classify_ethernet(&*packet.bytes())), Truth::Hidden(Why::Fragment));
}
