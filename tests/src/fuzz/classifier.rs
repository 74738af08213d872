//! The classifier against etherparse, which was written by others from the same RFCs.
//!
//! Not every difference is an error: etherparse reads packets whose lengths contradict each other, follows any number of
//! headers and gives up on more than three tags. What must hold is what the promise says: a port that etherparse reads is
//! read or at least suspected, and a port that is read is the right one.

use etherparse::{
    EtherType, IpNumber, Ipv4HeaderSlice, Ipv6ExtensionSlice, Ipv6HeaderSlice, LaxIpv4Slice, LaxIpv6Slice, LaxNetSlice,
    LaxSlicedPacket,
};
use ollama_guard_common::{
    Ambiguity, MAX_EXTENSIONS, MAX_TAGS, MAX_TRANSPORT_OFFSET, Protocol, Traffic, Transport, classify_ethernet,
    ethertype, glance,
};

/// What etherparse finds in a frame.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// TCP or UDP, to this port; how far behind the IP header, after how many extension headers.
    Port { protocol: Protocol, port: u16, behind: usize, headers: usize },
    /// TCP or UDP, to this port, in an IP packet in an IPv6 packet.
    Inside { protocol: Protocol, port: u16 },
    /// A fragment that is not the first.
    Later,
    /// Neither, or nothing it understands.
    Nothing,
}

/// Panics if the classifier and etherparse disagree about this frame.
///
/// # Panics
///
/// That is what it is for.
pub fn check(frame: &[u8]) {
    let told = classify_ethernet(frame);
    if let Some((network, protocol, port)) = glance(frame, ethertype(frame)) {
        assert_eq!(told, Traffic::Ip(network, Transport::Port(protocol, port)), "a glance sees something else");
    }
    let found = find(frame);
    match (&found, told) {
        (Found::Port { protocol, port, .. }, Traffic::Ip(_, Transport::Port(told_protocol, told_port))) => {
            assert_eq!((*protocol, *port), (told_protocol, told_port), "another port");
        }
        (Found::Port { behind, headers, .. }, Traffic::Ip(_, Transport::Ambiguous(Ambiguity::Extension, _))) => {
            assert!(
                *headers > MAX_EXTENSIONS || *behind > MAX_TRANSPORT_OFFSET,
                "ambiguous within the bounds: {found:?}"
            );
        }
        (Found::Inside { protocol, port }, Traffic::Ip(_, Transport::Inside(told_protocol, told_port))) => {
            assert_eq!((*protocol, *port), (told_protocol, told_port), "another port inside");
        }
        (Found::Inside { .. }, Traffic::Ip(_, Transport::Ambiguous(..))) => {}
        (Found::Port { .. } | Found::Inside { .. }, told) => {
            panic!("etherparse reads {found:?}, the classifier says {told:?}")
        }
        (Found::Later, Traffic::Ip(_, Transport::Port(..))) => panic!("a later fragment has no port: {told:?}"),
        (Found::Later | Found::Nothing, _) => {}
    }
}

/// etherparse takes at most three tags off, so the outer ones are taken off here; a VLAN's frame is nobody's.
fn find(frame: &[u8]) -> Found {
    let mut rest = frame.get(12..).unwrap_or_default();
    for _ in 0..MAX_TAGS {
        match rest {
            [0x81, 0x00, high, low, inner @ ..] | [0x88, 0xa8, high, low, inner @ ..] => {
                if (high & 0x0f, *low) != (0, 0) {
                    return Found::Nothing;
                }
                rest = inner;
            }
            [0x81, 0x00, ..] | [0x88, 0xa8, ..] => return Found::Nothing,
            _ => break,
        }
    }
    let [high, low, packet @ ..] = rest else { return Found::Nothing };
    let ethertype = EtherType(u16::from_be_bytes([*high, *low]));
    // etherparse believes the version in the packet; Linux wants the EtherType's (ip_rcv_core, ip6_rcv_core).
    match (ethertype, packet.first().map(|first| first >> 4)) {
        (EtherType::IPV4, Some(4)) | (EtherType::IPV6, Some(6)) => {}
        _ => return Found::Nothing,
    }
    let parsed = LaxSlicedPacket::from_ether_type(ethertype, packet);
    if !parsed.link_exts.is_empty() {
        return Found::Nothing; // More tags, or MACsec, which has a device of its own.
    }
    match &parsed.net {
        Some(LaxNetSlice::Ipv4(ip)) => v4(ip),
        Some(LaxNetSlice::Ipv6(ip)) => v6(ip),
        _ => Found::Nothing,
    }
}

fn v4(ip: &LaxIpv4Slice<'_>) -> Found {
    let header: Ipv4HeaderSlice<'_> = ip.header();
    if header.fragments_offset().value() != 0 {
        return Found::Later;
    }
    let authentication = ip.extensions().auth.map_or(0, |auth| auth.slice().len());
    if (1..header.slice().len()).contains(&usize::from(header.total_len())) {
        return Found::Nothing; // Linux discards it (ip_rcv_core); etherparse takes all there is.
    }
    let behind = header.slice().len() + authentication;
    let mut payload = ip.payload().payload;
    if authentication > 0 && header.more_fragments() && header.total_len() > 0 {
        // Of a fragment that is not the last Linux takes eights (ip_frag_queue).
        let eights = (usize::from(header.total_len()) - header.slice().len()) / 8 * 8;
        payload = &payload[..payload.len().min(eights.saturating_sub(authentication))];
    }
    ports(ip.payload().ip_number, payload, behind, usize::from(authentication > 0))
}

fn v6(ip: &LaxIpv6Slice<'_>) -> Found {
    let (header, extensions): (Ipv6HeaderSlice<'_>, _) = (ip.header(), ip.extensions());
    let found = |headers| {
        let behind = header.slice().len() + extensions.slice().len();
        match ip.payload().ip_number {
            IpNumber::IPV4 | IpNumber::IPV6 => inside(ip.payload().ip_number, ip.payload().payload),
            number => ports(number, ip.payload().payload, behind, headers),
        }
    };
    if found(0) == Found::Nothing {
        // A chain that ends too early: etherparse 0.21 must not be asked for its parts, it reads past their end.
        return Found::Nothing;
    }
    let is_later = extensions.clone().into_iter().any(|extension| {
        matches!(extension, Ipv6ExtensionSlice::Fragment(fragment) if fragment.fragment_offset().value() != 0)
    });
    if is_later { Found::Later } else { found(extensions.clone().into_iter().count()) }
}

/// An IP packet in an IPv6 packet.
fn inside(number: IpNumber, packet: &[u8]) -> Found {
    match (number, packet.first().map(|first| first >> 4)) {
        (IpNumber::IPV4, Some(4)) | (IpNumber::IPV6, Some(6)) => {}
        _ => return Found::Nothing,
    }
    let parsed = LaxSlicedPacket::from_ip(packet).map(|parsed| parsed.net);
    let found = match &parsed {
        Ok(Some(LaxNetSlice::Ipv4(ip))) => v4(ip),
        Ok(Some(LaxNetSlice::Ipv6(ip))) => v6(ip),
        _ => Found::Nothing,
    };
    match found {
        Found::Port { protocol, port, .. } => Found::Inside { protocol, port },
        _ => Found::Nothing,
    }
}

fn ports(number: IpNumber, payload: &[u8], behind: usize, headers: usize) -> Found {
    let protocol = match number {
        IpNumber::TCP => Protocol::Tcp,
        IpNumber::UDP => Protocol::Udp,
        _ => return Found::Nothing,
    };
    let Some(&[_, _, high, low]) = payload.first_chunk() else { return Found::Nothing };
    Found::Port { protocol, port: u16::from_be_bytes([high, low]), behind, headers }
}
