//! What the promise says of a packet, told from its layers and not from its bytes.

use super::{Extension, Network, Packet, Transport};

/// Most priority tags that are looked behind.
pub(super) const TAGS: usize = 4;
/// Most extension headers that are followed.
pub(super) const EXTENSIONS: usize = 8;
/// Furthest a transport header may begin behind the IP header.
pub(super) const REACH: usize = 2047;

/// What a packet is to someone who guards ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It reaches no port of this interface.
    Unrelated,
    /// It is for this TCP port.
    Tcp(u16),
    /// It is for this UDP port.
    Udp(u16),
    /// It carries a packet for this TCP port, which a host may unwrap.
    TcpInside(u16),
    /// It carries a packet for this UDP port, which a host may unwrap.
    UdpInside(u16),
    /// Its port is not to be found.
    Hidden(Why),
}

/// What hides a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// More headers in front of it, or longer ones, than the bounds.
    Headers,
    /// It is the first fragment and ends too early.
    Fragment,
    /// It ends too early.
    Cut,
}

impl Packet {
    /// The truth about the whole packet.
    pub fn truth(&self) -> Truth {
        self.truth_of_first(usize::MAX)
    }

    /// The truth about its first `bytes` bytes.
    pub fn truth_of_first(&self, bytes: usize) -> Truth {
        if bytes < super::ETHERNET {
            return Truth::Hidden(Why::Cut);
        }
        for (i, tag) in self.tags.iter().enumerate() {
            if i == TAGS {
                return Truth::Hidden(Why::Headers);
            }
            if bytes < super::ETHERNET + 4 * (i + 1) {
                return Truth::Hidden(Why::Cut);
            }
            if tag.vlan != 0 {
                return Truth::Unrelated;
            }
        }
        self.truth_of_ip(bytes - self.network_offset())
    }

    /// The truth about the first `bytes` bytes from the IP header on.
    pub fn truth_of_ip(&self, bytes: usize) -> Truth {
        let mut cut = Why::Cut;
        let needed = if matches!(self.network, Network::V4(_)) { 20 } else { 8 };
        if bytes < needed {
            return Truth::Hidden(cut);
        }
        let bytes = bytes.min(self.end());
        match &self.network {
            Network::V4(header) => {
                let words = header.claimed_words.unwrap_or(5 + header.options);
                if header.version != 4 || words < 5 || header.fragment.offset > 0 {
                    return Truth::Unrelated;
                }
                if header.fragment.more {
                    cut = Why::Fragment;
                }
                let carries_ports = matches!(self.transport, Transport::Tcp { .. } | Transport::Udp { .. });
                match self.chain.first() {
                    Some(Extension::Authentication(_)) => {}
                    None if carries_ports => {}
                    _ => return Truth::Unrelated,
                }
            }
            Network::V6(header) if header.version != 6 => return Truth::Unrelated,
            Network::V6(_) => {}
        }
        self.truth_of_chain(bytes, cut)
    }

    /// Where the packet ends by its own account, from the IP header on. Zero gives none.
    fn end(&self) -> usize {
        let inside = self.ip().len() - self.network.size();
        let length = usize::from(self.claimed_length.unwrap_or(self.network.length_field(inside)));
        match &self.network {
            _ if length == 0 => usize::MAX,
            // No more than eights: the next fragment begins there, and may bring ports that are not in the first of them.
            Network::V4(header) if header.fragment.more && !self.chain.is_empty() => {
                let words = header.claimed_words.unwrap_or(5 + header.options);
                let own = usize::from(words) * 4;
                own.min(length) + length.saturating_sub(own) / 8 * 8
            }
            Network::V4(_) => length,
            Network::V6(_) => 40 + length,
        }
    }

    /// The truth about its first bytes, as a packet in another one. Whoever unwraps it there asks for no version and takes
    /// 20 bytes for an IPv4 header.
    fn truth_inside(&self, bytes: usize) -> Truth {
        let (is_known, is_plain) = match &self.network {
            Network::V4(header) => {
                let words = header.claimed_words.unwrap_or(5 + header.options);
                (header.version == 4 && words >= 5, words == 5)
            }
            Network::V6(header) => (header.version == 6, true),
        };
        match self.truth_of_ip(bytes) {
            Truth::Unrelated if is_known => Truth::Unrelated,
            Truth::Tcp(port) if is_plain => Truth::TcpInside(port),
            Truth::Udp(port) if is_plain => Truth::UdpInside(port),
            _ => Truth::Hidden(Why::Headers),
        }
    }

    fn truth_of_chain(&self, bytes: usize, mut cut: Why) -> Truth {
        let mut at = self.network.size();
        for (i, extension) in self.chain.iter().enumerate() {
            if i > EXTENSIONS || at > REACH {
                return Truth::Hidden(Why::Headers);
            }
            if bytes < at + 4 {
                return Truth::Hidden(cut);
            }
            if let Extension::Fragment(fragment) = extension {
                if fragment.offset > 0 {
                    return Truth::Unrelated;
                }
                if fragment.more {
                    cut = Why::Fragment;
                }
            }
            at += extension.size();
        }
        if self.chain.len() > EXTENSIONS || (!self.chain.is_empty() && at > REACH) {
            return Truth::Hidden(Why::Headers);
        }
        match &self.transport {
            // Nobody has a tunnel with IPsec's device here; IPv4 has no other extension header.
            Transport::Other(4 | 41, _) | Transport::Packet(_) if matches!(self.network, Network::V4(_)) => {
                Truth::Unrelated
            }
            // A source route ends here, and another IP packet begins: a host may unwrap it. Behind hop-by-hop options one may
            // take it for what it is not.
            Transport::Other(4 | 41, _) | Transport::Packet(_) if self.hides_what_is_inside() => {
                Truth::Hidden(Why::Headers)
            }
            Transport::Packet(inner) => inner.truth_inside(bytes - at.min(bytes)),
            Transport::Other(4 | 41, _) => Truth::Hidden(Why::Headers), // no IP packet that anybody could read
            Transport::Other(..) => Truth::Unrelated,
            _ if bytes < at + 4 => Truth::Hidden(cut),
            Transport::Tcp { destination, .. } => Truth::Tcp(*destination),
            Transport::Udp { destination, .. } => Truth::Udp(*destination),
        }
    }

    fn hides_what_is_inside(&self) -> bool {
        matches!(self.chain.first(), Some(Extension::HopByHop(_)))
            || matches!(self.chain.last(), Some(Extension::Routing(_)))
    }
}
