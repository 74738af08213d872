//! The network layer: from an IPv4 or IPv6 header to the destination port, however it is wrapped.

use crate::classify::{Network, Transport};
use crate::packet::{Bounded, Length, be16};
use crate::{Ambiguity, Packet, Protocol};

/// Most extension headers in front of TCP or UDP. RFC 8200 §4.1 recommends an order that has at most seven;
/// Linux follows any number, so a longer chain is ambiguous, not harmless.
pub const MAX_EXTENSIONS: usize = 8;
/// Furthest a transport header may begin behind the network header, in bytes.
pub const MAX_TRANSPORT_OFFSET: usize = 2047;

const HOP_BY_HOP: u8 = 0;
const IPV4: u8 = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IPV6: u8 = 41;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// Routing headers of source routes in RPL networks (RFC 6554) and of segment routing (RFC 8754).
const SOURCE_ROUTE: u8 = 3;
const SEGMENTS: u8 = 4;

const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;
/// Fields of an IPv4 header as they lie in it.
const V4_MORE_FRAGMENTS: u16 = 0x2000_u16.to_be();
const V4_FRAGMENT_OFFSET: u16 = 0x1fff_u16.to_be();
const V6_FRAGMENT_OFFSET: u16 = 0xfff8;

/// Follows an IPv4 header (RFC 791) at `offset`: options and fragments, then whatever it carries.
#[inline(always)]
pub(crate) fn v4<P: Packet + ?Sized>(packet: &P, offset: usize) -> Transport {
    let Some(header) = packet.read::<[u16; V4_HEADER / 2]>(offset) else {
        return Transport::Ambiguous(Ambiguity::Truncated, None);
    };
    let [first, _] = header[0].to_ne_bytes();
    let length = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || length < V4_HEADER {
        return Transport::Other; // Linux discards it (ip_rcv_core, net/ipv4/ip_input.c)
    }
    if header[3] & V4_FRAGMENT_OFFSET != 0 {
        return Transport::Other; // never complete: its first fragment is judged, and holds the ports
    }
    let total = Length::of(u16::from_be(header[1]));
    let (cut, taken) = if header[3] & V4_MORE_FRAGMENTS == 0 {
        (Ambiguity::Truncated, total)
    } else {
        (Ambiguity::Fragment, total.in_eights_behind(length))
    };
    let (whole, taken) = (&Bounded::new(packet, offset, total), &Bounded::new(packet, offset, taken));
    let [_, protocol] = header[4].to_ne_bytes();
    match protocol {
        // In the first eight bytes, or nowhere.
        TCP => ports(whole, offset + length, Protocol::Tcp, cut),
        UDP => ports(whole, offset + length, Protocol::Udp, cut),
        AUTHENTICATION => match chain(taken, offset, length, AUTHENTICATION, cut) {
            Transport::Packet(_) => Transport::Other, // to a tunnel's device, or out of IPsec and around once more
            found => found,
        },
        _ => Transport::Other,
    }
}

/// Follows an IPv6 header (RFC 8200) at `offset` and its chain of extension headers.
#[inline(always)]
pub(crate) fn v6<P: Packet + ?Sized>(packet: &P, offset: usize) -> Transport {
    let Some(header) = packet.read::<[u16; 4]>(offset) else {
        return Transport::Ambiguous(Ambiguity::Truncated, None);
    };
    if header[0].to_ne_bytes()[0] >> 4 != 6 {
        return Transport::Other; // Linux discards it (ip6_rcv_core, net/ipv6/ip6_input.c)
    }
    let packet = &Bounded::new(packet, offset + V6_HEADER, Length::of(u16::from_be(header[2])));
    let [next, _] = header[3].to_ne_bytes();
    match next {
        TCP => ports(packet, offset + V6_HEADER, Protocol::Tcp, Ambiguity::Truncated),
        UDP => ports(packet, offset + V6_HEADER, Protocol::Udp, Ambiguity::Truncated),
        next => chain(packet, offset, V6_HEADER, next, Ambiguity::Truncated),
    }
}

/// Follows the IP packet `inner`, which the IPv6 packet at `outer` carries: [`Transport::Inside`], if it has a port.
///
/// Who unwraps one where it arrived (`net/ipv6/seg6_local.c`) hands it to TCP without the checks of a packet off a wire:
/// it asks for no version, takes 20 bytes for an IPv4 header, and the outer length for the inner. Behind hop-by-hop options
/// it takes the inner packet's next header from where those ended (`nhoff`). What says otherwise is for nobody else, and
/// ambiguous.
#[inline(always)]
pub(crate) fn inside<P: Packet + ?Sized>(packet: &P, outer: usize, inner: Network) -> Transport {
    const HIDDEN: Transport = Transport::Ambiguous(Ambiguity::Extension, None);
    let Some([length, next]) = packet.read::<[u16; 2]>(outer + 4) else { return HIDDEN };
    let packet = &Bounded::new(packet, outer + V6_HEADER, Length::of(u16::from_be(length)));
    let (Network::V4(offset) | Network::V6(offset)) = inner;
    // Of a single byte old verifiers would not see that it is there.
    let Some([start]) = packet.read::<[u16; 1]>(offset) else { return HIDDEN };
    let ([first, _], [next, _]) = (start.to_ne_bytes(), next.to_ne_bytes());
    if next == HOP_BY_HOP {
        return HIDDEN;
    }
    let (found, is_plain) = match inner {
        Network::V4(_) if first >> 4 != 4 || first & 0x0f < 5 => return HIDDEN,
        Network::V6(_) if first >> 4 != 6 => return HIDDEN,
        Network::V4(_) => (v4(packet, offset), first == 0x45),
        Network::V6(_) => (v6(packet, offset), true),
    };
    match found {
        Transport::Other => Transport::Other,
        Transport::Port(protocol, port) if is_plain => Transport::Inside(protocol, port),
        Transport::Port(protocol, _) => Transport::Ambiguous(Ambiguity::Extension, Some(protocol)),
        Transport::Ambiguous(_, protocol) => Transport::Ambiguous(Ambiguity::Extension, protocol),
        Transport::Packet(_) | Transport::Inside(..) => HIDDEN,
    }
}

/// Walks extension headers from `length` bytes behind the network header at `offset`. `cut` is what a packet
/// that ends too early is. Another IP packet is [`Transport::Packet`], to be looked at by [`inside`].
#[inline(always)]
fn chain<P: Packet + ?Sized>(packet: &P, offset: usize, length: usize, next: u8, cut: Ambiguity) -> Transport {
    let (mut length, mut next, mut cut) = (length, next, cut);
    let mut is_routed = false;
    for _ in 0..=MAX_EXTENSIONS {
        if length > MAX_TRANSPORT_OFFSET {
            return Transport::Ambiguous(Ambiguity::Extension, None);
        }
        match next {
            TCP => return ports(packet, offset + length, Protocol::Tcp, cut),
            UDP => return ports(packet, offset + length, Protocol::Udp, cut),
            HOP_BY_HOP | ROUTING | DESTINATION | FRAGMENT | AUTHENTICATION => {}
            // Linux may unwrap it on this very interface (ipv6_srh_rcv, net/ipv6/exthdrs.c): unseen by XDP in the driver,
            // and at TC behind headers that are done with.
            IPV4 | IPV6 if is_routed => return Transport::Ambiguous(Ambiguity::Extension, None),
            IPV4 => return Transport::Packet(Network::V4(offset + length)),
            IPV6 => return Transport::Packet(Network::V6(offset + length)),
            _ => return Transport::Other,
        }
        let Some(header) = packet.read::<[u8; 4]>(offset + length) else {
            return Transport::Ambiguous(cut, None);
        };
        is_routed = next == ROUTING && matches!(header[2], SOURCE_ROUTE | SEGMENTS);
        length += match next {
            FRAGMENT => {
                if be16(&header, 2) & V6_FRAGMENT_OFFSET != 0 {
                    return Transport::Other; // as in IPv4; RFC 7112 puts the whole chain into the first one
                }
                if header[3] & 1 != 0 {
                    cut = Ambiguity::Fragment;
                }
                8
            }
            AUTHENTICATION => (usize::from(header[1]) + 2) * 4, // RFC 4302 §2.2
            _ => (usize::from(header[1]) + 1) * 8,              // RFC 8200 §4.2
        };
        next = header[0];
    }
    Transport::Ambiguous(Ambiguity::Extension, None)
}

/// Reads the destination port: bytes 2 and 3 of a TCP as of a UDP header.
#[inline(always)]
fn ports<P: Packet + ?Sized>(packet: &P, offset: usize, protocol: Protocol, cut: Ambiguity) -> Transport {
    match packet.read::<[u8; 2]>(offset + 2) {
        Some(port) => Transport::Port(protocol, u16::from_be_bytes(port)),
        None => Transport::Ambiguous(cut, Some(protocol)),
    }
}
