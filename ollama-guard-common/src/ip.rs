//! The network layer: from an IPv4 or IPv6 header to the destination port, however it is wrapped.

use crate::classify::Transport;
use crate::packet::be16;
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
const MORE_FRAGMENTS: u16 = 0x2000;
const V4_FRAGMENT_OFFSET: u16 = 0x1fff;
const V6_FRAGMENT_OFFSET: u16 = 0xfff8;

/// Follows an IPv4 header (RFC 791) at `offset`: options and fragments, then whatever it carries.
#[inline(always)]
pub(crate) fn v4<P: Packet + ?Sized>(packet: &P, offset: usize) -> Transport {
    let Some(header) = packet.read::<[u8; V4_HEADER]>(offset) else {
        return Transport::Ambiguous(Ambiguity::Truncated, None);
    };
    let length = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || length < V4_HEADER {
        return Transport::Other; // Linux discards it (ip_rcv_core, net/ipv4/ip_input.c)
    }
    let fragment = be16(&header, 6);
    if fragment & V4_FRAGMENT_OFFSET != 0 {
        return Transport::Other; // never complete: its first fragment is judged, and holds the ports
    }
    let cut = if fragment & MORE_FRAGMENTS == 0 { Ambiguity::Truncated } else { Ambiguity::Fragment };
    match header[9] {
        TCP => ports(packet, offset + length, Protocol::Tcp, cut),
        UDP => ports(packet, offset + length, Protocol::Udp, cut),
        AUTHENTICATION => chain(packet, offset, length, AUTHENTICATION, cut),
        _ => Transport::Other,
    }
}

/// Follows an IPv6 header (RFC 8200) at `offset` and its chain of extension headers.
#[inline(always)]
pub(crate) fn v6<P: Packet + ?Sized>(packet: &P, offset: usize) -> Transport {
    let Some([first, _, _, _, _, _, next, _]) = packet.read::<[u8; 8]>(offset) else {
        return Transport::Ambiguous(Ambiguity::Truncated, None);
    };
    if first >> 4 != 6 {
        return Transport::Other; // Linux discards it (ip6_rcv_core, net/ipv6/ip6_input.c)
    }
    match next {
        TCP => ports(packet, offset + V6_HEADER, Protocol::Tcp, Ambiguity::Truncated),
        UDP => ports(packet, offset + V6_HEADER, Protocol::Udp, Ambiguity::Truncated),
        next => chain(packet, offset, V6_HEADER, next, Ambiguity::Truncated),
    }
}

/// Walks extension headers from `length` bytes behind the network header at `offset`. `cut` is what a packet
/// that ends too early is.
#[inline(always)]
fn chain<P: Packet + ?Sized>(packet: &P, offset: usize, length: usize, next: u8, cut: Ambiguity) -> Transport {
    let (mut length, mut next, mut cut) = (length, next, cut);
    let mut unwraps = false;
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
            IPV4 | IPV6 if unwraps => return Transport::Ambiguous(Ambiguity::Extension, None),
            _ => return Transport::Other,
        }
        let Some(header) = packet.read::<[u8; 4]>(offset + length) else {
            return Transport::Ambiguous(cut, None);
        };
        unwraps = next == ROUTING && matches!(header[2], SOURCE_ROUTE | SEGMENTS);
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
