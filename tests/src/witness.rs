//! Sees what reaches the transport layer of a host: exactly what the guard let through, handshake or not.
//!
//! A raw socket gets its copy where the kernel hands a packet to TCP or UDP: after XDP, TC, and every netfilter hook
//! on the way in. So a scan that never completes a connection is seen too, and a dropped one is not.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Netns;

/// The flag that opens a TCP connection.
pub const SYN: u8 = 0x02;

/// One packet that reached the transport layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Who sent it, or so it said.
    pub source: IpAddr,
    /// From which port, to which port.
    pub ports: [u16; 2],
    /// Its TCP flags; zero for UDP.
    pub flags: u8,
}

/// Which packets a witness records: by the port at one of their ends.
#[derive(Debug, Clone, Copy)]
enum Port {
    From(u16),
    To(u16),
}

/// Records what arrives for one port of a namespace, until it is dropped.
#[derive(Debug)]
pub struct Witness {
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Witness {
    /// Watches a TCP port.
    pub fn tcp(ns: &Netns, port: u16) -> Result<Self> {
        Self::new(ns, Protocol::TCP, Port::To(port))
    }

    /// Watches a UDP port.
    pub fn udp(ns: &Netns, port: u16) -> Result<Self> {
        Self::new(ns, Protocol::UDP, Port::To(port))
    }

    /// Watches on a client's side what TCP sends from a port of some host: its answers, resets too.
    pub fn answers(ns: &Netns, port: u16) -> Result<Self> {
        Self::new(ns, Protocol::TCP, Port::From(port))
    }

    /// Everything seen so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything seen since this was last asked.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who tried to open a connection (or sent a datagram), once per packet.
    pub fn sources(&self) -> Vec<IpAddr> {
        let opens = |packet: &Seen| packet.flags == 0 || packet.flags & SYN != 0;
        self.seen().into_iter().filter(opens).map(|packet| packet.source).collect()
    }

    /// Forgets what was seen.
    pub fn clear(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn new(ns: &Netns, protocol: Protocol, port: Port) -> Result<Self> {
        let sockets = ns.enter(|| [Domain::IPV4, Domain::IPV6].map(|domain| raw(domain, protocol)))?;
        let mut witness = Self { seen: Arc::default(), stop: Arc::default(), threads: Vec::new() };
        for socket in sockets {
            let socket = socket.context("making a raw socket")?;
            let (seen, stop) = (Arc::clone(&witness.seen), Arc::clone(&witness.stop));
            witness.threads.push(thread::spawn(move || {
                watch(&socket, protocol, port, &seen, &stop);
            }));
        }
        Ok(witness)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A raw socket, dressed as a datagram socket of the standard library: that one tells the source.
fn raw(domain: Domain, protocol: Protocol) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.set_recv_buffer_size(4 << 20)?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    Ok(socket.into())
}

fn watch(socket: &UdpSocket, protocol: Protocol, port: Port, seen: &Mutex<Vec<Seen>>, stop: &AtomicBool) {
    let mut packet = [0; 256];
    while !stop.load(Ordering::Relaxed) {
        match socket.recv_from(&mut packet) {
            Ok((length, source)) => {
                if let Some(packet) = parse(&packet[..length], source, protocol, port) {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(packet);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => return,
        }
    }
}

/// IPv4 raw sockets give the IP header too; IPv6 ones start at the transport header.
fn parse(packet: &[u8], source: SocketAddr, protocol: Protocol, port: Port) -> Option<Seen> {
    let header = if source.is_ipv4() { usize::from(packet.first()? & 0x0f) * 4 } else { 0 };
    let transport = packet.get(header..)?;
    let [a, b, c, d] = *transport.first_chunk()?;
    let ports = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
    let flags = if protocol == Protocol::TCP { *transport.get(13)? } else { 0 };
    let is_watched = match port {
        Port::From(port) => ports[0] == port,
        Port::To(port) => ports[1] == port,
    };
    is_watched.then_some(Seen { source: source.ip(), ports, flags })
}
