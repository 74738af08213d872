//! The link layer: from an Ethernet frame to its network header.

use crate::packet::be16;
use crate::{Ambiguity, Packet};

/// Length of an untagged Ethernet header, in bytes.
pub const ETHERNET_HEADER: usize = 14;
/// Most priority tags (VID 0) that are looked behind; Linux itself takes any number
/// (`__netif_receive_skb_core`, `net/core/dev.c`), nobody sends more than one.
pub const MAX_TAGS: usize = 4;

const DOT1Q: u16 = 0x8100;
const DOT1AD: u16 = 0x88a8;
const TAG: usize = 4;
const VID: u16 = 0x0fff;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// The `EtherType` and the offset of the header it announces.
    Network {
        /// `EtherType` (IEEE 802 numbers), host byte order.
        ethertype: u16,
        /// Bytes from the start of the frame.
        offset: usize,
    },
    /// Tagged for a VLAN (VID 1 to 4095): judged on the VLAN interface, if there is one.
    OtherVlan,
    /// Cannot be told.
    Ambiguous(Ambiguity),
}

/// Is it addressed to one of 01:80:c2:00:00:00 to 0f (IEEE 802.1Q table 8-1)? A bridge, a team and an inactive member of a
/// bond hand such a frame up as received by the member (`is_link_local_ether_addr`, `include/linux/etherdevice.h`). One that
/// is too short to tell counts as one.
#[inline(always)]
pub fn is_link_local<P: Packet + ?Sized>(frame: &P) -> bool {
    // As it lies in memory: every frame of a bridge's port comes by here, and swapping bytes would take as long again.
    const FIRST: u16 = u16::from_ne_bytes([0x01, 0x80]);
    const SECOND: u16 = u16::from_ne_bytes([0xc2, 0x00]);
    const MASK: u16 = u16::from_ne_bytes([0xff, 0xf0]);
    let Some([first, second, third]) = frame.read::<[u16; 3]>(0) else { return true };
    first == FIRST && second == SECOND && third & MASK == 0
}

/// Does an 802.1Q or 802.1ad tag with this control information belong to a VLAN interface?
/// VID 0 is a priority tag (IEEE 802.1Q §9.6): the frame counts as untagged.
#[inline(always)]
pub(crate) const fn names_vlan(tci: u16) -> bool {
    tci & VID != 0
}

/// Is this the `EtherType` of a tag?
#[inline(always)]
pub const fn is_tag(ethertype: u16) -> bool {
    ethertype == DOT1Q || ethertype == DOT1AD
}

/// Looks behind the priority tags at `offset`, the first of which `ethertype` announced.
#[inline(always)]
pub(crate) fn untag<P: Packet + ?Sized>(frame: &P, ethertype: u16, offset: usize) -> Payload {
    let (mut ethertype, mut offset) = (ethertype, offset);
    for _ in 0..MAX_TAGS {
        if !is_tag(ethertype) {
            return Payload::Network { ethertype, offset };
        }
        let Some(tag) = frame.read::<[u8; TAG]>(offset) else {
            return Payload::Ambiguous(Ambiguity::Truncated);
        };
        if names_vlan(be16(&tag, 0)) {
            return Payload::OtherVlan;
        }
        ethertype = be16(&tag, 2);
        offset += TAG;
    }
    if is_tag(ethertype) {
        return Payload::Ambiguous(Ambiguity::Extension);
    }
    Payload::Network { ethertype, offset }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixteen_link_local_addresses_and_no_others() {
        let link_local = |destination: [u8; 6]| is_link_local(destination.as_slice());
        for last in 0..=0xff {
            assert_eq!(link_local([0x01, 0x80, 0xc2, 0, 0, last]), last < 0x10);
        }
        for at in 0..5 {
            let mut other = [0x01, 0x80, 0xc2, 0, 0, 0x0e];
            other[at] ^= 1;
            assert!(!link_local(other));
        }
        assert!(is_link_local([0x02; 5].as_slice()));
    }
}
