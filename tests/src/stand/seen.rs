//! What nftables sees of a frame that arrives on the stand's interface, told as the kernel reads it: `ip_rcv_core`,
//! `ip6_rcv_core`, `nft_set_pktinfo_ipv4` and `_ipv6`, `ipv6_find_hdr`. Nothing here is shared with the classifier.

use std::net::IpAddr;

use ollama_guard::policy::InterfaceName;
use ollama_guard::seatbelt::ruleset::{AddressType, Carried, Hook, PacketFacts, Transport};

use super::model::Model;
use super::network::kind;

const AUTHENTICATION: u8 = 51;

/// A packet as nftables sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What rules can ask of it in prerouting.
    pub facts: PacketFacts,
    /// Nothing stands before the hook: behind tags and hop-by-hop options the kernel may refuse it yet.
    pub is_certain: bool,
    /// What may hide its port from rules alone.
    pub oddity: Option<Oddity>,
    /// It is not for this host, and no route leads to whom it is for.
    pub is_lost: bool,
}

/// What reads otherwise to those who go by other fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// Its length field leaves out something of the frame.
    Cut,
    /// A later fragment inside a fragment.
    Nested,
}

/// What nftables sees of a frame; checksums are taken for right. `None`: the kernel refuses it before any hook, or it is
/// for another device, a VLAN's.
pub(super) fn seen(frame: &[u8], interface: &InterfaceName) -> Option<Seen> {
    let (mut rest, mut is_certain) = (frame.get(12..)?, true);
    // Tags of VLAN 0 are taken off (__netif_receive_skb_core).
    while let [0x81, 0x00, high, low, inner @ ..] | [0x88, 0xa8, high, low, inner @ ..] = rest {
        if (high & 0x0f, *low) != (0, 0) {
            return None;
        }
        (rest, is_certain) = (inner, false);
    }
    let read = match rest {
        [0x08, 0x00, packet @ ..] => v4(packet)?,
        [0x86, 0xdd, packet @ ..] => {
            is_certain &= packet.get(6) != Some(&0);
            v6(packet)?
        }
        _ => return None,
    };
    let facts = PacketFacts {
        hook: Hook::Prerouting,
        ingress: interface.clone(),
        egress: None,
        member: None,
        source: read.source,
        address: read.destination,
        destination: kind(read.destination),
        transport: read.transport,
        carried: Carried::Routed,
    };
    let is_lost = facts.destination == AddressType::Unicast && !Model::is_onward(read.source, read.destination);
    let oddity = match () {
        () if read.is_nested => Some(Oddity::Nested),
        () if read.length + 2 < rest.len() => Some(Oddity::Cut),
        () => None,
    };
    Some(Seen { facts, is_certain, oddity, is_lost })
}

/// What an IP packet says.
struct Read {
    source: IpAddr,
    destination: IpAddr,
    length: usize,
    transport: Transport,
    is_nested: bool,
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn v4(packet: &[u8]) -> Option<Read> {
    let header: &[u8; 20] = packet.first_chunk()?;
    let (length, total) = (usize::from(header[0] & 15) * 4, usize::from(number(packet, 2)?));
    if header[0] >> 4 != 4 || length < 20 || total < length {
        return None;
    }
    // What is behind the packet's end is taken off.
    let packet = packet.get(..total)?;
    let transport =
        if number(packet, 6)? & 0x1fff != 0 { Transport::LaterFragment } else { port(header[9], packet, length) };
    let address = |at: usize| packet[at..].first_chunk::<4>().map(|octets| IpAddr::from(*octets));
    Some(Read { source: address(12)?, destination: address(16)?, length: total, transport, is_nested: false })
}

fn v6(packet: &[u8]) -> Option<Read> {
    let (first, length) = (*packet.first()?, usize::from(number(packet, 4)?));
    let address = |at: usize| packet.get(at..)?.first_chunk::<16>().map(|octets| IpAddr::from(*octets));
    let (source, destination) = (address(8)?, address(24)?);
    // A jumbogram's length is in an option.
    let is_jumbo = length == 0 && packet[6] == 0;
    let packet = if is_jumbo { packet } else { packet.get(..40 + length)? };
    let (IpAddr::V6(from), IpAddr::V6(to)) = (source, destination) else { return None };
    let scope = to.segments()[0] & 0xf;
    let refused = from.is_loopback() || to.is_loopback() || from.is_multicast() || to.is_multicast() && scope < 2;
    if first >> 4 != 6 || refused {
        return None;
    }
    let (transport, is_nested) = chain(packet);
    Some(Read { source, destination, length: packet.len(), transport, is_nested })
}

/// Follows the headers as far as nftables does: to the first one that is no extension header, or authentication. Also: is
/// it a later fragment behind another fragment header?
fn chain(packet: &[u8]) -> (Transport, bool) {
    let (mut next, mut at, mut is_fragment) = (packet[6], 40, false);
    while matches!(next, 0 | 43 | 44 | 60) {
        let Some(&[follows, units]) = packet.get(at..).and_then(<[u8]>::first_chunk) else {
            return (Transport::Unknown, false);
        };
        if next != 44 {
            (next, at) = (follows, at + 8 * (1 + usize::from(units)));
            continue;
        }
        let Some(offset) = number(packet, at + 2) else { return (Transport::Unknown, false) };
        if offset & 0xfff8 == 0 {
            (next, at, is_fragment) = (follows, at + 8, true);
            continue;
        }
        // `frag frag-off` reads the first fragment header.
        return match (is_fragment, is_extension(follows)) {
            (false, _) => (Transport::LaterFragment, false),
            (true, false) => (Transport::Truncated(follows), true),
            (true, true) => (Transport::Unknown, true),
        };
    }
    (port(next, packet, at), false)
}

/// `ipv6_ext_hdr`, without the one that says that nothing follows.
fn is_extension(number: u8) -> bool {
    matches!(number, 0 | 43 | 44 | AUTHENTICATION | 60)
}

/// `meta l4proto . th dport`
fn port(protocol: u8, packet: &[u8], at: usize) -> Transport {
    number(packet, at + 2).map_or(Transport::Truncated(protocol), |port| Transport::Port(protocol, port))
}
