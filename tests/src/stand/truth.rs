//! What is true of a packet, where the classifier is not to be asked.

use ollama_guard_common::{Ambiguity, Network, Protocol, Traffic, Transport};

use super::Way;
use crate::packet::{self, ETHERNET, Packet, Truth, Why};

/// What is true of a whole packet, in the words of the classifier.
pub(super) fn truth(way: Way, packet: &Packet) -> Traffic {
    let (truth, offset) = match way {
        Way::TcLayer3 => (packet.truth(), packet.network_offset() - ETHERNET),
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
        Truth::TcpInside(port) => Transport::Inside(Protocol::Tcp, port),
        Truth::UdpInside(port) => Transport::Inside(Protocol::Udp, port),
        // Too many tags, or too much behind them, hide its port; or its own length does.
        Truth::Hidden(_) if packet.truth_of_ip(usize::MAX) != truth => return Traffic::Ambiguous(Ambiguity::Extension),
        Truth::Hidden(why) => Transport::Ambiguous(ambiguity(why), None),
    };
    Traffic::Ip(network, transport)
}

/// The protocol is known too where all is there but the ports; no suite asks for that.
const fn ambiguity(why: Why) -> Ambiguity {
    match why {
        Why::Headers => Ambiguity::Extension,
        Why::Fragment => Ambiguity::Fragment,
        Why::Cut => Ambiguity::Truncated,
    }
}
