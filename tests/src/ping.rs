//! An ICMP echo, v4 or v6: what must go on working on a guarded interface.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Instant;

use anyhow::{Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Netns;
use crate::probe::PATIENCE;

/// Identifier, sequence number and some data.
const REST: [u8; 8] = *b"\x4f\x47\0\x01ping";

/// Asks for an echo and waits for it.
pub fn ping(from: &Netns, address: impl Into<IpAddr>) -> Result<()> {
    let address = address.into();
    let answered = from.enter(|| echo(address))??;
    ensure!(answered, "{address} does not answer a ping from {}", from.name());
    Ok(())
}

fn echo(address: IpAddr) -> std::io::Result<bool> {
    let (domain, protocol, request, reply) = match address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8, 0),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128, 129),
    };
    // A raw socket, dressed as a datagram socket of the standard library.
    let socket = UdpSocket::from(Socket::new(domain, Type::RAW, Some(protocol))?);
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(&message(request), SocketAddr::new(address, 0))?;
    let start = Instant::now();
    let mut packet = [0; 256];
    while start.elapsed() < PATIENCE {
        let length = match socket.recv_from(&mut packet) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(false),
            received => received?.0,
        };
        // IPv4 raw sockets give the IP header too.
        let header = if address.is_ipv4() { usize::from(packet[0] & 0x0f) * 4 } else { 0 };
        if packet[..length].get(header) == Some(&reply) && packet[..length].ends_with(&REST) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// An echo request with its checksum (RFC 1071); for `ICMPv6` the kernel puts in its own.
fn message(kind: u8) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0][..], &REST].concat();
    let sum: u32 = message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}
