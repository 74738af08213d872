//! From bytes to what the policy needs to know of a packet.

use crate::ethernet::{self, Payload, untag};
use crate::packet::be16;
use crate::{Ambiguity, Packet, Protocol, ip};

pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;

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
}

/// Classifies an Ethernet frame with its tags, if any, in the frame.
#[inline(always)]
pub fn classify_ethernet<P: Packet + ?Sized>(frame: &P) -> Traffic {
    let Some(header) = frame.read::<[u8; ethernet::HEADER]>(0) else {
        return Traffic::Ambiguous(Ambiguity::Truncated);
    };
    match untag(frame, be16(&header, 12)) {
        Payload::Network { ethertype, offset } => classify_network(frame, ethertype, offset),
        Payload::OtherVlan => Traffic::Other,
        Payload::Ambiguous(ambiguity) => Traffic::Ambiguous(ambiguity),
    }
}

/// Classifies the packet whose network header, announced by `ethertype`, is at `offset`.
#[inline(always)]
pub fn classify_network<P: Packet + ?Sized>(packet: &P, ethertype: u16, offset: usize) -> Traffic {
    match ethertype {
        ETHERTYPE_IPV4 => Traffic::Ip(Network::V4(offset), ip::v4(packet, offset)),
        ETHERTYPE_IPV6 => Traffic::Ip(Network::V6(offset), ip::v6(packet, offset)),
        _ => Traffic::Other,
    }
}
