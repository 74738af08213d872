//! From bytes to what the policy needs to know of a packet.

use crate::ethernet::{ETHERNET_HEADER, Payload, untag};
use crate::packet::be16;
use crate::{Ambiguity, Packet, Protocol, ip};

/// `EtherType` of IPv4 (IEEE 802 numbers).
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// `EtherType` of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// What a packet is, as far as the policy cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Nothing that can carry a guarded port to this interface.
    Other,
    /// IP, with TCP or UDP inside or possibly inside.
    Ip(Network, Transport),
    /// Too little of it is there, or too much in front, to find even an IP header.
    Ambiguous(Ambiguity),
}

/// Where the network header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// An IPv4 header at this offset.
    V4(usize),
    /// An IPv6 header at this offset.
    V6(usize),
}

/// The transport layer of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Neither TCP nor UDP, or a fragment that is useless without a first one, which is judged.
    Other,
    /// The protocol and the destination port.
    Port(Protocol, u16),
    /// The port cannot be read; the protocol may be known.
    Ambiguous(Ambiguity, Option<Protocol>),
    /// Another IP packet, there, in an IPv6 packet. Not yet looked at: see [`look_inside`].
    Packet(Network),
    /// The protocol and the destination port of an IP packet in an IPv6 packet. A host may unwrap it where it arrived, but
    /// nearly always has a tunnel's device for it.
    Inside(Protocol, u16),
}

/// Classifies an Ethernet frame with its tags, if any, in the frame.
#[inline(always)]
pub fn classify_ethernet<P: Packet + ?Sized>(frame: &P) -> Traffic {
    look_inside(frame, outline_ethernet(frame))
}

/// Classifies the packet whose network header, announced by `ethertype`, is at `offset`, maybe behind tags.
#[inline(always)]
pub fn classify_network<P: Packet + ?Sized>(packet: &P, ethertype: u16, offset: usize) -> Traffic {
    look_inside(packet, outline(packet, ethertype, offset))
}

/// What an Ethernet frame is from outside: an IP packet in another one is [`Transport::Packet`].
#[inline(always)]
pub fn outline_ethernet<P: Packet + ?Sized>(frame: &P) -> Traffic {
    let Some(header) = frame.read::<[u8; ETHERNET_HEADER]>(0) else {
        return Traffic::Ambiguous(Ambiguity::Truncated);
    };
    outline(frame, be16(&header, 12), ETHERNET_HEADER)
}

/// The same of the packet whose network header, announced by `ethertype`, is at `offset`, maybe behind tags.
#[inline(always)]
pub fn outline<P: Packet + ?Sized>(packet: &P, ethertype: u16, offset: usize) -> Traffic {
    match untag(packet, ethertype, offset) {
        Payload::Network { ethertype, offset } => outline_untagged(packet, ethertype, offset),
        Payload::OtherVlan => Traffic::Other,
        Payload::Ambiguous(ambiguity) => Traffic::Ambiguous(ambiguity),
    }
}

/// The same without tags.
#[inline(always)]
pub fn outline_untagged<P: Packet + ?Sized>(packet: &P, ethertype: u16, offset: usize) -> Traffic {
    match ethertype {
        ETHERTYPE_IPV4 => Traffic::Ip(Network::V4(offset), ip::v4(packet, offset)),
        ETHERTYPE_IPV6 => Traffic::Ip(Network::V6(offset), ip::v6(packet, offset)),
        _ => Traffic::Other,
    }
}

/// Completes an outline: looks into the IP packet inside, if there is one.
#[inline(always)]
pub fn look_inside<P: Packet + ?Sized>(packet: &P, outline: Traffic) -> Traffic {
    match outline {
        Traffic::Ip(Network::V6(outer), Transport::Packet(inner)) => {
            Traffic::Ip(Network::V6(outer), ip::inside(packet, outer, inner))
        }
        outline => outline,
    }
}
