//! Which sockets of this host wait for packets.

mod diag;
mod table;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::policy::Protocol;
use crate::quota::Quota;

/// A socket that waits for anybody: listening TCP, unconnected UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    /// Its transport.
    pub protocol: Protocol,
    /// The local address; unspecified for all of them.
    pub address: IpAddr,
    /// Of all addresses, it takes those of IPv6 only. Never so where the kernel does not say.
    pub v6_only: bool,
    /// The local port.
    pub port: u16,
    /// The user who made it.
    pub user: u32,
    /// What the descriptors of its owners point to.
    pub inode: u64,
}

impl Socket {
    /// The addresses at which it takes packets; the unspecified one of a family stands for all of it.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let own = self.address.to_canonical();
        let dual = own == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !self.v6_only;
        [own].into_iter().chain(dual.then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }
}

/// Sockets that are kept: of root, of each user, of all users.
fn quota() -> Quota {
    Quota::new(16 * 1024, 1024, 8 * 1024)
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
    fn list(self, keep: &mut dyn FnMut(&Socket) -> bool) -> Option<Vec<Socket>> {
        diag::list(self, keep).or_else(|| table::read(self, keep).ok())
    }
}

/// What waits for packets of these protocols in the calling thread's network namespace. What cannot be read is left out,
/// and what users have beyond what anybody needs.
pub(crate) fn listening(protocols: &BTreeSet<Protocol>) -> Vec<Socket> {
    let kinds =
        protocols.iter().flat_map(|&protocol| [Version::V4, Version::V6].map(|version| Kind { protocol, version }));
    let mut quota = quota();
    kinds.filter_map(|kind| kind.list(&mut |socket| quota.take(socket.user))).flatten().collect()
}

/// For the fuzzer: a table, or a message, with anything in it.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        table::listening(protocol, bytes, &mut |_| true);
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
                let all = &mut |_: &Socket| true;
                let [told, read] = [diag::list(kind, all).unwrap(), table::read(kind, all).unwrap()]
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

    #[test]
    fn a_socket_of_all_addresses_may_take_both_versions() {
        let addresses = |address: &str, v6_only| {
            let (protocol, address) = (Protocol::Tcp, address.parse().unwrap());
            let socket = Socket { protocol, address, v6_only, port: 1, user: 0, inode: 0 };
            socket.addresses().map(|address| address.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(addresses("::", false), ["::", "0.0.0.0"]);
        assert_eq!(addresses("::", true), ["::"]);
        assert_eq!(addresses("0.0.0.0", false), ["0.0.0.0"]);
        assert_eq!(addresses("::ffff:10.0.0.1", false), ["10.0.0.1"]);
        assert_eq!(addresses("::1", false), ["::1"]);
    }

    #[test]
    fn ipv6_alone_is_told() {
        use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
        let only = socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
        sockopt::set_ipv6_v6only(&only, true).unwrap();
        bind(&only, &"[::]:0".parse::<SocketAddr>().unwrap()).unwrap();
        listen(&only, 1).unwrap();
        let only = TcpListener::from(only);
        let port = only.local_addr().unwrap().port();
        let sockets = listening(&[Protocol::Tcp].into());
        assert!(sockets.iter().any(|socket| socket.port == port && socket.v6_only), "{sockets:?}");
    }
}
