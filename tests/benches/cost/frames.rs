//! The frames that are measured, and the XDP programs that send them.

use anyhow::Result;
use tests::netns::Netns;

use crate::bpf::{Instruction, Kind, Program, instruction};

/// The guarded port.
pub(crate) const GUARDED: u16 = 11434;
/// A port of somebody else.
pub(crate) const OTHER: u16 = 443;
/// Address of every receiving interface, so that frames are for it.
pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The source of single frames, and the one in ten of a spoofed flood: 10.15.255.255, which no spoofed frame has.
pub(crate) const HEAVY: [u8; 4] = [10, 15, 255, 255];
/// Spoofed sources of a flood.
pub(crate) const SPOOFED: i32 = 1_000_000;

/// A transport header in a network header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// TCP SYN over IPv4.
    Tcp4,
    /// UDP over IPv4.
    Udp4,
    /// TCP SYN over IPv6.
    Tcp6,
    /// UDP over IPv6.
    Udp6,
}

impl Shape {
    /// For the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp4 => "TCP v4",
            Self::Udp4 => "UDP v4",
            Self::Tcp6 => "TCP v6",
            Self::Udp6 => "UDP v6",
        }
    }

    /// A frame to a port, as short as Ethernet has them.
    pub(crate) fn frame(self, port: u16) -> Vec<u8> {
        let transport: &[u8] = match self {
            Self::Tcp4 | Self::Tcp6 => &[0x30, 0x39, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0],
            Self::Udp4 | Self::Udp6 => &[0x30, 0x39, 0, 0, 0, 8, 0, 0],
        };
        let protocol = if matches!(self, Self::Tcp4 | Self::Tcp6) { 6 } else { 17 };
        let length = u8::try_from(transport.len()).unwrap_or(0);
        let mut frame = [MAC.as_slice(), &[2, 0, 0, 0, 0, 2]].concat();
        match self {
            Self::Tcp4 | Self::Udp4 => {
                let mut header = [0x45, 0, 0, 20 + length, 0, 0, 0x40, 0, 64, protocol, 0, 0];
                let destination = [203, 0, 113, 1];
                let sum = checksum(&[header.as_slice(), &HEAVY, &destination].concat());
                header[10..].copy_from_slice(&sum.to_be_bytes());
                frame.extend([[8, 0].as_slice(), &header, &HEAVY, &destination].concat());
            }
            Self::Tcp6 | Self::Udp6 => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, length, protocol, 64]);
                frame.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
                frame.extend([0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            }
        }
        let start = frame.len();
        frame.extend(transport);
        frame[start + 2..start + 4].copy_from_slice(&port.to_be_bytes());
        frame.resize(frame.len().max(60), 0);
        frame
    }
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let sum: u32 = header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or(0)
}

/// Redirects every frame to an interface; with `spoof`, nine in ten get one of [`SPOOFED`] sources first.
///
/// The checksum of [`Shape::Tcp4`] stays right: what the source's low half gains, the identification loses, and its
/// high half likewise at the expense of the traffic class.
pub(crate) fn sender(outside: &Netns, interface: u32, spoof: bool) -> Result<Program> {
    let i = instruction;
    let out = i32::try_from(interface)?;
    let redirect = [i(0xb7, 1, 0, 0, out), i(0xb7, 2, 0, 0, 0), i(0x85, 0, 0, 0, 23), i(0x95, 0, 0, 0, 0)];
    #[rustfmt::skip]
    let rewrite: [Instruction; 21] = [
        i(0x61, 6, 1, 0, 0),       // r6 = start of the frame
        i(0x61, 2, 1, 4, 0),       // r2 = its end
        i(0xbf, 3, 6, 0, 0),
        i(0x07, 3, 0, 0, 34),
        i(0x2d, 3, 2, 16, 0),      // too short for IPv4: redirect as it is
        i(0x85, 0, 0, 0, 7),       // r0 = random number
        i(0xb7, 8, 0, 0, 15),      // high and low half of the heavy source
        i(0x94, 0, 0, 0, 10),
        i(0x55, 0, 0, 2, 0),       // one in ten
        i(0xb7, 0, 0, 0, 0xffff),
        i(0x05, 0, 0, 4, 0),
        i(0x85, 0, 0, 0, 7),       // the others: one of SPOOFED
        i(0x94, 0, 0, 0, SPOOFED),
        i(0xbf, 8, 0, 0, 0),
        i(0x77, 8, 0, 0, 16),
        i(0x73, 6, 8, 27, 0),      // source, second byte
        i(0x6b, 6, 0, 28, 0),      // source, low half
        i(0xa7, 8, 0, 0, 15),
        i(0x73, 6, 8, 15, 0),      // traffic class = 15 - second byte
        i(0xa7, 0, 0, 0, 0xffff),
        i(0x6b, 6, 0, 18, 0),      // identification = complement of the low half
    ];
    let code = if spoof { [rewrite.as_slice(), &redirect].concat() } else { redirect.to_vec() };
    outside.enter(|| Program::load(Kind::Xdp, &code))?
}
