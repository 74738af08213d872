//! A TCP connection that began on this side, from a port that happens to be guarded: its answers are for that port.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{Address, Network, Packet, Protocol};

/// Both ends of a connection that began here: the key of the map `began`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Conversation {
    /// [`Address`]'s words, of the other side.
    pub remote: [u32; 4],
    /// [`Address`]'s words, of this side.
    pub local: [u32; 4],
    /// Port of the other side.
    pub remote_port: u16,
    /// Port of this side.
    pub local_port: u16,
    /// 4 or 6.
    pub family: u32,
}

const TCP: u16 = 6;
/// The fragment offset and "more fragments" of an IPv4 header.
const FRAGMENT: u16 = 0x3fff;
/// FIN, SYN, RST and ACK (RFC 9293 §3.1), and what opens a connection: SYN alone of them.
const FLAGS: u16 = 0x17_u16.to_be();
const OPENS: u16 = 0x02_u16.to_be();

/// The ends of a TCP segment, and its flags.
struct Segment {
    source: Address,
    destination: Address,
    ports: [u16; 2],
    opens: bool,
}

/// The connection that a leaving packet opens. Only a SYN without ACK does: what a server sends never is one, whatever it
/// is sent, so that no stranger makes a connection look like one of this side's.
#[inline(always)]
pub fn opens<P: Packet + ?Sized>(packet: &P, network: Network) -> Option<Conversation> {
    let Segment { source, destination, ports, opens } = segment(packet, network)?;
    opens.then_some(Conversation {
        remote: destination.words,
        local: source.words,
        remote_port: ports[1],
        local_port: ports[0],
        family: source.family,
    })
}

/// The connection that an arriving packet would be an answer in. A SYN without ACK never is one.
#[inline(always)]
pub fn answers<P: Packet + ?Sized>(packet: &P, network: Network) -> Option<Conversation> {
    let Segment { source, destination, ports, opens } = segment(packet, network)?;
    (!opens).then_some(Conversation {
        remote: source.words,
        local: destination.words,
        remote_port: ports[0],
        local_port: ports[1],
        family: source.family,
    })
}

/// Is it a TCP segment that does not look like a SYN without ACK? Asked first, because of a flood: nearly all that is dropped
/// is such SYNs. If the flags are elsewhere, [`answers`] tells.
#[inline(always)]
pub fn may_answer<P: Packet + ?Sized>(packet: &P, protocol: Protocol, network: Network) -> bool {
    if !matches!(protocol, Protocol::Tcp) {
        return false;
    }
    let flags = match network {
        Network::V4(offset) => packet.read::<[u16; 1]>(offset + 32),
        Network::V6(offset) => packet.read::<[u16; 1]>(offset + 52),
    };
    flags.is_some_and(|flags| !is_opening(flags[0]))
}

/// A TCP header right behind the IP header: nobody sends options or extension headers in a connection of his own.
#[inline(always)]
fn segment<P: Packet + ?Sized>(packet: &P, network: Network) -> Option<Segment> {
    let (source, destination, ports, flags) = match network {
        Network::V4(offset) => {
            let header = packet.read::<[u16; 17]>(offset)?;
            let plain = u16::from_be(header[0]) >> 8 == 0x45 && u16::from_be(header[3]) & FRAGMENT == 0;
            if !plain || u16::from_be(header[4]) & 0xff != TCP {
                return None;
            }
            let (source, destination) = (Address::v4([header[6], header[7]]), Address::v4([header[8], header[9]]));
            (source, destination, [header[10], header[11]], header[16])
        }
        Network::V6(offset) => {
            let header = packet.read::<[u16; 27]>(offset)?;
            if u16::from_be(header[3]) >> 8 != TCP {
                return None;
            }
            let [_, _, _, _, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, from, to, _, _, _, _, flags] = header;
            let source = Address::v6([a, b, c, d, e, f, g, h]);
            (source, Address::v6([i, j, k, l, m, n, o, p]), [from, to], flags)
        }
    };
    let ports = [u16::from_be(ports[0]), u16::from_be(ports[1])];
    Some(Segment { source, destination, ports, opens: is_opening(flags) })
}

/// Are the flags, in network byte order behind the header's length, those of a packet that opens a connection?
#[inline(always)]
const fn is_opening(flags: u16) -> bool {
    flags & FLAGS == OPENS
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    const SYN: u8 = 0x02;

    fn v4(flags: u8) -> Vec<u8> {
        let ip = [0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 203, 0, 113, 9];
        let tcp = [0x2c, 0xaa, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0];
        [ip, tcp].concat()
    }

    fn v6(flags: u8) -> Vec<u8> {
        let mut packet = std::vec![0x60, 0, 0, 0, 0, 20, 6, 64];
        packet.extend([0xfd; 16]);
        packet.extend([0x20; 16]);
        packet.extend_from_slice(&v4(flags)[20..]);
        packet
    }

    #[test]
    fn only_a_syn_without_ack_opens_and_everything_else_may_be_an_answer() {
        for flags in 0..=255 {
            let bare = flags & 0x17 == SYN;
            for (packet, network) in [(v4(flags), Network::V4(0)), (v6(flags), Network::V6(0))] {
                assert_eq!(opens(packet.as_slice(), network).is_some(), bare, "{flags:#x}");
                assert_eq!(answers(packet.as_slice(), network).is_some(), !bare, "{flags:#x}");
            }
        }
    }

    #[test]
    fn an_answer_is_in_the_conversation_that_its_reverse_opened() {
        let opened = opens(v4(SYN).as_slice(), Network::V4(0)).unwrap();
        assert_eq!((opened.local_port, opened.remote_port, opened.family), (11434, 80, 4));
        let mut answer = v4(0x12);
        answer[12..20].rotate_left(4);
        answer[20..24].rotate_left(2);
        assert_eq!(answers(answer.as_slice(), Network::V4(0)), Some(opened));
        answer[12] ^= 1;
        assert_ne!(answers(answer.as_slice(), Network::V4(0)), Some(opened));
    }

    #[test]
    fn what_hides_its_header_is_no_answer() {
        for (at, value) in [(0, 0x46), (6, 0x20), (7, 1), (9, 17)] {
            let mut packet = v4(0x10);
            packet[at] = value;
            assert_eq!(answers(packet.as_slice(), Network::V4(0)), None);
        }
        assert_eq!(answers(&v4(0x10)[..33], Network::V4(0)), None);
        let mut packet = v6(0x10);
        packet[6] = 0;
        assert_eq!(answers(packet.as_slice(), Network::V6(0)), None);
    }
}
