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
        match self.transport {
            // A source route ends here, and another IP packet begins: a host may unwrap it.
            Transport::Other(4 | 41, _) if matches!(self.chain.last(), Some(Extension::Routing(_))) => {
                Truth::Hidden(Why::Headers)
            }
            Transport::Other(..) => Truth::Unrelated,
            _ if bytes < at + 4 => Truth::Hidden(cut),
            Transport::Tcp { destination, .. } => Truth::Tcp(destination),
            Transport::Udp { destination, .. } => Truth::Udp(destination),
        }
    }
}
