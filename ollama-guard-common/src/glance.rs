//! One look at a frame: enough for nearly all of them, and cheap.

use crate::classify::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::{ETHERNET_HEADER, Network, Packet, Protocol};

const TCP: u8 = 6;
const UDP: u8 = 17;
/// The fragment offset and "more fragments" of an IPv4 header, as they lie in it.
const FRAGMENT: u16 = 0x3fff_u16.to_be();
/// Of TCP and UDP, what is read.
const PORTS: u16 = 4;

/// Where [`glance`] finds the IP header, version 4: nothing but the Ethernet header is in front of it.
pub const GLANCED_V4: Network = Network::V4(ETHERNET_HEADER);
/// The same, version 6.
pub const GLANCED_V6: Network = Network::V6(ETHERNET_HEADER);

/// The `EtherType` of a frame, as it is without tags; 0 for a frame that is too short for [`glance`].
#[inline(always)]
pub fn ethertype<P: Packet + ?Sized>(frame: &P) -> u16 {
    frame.read::<[u16; 19]>(0).map_or(0, |frame| u16::from_be(frame[6]))
}

/// Protocol and destination port of a frame whose `EtherType` says IP, if nothing stands between the headers: no tag,
/// no option, no fragment, no extension header, and the ports are within the packet. Whatever this finds,
/// [`crate::classify_ethernet`] finds too; on `None` that must be asked.
#[inline(always)]
pub fn glance<P: Packet + ?Sized>(frame: &P, ethertype: u16) -> Option<(Network, Protocol, u16)> {
    if ethertype == ETHERTYPE_IPV4 {
        let frame = frame.read::<[u16; 19]>(0)?;
        let ([first, _], [_, protocol]) = (frame[7].to_ne_bytes(), frame[11].to_ne_bytes());
        if first != 0x45 || frame[10] & FRAGMENT != 0 || u16::from_be(frame[8]) < 20 + PORTS {
            return None;
        }
        return Some((GLANCED_V4, of_number(protocol)?, u16::from_be(frame[18])));
    }
    if ethertype == ETHERTYPE_IPV6 {
        let frame = frame.read::<[u16; 29]>(0)?;
        let ([first, _], [next, _]) = (frame[7].to_ne_bytes(), frame[10].to_ne_bytes());
        if first & 0xf0 != 0x60 || u16::from_be(frame[9]) < PORTS {
            return None;
        }
        return Some((GLANCED_V6, of_number(next)?, u16::from_be(frame[28])));
    }
    None
}

#[inline(always)]
const fn of_number(number: u8) -> Option<Protocol> {
    match number {
        TCP => Some(Protocol::Tcp),
        UDP => Some(Protocol::Udp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::{Traffic, Transport, classify_ethernet};

    const V4: [u8; 12] = [0x08, 0, 0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 6];
    const V6: [u8; 12] = [0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 17, 64, 0, 0];

    fn agrees(frame: &[u8]) {
        if let Some((network, protocol, port)) = glance(frame, ethertype(frame)) {
            let thorough = classify_ethernet(frame);
            assert_eq!(thorough, Traffic::Ip(network, Transport::Port(protocol, port)), "{frame:02x?}");
        }
    }

    #[test]
    fn a_glance_finds_nothing_that_the_classifier_does_not() {
        for header in [V4, V6] {
            let mut frame: Vec<u8> = [[2; 12].as_slice(), &header].concat();
            frame.resize(80, 0x2c);
            assert!(glance(frame.as_slice(), ethertype(frame.as_slice())).is_some());
            for length in 0..frame.len() {
                agrees(&frame[..length]);
            }
            for at in 12..60 {
                for value in 0..=255 {
                    let mut frame = frame.clone();
                    frame[at] = value;
                    agrees(&frame);
                }
            }
        }
    }
}
