//! Which sockets of this host wait for packets.

mod diag;
mod table;

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::policy::Protocol;

/// A socket that waits for anybody: listening TCP, unconnected UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    /// Its transport.
    pub protocol: Protocol,
    /// The local address; unspecified for all of them.
    pub address: IpAddr,
    /// The local port.
    pub port: u16,
    /// The user who made it.
    pub user: u32,
    /// What the descriptors of its owners point to.
    pub inode: u64,
}

/// The kernel lists sockets by protocol and version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    protocol: Protocol,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V4,
    /// Those that take both are here.
    V6,
}

impl Kind {
    /// `None` if this kernel cannot tell: one without IPv6 has no such sockets.
    fn list(self) -> Option<Vec<Socket>> {
        diag::list(self).or_else(|| table::read(self).ok())
    }
}

/// What waits for packets of these protocols in the calling thread's network namespace. What cannot be read is left out.
pub(crate) fn listening(protocols: &BTreeSet<Protocol>) -> Vec<Socket> {
    let kinds =
        protocols.iter().flat_map(|&protocol| [Version::V4, Version::V6].map(|version| Kind { protocol, version }));
    kinds.filter_map(Kind::list).flatten().collect()
}

/// For the fuzzer: a table, or a message, with anything in it.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        table::listening(protocol, bytes);
        diag::socket(protocol, bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn both_ways_tell_of_the_same_sockets() {
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let address: SocketAddr = address.parse().unwrap();
            let version = if address.is_ipv4() { Version::V4 } else { Version::V6 };
            let (tcp, udp) = (TcpListener::bind(address).unwrap(), UdpSocket::bind(address).unwrap());
            for (protocol, bound) in [(Protocol::Tcp, tcp.local_addr()), (Protocol::Udp, udp.local_addr())] {
                let (kind, bound) = (Kind { protocol, version }, bound.unwrap());
                let ours = |socket: &Socket| socket.port == bound.port() && socket.address == bound.ip();
                let [told, read] = [diag::list(kind).unwrap(), table::read(kind).unwrap()]
                    .map(|sockets| sockets.into_iter().filter(ours).collect::<Vec<_>>());
                assert_eq!(told.len(), 1, "{kind:?} {bound}");
                assert_eq!(told, read);
            }
        }
    }

    #[test]
    fn a_connection_does_not_wait() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let port = client.local_addr().unwrap().port();
        let sockets = listening(&[Protocol::Tcp].into());
        assert!(sockets.iter().any(|socket| socket.port == address.port()));
        assert!(!sockets.iter().any(|socket| socket.port == port && socket.address == address.ip()));
    }
}
