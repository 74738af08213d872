//! The walk over a frame's headers, for what a glance does not tell.

use ollama_guard_common::{Packet, Payload, Traffic, classify_network, untag};

use crate::bounds::opaque;

/// More than an Ethernet header with all the tags that are looked behind.
const NETWORK_OFFSETS: usize = 0x3f;

/// Classifies a frame whose Ethernet header announces `ethertype`, or whose tag did that the kernel has moved out of it;
/// (further) priority tags may follow.
#[inline(always)]
pub(crate) fn classify<P: Packet>(frame: &P, ethertype: u16) -> Traffic {
    match untag(frame, ethertype) {
        // The verifier would walk what follows once for every number of tags.
        Payload::Network { ethertype, offset } => classify_network(frame, ethertype, opaque(offset) & NETWORK_OFFSETS),
        Payload::OtherVlan => Traffic::Other,
        Payload::Ambiguous(ambiguity) => Traffic::Ambiguous(ambiguity),
    }
}
