//! An IP packet in an IPv6 packet: a host may unwrap it where it arrived (`net/ipv6/seg6_local.c`, `ipv6_srh_rcv`).

use ollama_guard_common::{Outcome, classify_ethernet, judge, suspect};

use crate::cases::{FOUND, HIDDEN, is};
use crate::model::{Fixed, GUARDED, OTHER, told};
use crate::packet::{Extension, Fragment, Packet, Transport, Truth};

const OPTIONS: Extension = Extension::Destination(0);

fn both(port: u16) -> [Packet; 2] {
    [Packet::v4(port), Packet::v6(port)]
}

/// An IPv6 packet with this one inside, behind these headers.
fn around(chain: &[Extension], inner: &Packet) -> Packet {
    Packet::v6(OTHER).behind(chain).carrying(inner.clone())
}

#[test]
fn its_port_is_found() {
    for inner in both(GUARDED) {
        for chain in [&[][..], &[OPTIONS], &[Extension::Fragment(Fragment::FIRST)], &[Extension::Authentication(3)]] {
            is(&around(chain, &inner), Truth::TcpInside(GUARDED));
            is(&around(chain, &inner.clone().udp()), Truth::UdpInside(GUARDED));
        }
    }
    let inner = Packet::v6(GUARDED).behind(&[OPTIONS, Extension::Fragment(Fragment::WHOLE)]);
    is(&around(&[OPTIONS], &inner), Truth::TcpInside(GUARDED));
}

#[test]
fn behind_a_source_route_or_hop_by_hop_options_it_is_hidden() {
    let (route, hops) = (Extension::Routing(2), Extension::HopByHop(0));
    for inner in both(OTHER) {
        for chain in [&[route][..], &[OPTIONS, route], &[hops], &[hops, OPTIONS]] {
            is(&around(chain, &inner), HIDDEN);
        }
        is(&around(&[route, OPTIONS], &inner), Truth::Tcp(OTHER).inside());
        // Mobile IPv6 and old source routes are not unwrapped by themselves.
        let mut frame = around(&[route], &inner).bytes();
        frame[14 + 40 + 2] = 2;
        assert_eq!(told(classify_ethernet(&*frame)), Truth::TcpInside(OTHER));
    }
}

#[test]
fn what_only_they_read_otherwise_who_unwrap_is_hidden() {
    is(&around(&[], &Packet::v4(OTHER).with_v4(|header| header.options = 1)), HIDDEN);
    is(&around(&[], &Packet::v4(OTHER).with_v4(|header| header.claimed_words = Some(4))), HIDDEN);
    is(&around(&[], &Packet::v4(OTHER).with_v4(|header| header.version = 5)), HIDDEN);
    is(&around(&[], &Packet::v6(OTHER).with_v6(|header| header.version = 4)), HIDDEN);
    // A report of a group's members has an option, and no port.
    let report = Packet { transport: Transport::Other(2, [0, 0]), ..Packet::v4(0) };
    is(&around(&[], &report.with_v4(|header| header.options = 1)), Truth::Unrelated);
}

#[test]
fn what_cannot_be_read_is_hidden() {
    let inner = Packet::v6(OTHER);
    is(&around(&[], &around(&[], &inner)), HIDDEN);
    is(&around(&[], &inner.clone().behind(&[OPTIONS; 9])), HIDDEN);
    is(&around(&[], &inner.clone().behind(&[OPTIONS]).claiming(4)), HIDDEN);
    let whole = around(&[], &inner);
    for end in 14 + 40..14 + 40 + 40 + 4 {
        assert_eq!(told(classify_ethernet(&whole.bytes()[..end])), HIDDEN, "{end} bytes");
    }
    // The outer length is for the inner packet too.
    is(&whole.claiming(42), HIDDEN);
}

#[test]
fn a_later_fragment_or_another_protocol_is_unrelated() {
    let later = Packet::v4(GUARDED).with_v4(|header| header.fragment = Fragment::LATER);
    is(&around(&[], &later), Truth::Unrelated);
    is(&around(&[Extension::Fragment(Fragment::LATER)], &Packet::v6(GUARDED)), Truth::Unrelated);
    is(&around(&[], &Packet { transport: Transport::Other(58, [0, 0]), ..Packet::v6(0) }), Truth::Unrelated);
}

#[test]
fn in_ipv4_it_goes_to_a_tunnels_device() {
    for inner in both(GUARDED) {
        is(&Packet::v4(OTHER).carrying(inner.clone()), Truth::Unrelated);
        is(&Packet::v4(OTHER).behind(&[Extension::Authentication(3)]).carrying(inner.clone()), Truth::Unrelated);
        is(&inner, FOUND);
    }
}

#[test]
fn only_a_guarded_port_inside_is_refused() {
    let outcome = |packet: &Packet| {
        let (policy, frame) = (Fixed { allows: true, ..Fixed::default() }, packet.bytes());
        suspect(&policy, classify_ethernet(&*frame)).map(|suspect| judge(&policy, &*frame, suspect).outcome)
    };
    for inner in both(GUARDED) {
        assert_eq!(outcome(&around(&[OPTIONS], &inner)), Some(Outcome::DroppedExtension));
        assert_eq!(outcome(&around(&[OPTIONS], &inner.udp())), None, "UDP is not guarded");
    }
    for inner in both(OTHER) {
        assert_eq!(outcome(&around(&[OPTIONS], &inner)), None);
    }
}

impl Truth {
    fn inside(self) -> Self {
        match self {
            Self::Tcp(port) => Self::TcpInside(port),
            Self::Udp(port) => Self::UdpInside(port),
            other => other,
        }
    }
}
