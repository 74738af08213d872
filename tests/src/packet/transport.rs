//! Transport headers.

use super::{Network, Packet};

/// TCP flags (RFC 9293 §3.1).
pub mod flags {
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Acknowledges.
    pub const ACK: u8 = 0x10;
    /// Breaks a connection.
    pub const RST: u8 = 0x04;
    /// Ends a connection.
    pub const FIN: u8 = 0x01;
    /// No flag at all.
    pub const NULL: u8 = 0;
    /// FIN, PSH and URG, "lit like a Christmas tree".
    pub const XMAS: u8 = 0x29;
}

/// What the IP packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Flags.
        flags: u8,
    },
    /// UDP.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// Another protocol, by number, whose first bytes look like ports.
    Other(u8, [u16; 2]),
    /// An IP packet.
    Packet(Box<Packet>),
}

impl Transport {
    /// A SYN to this port.
    pub const fn tcp(destination: u16) -> Self {
        Self::Tcp { source: 40_000, destination, flags: flags::SYN }
    }

    /// A datagram to this port.
    pub const fn udp(destination: u16) -> Self {
        Self::Udp { source: 40_000, destination }
    }

    /// The destination port of TCP and UDP.
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { destination, .. } | Self::Udp { destination, .. } => Some(*destination),
            Self::Other(..) | Self::Packet(_) => None,
        }
    }

    pub(super) fn number(&self) -> u8 {
        match self {
            Self::Tcp { .. } => 6,
            Self::Udp { .. } => 17,
            Self::Other(number, _) => *number,
            Self::Packet(packet) => match packet.network {
                Network::V4(_) => 4,
                Network::V6(_) => 41,
            },
        }
    }

    pub(super) fn bytes(&self, payload: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Tcp { source, destination, flags } => {
                bytes.extend(source.to_be_bytes());
                bytes.extend(destination.to_be_bytes());
                bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, *flags, 0xff, 0xff, 0, 0, 0, 0]);
            }
            Self::Udp { source, destination } => {
                bytes.extend(source.to_be_bytes());
                bytes.extend(destination.to_be_bytes());
                bytes.extend(u16::try_from(8 + payload).unwrap_or(u16::MAX).to_be_bytes());
                bytes.extend([0, 0]);
            }
            Self::Other(_, [first, second]) => {
                bytes.extend(first.to_be_bytes());
                bytes.extend(second.to_be_bytes());
            }
            Self::Packet(packet) => bytes.extend(packet.ip()),
        }
        bytes.resize(bytes.len() + payload, b'x');
        bytes
    }
}
