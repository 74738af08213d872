//! Packets for the suites, built layer by layer into bytes, and what the promise says of each.
//!
//! Written from the RFCs and without a line of the classifier's, so that an error in one is not an error in both.

mod checksum;
mod network;
mod split;
pub mod strategy;
mod transport;
mod truth;

use std::net::{Ipv4Addr, Ipv6Addr};

pub use checksum::seal_v4;
pub use network::{Extension, Fragment, Network, V4, V6};
pub use transport::{Transport, flags};
pub use truth::{Truth, Why};

/// A VLAN tag (IEEE 802.1Q §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// 0x8100 or 0x88a8.
    pub kind: u16,
    /// Priority, 0 to 7.
    pub priority: u8,
    /// VLAN, 0 to 4095; 0: the tag carries a priority only.
    pub vlan: u16,
}

impl Tag {
    /// An 802.1Q tag.
    pub const fn q(vlan: u16) -> Self {
        Self { kind: 0x8100, priority: 0, vlan }
    }

    /// An 802.1ad tag: the outer one of `QinQ`.
    pub const fn ad(vlan: u16) -> Self {
        Self { kind: 0x88a8, priority: 0, vlan }
    }

    /// A tag of VID 0.
    pub const fn priority(priority: u8) -> Self {
        Self { kind: 0x8100, priority, vlan: 0 }
    }
}

/// An Ethernet frame with an IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Destination MAC address.
    pub to: [u8; 6],
    /// Source MAC address.
    pub from: [u8; 6],
    /// VLAN tags, outermost first.
    pub tags: Vec<Tag>,
    /// The IP header.
    pub network: Network,
    /// Extension headers, outermost first. IPv4 has but one of them, the authentication header.
    pub chain: Vec<Extension>,
    /// The transport header.
    pub transport: Transport,
    /// Bytes behind the transport header.
    pub payload: usize,
    /// Written into the length field of the IP header, whatever the length is.
    pub claimed_length: Option<u16>,
    /// What the frame holds behind the IP packet.
    pub trailer: Vec<u8>,
}

/// Length of an Ethernet header without tags.
pub const ETHERNET: usize = 14;

impl Packet {
    /// A TCP SYN to this port, from and to documentation addresses (RFC 5737).
    pub fn v4(port: u16) -> Self {
        Self::new(Network::V4(V4::new(Ipv4Addr::new(203, 0, 113, 9), Ipv4Addr::new(192, 0, 2, 1))), port)
    }

    /// A TCP SYN to this port, from and to documentation addresses (RFC 3849).
    pub fn v6(port: u16) -> Self {
        let address = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
        Self::new(Network::V6(V6::new(address(9), address(1))), port)
    }

    fn new(network: Network, port: u16) -> Self {
        Self {
            to: [2, 0, 0, 0, 0, 1],
            from: [2, 0, 0, 0, 0, 2],
            tags: Vec::new(),
            network,
            chain: Vec::new(),
            transport: Transport::tcp(port),
            payload: 0,
            claimed_length: None,
            trailer: Vec::new(),
        }
    }

    /// The same as if its IP header said that it is so long.
    #[must_use]
    pub fn claiming(self, length: u16) -> Self {
        Self { claimed_length: Some(length), ..self }
    }

    /// The same with this behind it in the frame.
    #[must_use]
    pub fn trailed_by(self, trailer: &[u8]) -> Self {
        Self { trailer: trailer.to_vec(), ..self }
    }

    /// An IP packet in this one, instead of a transport header.
    #[must_use]
    pub fn carrying(self, inner: Self) -> Self {
        Self { transport: Transport::Packet(Box::new(inner)), payload: 0, ..self }
    }

    /// The same over UDP.
    #[must_use]
    pub fn udp(mut self) -> Self {
        if let Transport::Tcp { source, destination, .. } = self.transport {
            self.transport = Transport::Udp { source, destination };
        }
        self.payload = 8;
        self
    }

    /// The same with these TCP flags.
    #[must_use]
    pub fn flags(mut self, bits: u8) -> Self {
        if let Transport::Tcp { flags, .. } = &mut self.transport {
            *flags = bits;
        }
        self
    }

    /// The same from this port.
    #[must_use]
    pub fn sent_from(mut self, port: u16) -> Self {
        if let Transport::Tcp { source, .. } | Transport::Udp { source, .. } = &mut self.transport {
            *source = port;
        }
        self
    }

    /// The same behind these tags.
    #[must_use]
    pub fn tagged(mut self, tags: &[Tag]) -> Self {
        self.tags = tags.to_vec();
        self
    }

    /// The same behind these extension headers.
    #[must_use]
    pub fn behind(mut self, chain: &[Extension]) -> Self {
        self.chain = chain.to_vec();
        self
    }

    /// The same with its IPv4 header changed.
    #[must_use]
    pub fn with_v4(mut self, change: impl FnOnce(&mut V4)) -> Self {
        if let Network::V4(header) = &mut self.network {
            change(header);
        }
        self
    }

    /// The same with its IPv6 header changed.
    #[must_use]
    pub fn with_v6(mut self, change: impl FnOnce(&mut V6)) -> Self {
        if let Network::V6(header) = &mut self.network {
            change(header);
        }
        self
    }

    /// Offset of the IP header.
    pub fn network_offset(&self) -> usize {
        ETHERNET + 4 * self.tags.len()
    }

    /// Offset of the transport header.
    pub fn transport_offset(&self) -> usize {
        self.network_offset() + self.network.size() + self.chain.iter().map(|header| header.size()).sum::<usize>()
    }

    /// The frame.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.transport_offset() + 20 + self.payload);
        bytes.extend(self.to);
        bytes.extend(self.from);
        for tag in &self.tags {
            bytes.extend(tag.kind.to_be_bytes());
            bytes.extend((u16::from(tag.priority) << 13 | tag.vlan).to_be_bytes());
        }
        bytes.extend(self.network.ethertype().to_be_bytes());
        bytes.extend(self.ip());
        bytes.extend(&self.trailer);
        bytes
    }

    /// The IP packet: what a layer-3 device carries.
    pub fn ip(&self) -> Vec<u8> {
        let mut follows = self.transport.number();
        let mut inside = self.transport.bytes(self.payload);
        checksum::seal_transport(&self.network, follows, &mut inside);
        for header in self.chain.iter().rev() {
            inside.splice(0..0, header.bytes(follows));
            follows = header.number();
        }
        let mut bytes = self.network.bytes(follows, inside.len(), self.claimed_length);
        bytes.extend(inside);
        bytes
    }
}
