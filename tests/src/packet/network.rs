//! IP headers (RFC 791, RFC 8200) and extension headers.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::checksum::seal_v4;

/// Where in a fragmented packet a fragment lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// In units of eight bytes.
    pub offset: u16,
    /// Others follow.
    pub more: bool,
}

impl Fragment {
    /// A whole packet, or an atomic fragment (RFC 6946).
    pub const WHOLE: Self = Self { offset: 0, more: false };
    /// The first of several.
    pub const FIRST: Self = Self { offset: 0, more: true };
    /// One of the others.
    pub const LATER: Self = Self { offset: 3, more: true };
    /// The last one.
    pub const LAST: Self = Self { offset: 185, more: false };
}

/// An IPv4 header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V4 {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Options, in words of four bytes, 0 to 10.
    pub options: u8,
    /// Fragmentation.
    pub fragment: Fragment,
    /// Written into the version field.
    pub version: u8,
    /// Written into the header length field, whatever the options are.
    pub claimed_words: Option<u8>,
}

impl V4 {
    /// A plain header.
    pub const fn new(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self { source, destination, options: 0, fragment: Fragment::WHOLE, version: 4, claimed_words: None }
    }
}

/// An IPv6 header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V6 {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// Written into the version field.
    pub version: u8,
}

impl V6 {
    /// A plain header.
    pub const fn new(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self { source, destination, version: 6 }
    }
}

/// An IP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// IPv4.
    V4(V4),
    /// IPv6.
    V6(V6),
}

impl Network {
    /// Bytes it takes.
    pub fn size(&self) -> usize {
        match self {
            Self::V4(header) => 20 + 4 * usize::from(header.options),
            Self::V6(_) => 40,
        }
    }

    pub(super) fn ethertype(&self) -> u16 {
        match self {
            Self::V4(_) => 0x0800,
            Self::V6(_) => 0x86dd,
        }
    }

    /// What the length field says of a packet that carries so many bytes.
    pub(super) fn length_field(&self, inside: usize) -> u16 {
        let counted = if matches!(self, Self::V4(_)) { self.size() } else { 0 };
        u16::try_from(counted + inside).unwrap_or(u16::MAX)
    }

    pub(super) fn bytes(&self, follows: u8, inside: usize, claimed_length: Option<u16>) -> Vec<u8> {
        let length = claimed_length.unwrap_or(self.length_field(inside)).to_be_bytes();
        match self {
            Self::V4(header) => {
                let words = header.claimed_words.unwrap_or(5 + header.options);
                let mut bytes = vec![header.version << 4 | words & 0xf, 0];
                bytes.extend(length);
                bytes.extend([0x12, 0x34]);
                bytes.extend((u16::from(header.fragment.more) << 13 | header.fragment.offset & 0x1fff).to_be_bytes());
                bytes.extend([64, follows, 0, 0]);
                bytes.extend(header.source.octets());
                bytes.extend(header.destination.octets());
                bytes.resize(self.size(), 1); // options of type 1: no operation
                seal_v4(&mut bytes);
                bytes
            }
            Self::V6(header) => {
                let mut bytes = vec![header.version << 4, 0, 0, 0];
                bytes.extend(length);
                bytes.extend([follows, 64]);
                bytes.extend(header.source.octets());
                bytes.extend(header.destination.octets());
                bytes
            }
        }
    }
}

/// A header between IP and transport. A number is its length in units beyond the shortest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Hop-by-hop options, units of eight bytes.
    HopByHop(u8),
    /// Destination options, units of eight bytes.
    Destination(u8),
    /// Routing, units of eight bytes.
    Routing(u8),
    /// Authentication (RFC 4302), units of four bytes.
    Authentication(u8),
    /// Fragment.
    Fragment(Fragment),
}

impl Extension {
    /// The number by which the header before it announces it.
    pub const fn number(self) -> u8 {
        match self {
            Self::HopByHop(_) => 0,
            Self::Routing(_) => 43,
            Self::Fragment(_) => 44,
            Self::Authentication(_) => 51,
            Self::Destination(_) => 60,
        }
    }

    /// Bytes it takes.
    pub fn size(self) -> usize {
        match self {
            Self::HopByHop(units) | Self::Destination(units) | Self::Routing(units) => 8 * (1 + usize::from(units)),
            Self::Authentication(units) => 12 + 4 * usize::from(units),
            Self::Fragment(_) => 8,
        }
    }

    pub(super) fn bytes(self, follows: u8) -> Vec<u8> {
        let mut bytes = match self {
            Self::HopByHop(units) | Self::Destination(units) => vec![follows, units, 1, 4, 0, 0, 0, 0], // PadN
            Self::Routing(units) => vec![follows, units, 4, 0, 0, 0, 0, 0],
            Self::Authentication(units) => vec![follows, units + 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
            Self::Fragment(fragment) => {
                let [high, low] = (fragment.offset << 3 | u16::from(fragment.more)).to_be_bytes();
                vec![follows, 0, high, low, 0xca, 0xfe, 0xba, 0xbe]
            }
        };
        bytes.resize(self.size(), 0);
        bytes
    }
}
