//! What is true of a packet, where the classifier is not to be asked.

use ollama_guard_common::{Ambiguity, Network, Protocol, Traffic, Transport};

use super::Way;
use crate::packet::{self, Packet, Truth};

/// What is true of a whole packet, in the words of the classifier.
pub(super) fn truth(way: Way, packet: &Packet) -> Traffic {
    let (truth, offset) = match way {
        Way::TcLayer3 if !packet.tags.is_empty() => return Traffic::Other,
        Way::TcLayer3 => (packet.truth_of_ip(usize::MAX), 0),
        Way::Xdp | Way::Tc => (packet.truth(), packet.network_offset()),
    };
    let network = match packet.network {
        packet::Network::V4(_) => Network::V4(offset),
        packet::Network::V6(_) => Network::V6(offset),
    };
    let transport = match truth {
        Truth::Unrelated => return Traffic::Other,
        Truth::Tcp(port) => Transport::Port(Protocol::Tcp, port),
        Truth::Udp(port) => Transport::Port(Protocol::Udp, port),
        // A whole packet is never cut off: too many tags, or too much behind them, hide its port.
        Truth::Hidden(_) if packet.truth_of_ip(usize::MAX) != truth => return Traffic::Ambiguous(Ambiguity::Extension),
        Truth::Hidden(_) => Transport::Ambiguous(Ambiguity::Extension, None),
    };
    Traffic::Ip(network, transport)
}
