//! The sockets that wait, from the text of `/proc/net/{tcp,udp}{,6}`: any kernel has it, but to write it the kernel goes
//! through its whole table of connections.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Kind, Socket, Version};
use crate::policy::Protocol;

/// Reads a table of the calling thread's network namespace.
pub(super) fn read(kind: Kind, keep: &mut dyn FnMut(&Socket) -> bool) -> io::Result<Vec<Socket>> {
    let name = match (kind.protocol, kind.version) {
        (Protocol::Tcp, Version::V4) => "tcp",
        (Protocol::Tcp, Version::V6) => "tcp6",
        (Protocol::Udp, Version::V4) => "udp",
        (Protocol::Udp, Version::V6) => "udp6",
    };
    let file = File::open(format!("/proc/thread-self/net/{name}"))?;
    Ok(listening(kind.protocol, BufReader::new(file), keep))
}

/// The sockets of a table that wait for anybody, and are to be kept.
pub(super) fn listening(protocol: Protocol, table: impl BufRead, keep: &mut dyn FnMut(&Socket) -> bool) -> Vec<Socket> {
    // A line we cannot read is skipped.
    let lines = table.lines().map_while(Result::ok).skip(1);
    let sockets = lines.filter_map(|line| socket(protocol, &line));
    match protocol {
        // The kernel lists those that listen first (`tcp_get_idx`): a busy server's thousands of connections are not
        // even read.
        Protocol::Tcp => sockets.map_while(|(waits, socket)| waits.then_some(socket)).filter(keep).collect(),
        Protocol::Udp => sockets.filter_map(|(waits, socket)| waits.then_some(socket)).filter(keep).collect(),
    }
}

/// One line, and whether that socket waits.
fn socket(protocol: Protocol, line: &str) -> Option<(bool, Socket)> {
    // TCP_LISTEN and TCP_CLOSE, which is what an unconnected UDP socket shows (include/net/tcp_states.h).
    let waiting = match protocol {
        Protocol::Tcp => "0A",
        Protocol::Udp => "07",
    };
    let mut columns = line.split_ascii_whitespace();
    let (address, port) = columns.nth(1)?.split_once(':')?;
    let state = columns.nth(1)?;
    let user = columns.nth(3)?.parse().ok()?;
    let inode = columns.nth(1)?.parse().ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // It does not say which sockets take IPv6 only.
    Some((state == waiting, Socket { protocol, address: self::address(address)?, v6_only: false, port, user, inode }))
}

/// Each group of eight digits is a word in the host's byte order.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    if hex.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?).into());
    }
    let words = [word(0)?, word(8)?, word(16)?, word(24)?];
    let octets: [u8; 16] = words.as_flattened().try_into().ok()?;
    Some(Ipv6Addr::from(octets).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:08AE 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0
garbage
   1: 0100007F:2CAA 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1
";

    #[test]
    fn only_listening_sockets_are_read() {
        let protocol = Protocol::Tcp;
        let (address, v6_only) = ("0.0.0.0".parse().unwrap(), false);
        let socket = Socket { protocol, address, v6_only, port: 2222, user: 1000, inode: 4711 };
        assert_eq!(listening(protocol, TCP.as_bytes(), &mut |_| true), [socket]);
        assert_eq!(listening(protocol, TCP.as_bytes(), &mut |_| false), []);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn addresses_are_words_in_host_order() {
        assert_eq!(address("0100007F").unwrap(), "127.0.0.1".parse::<IpAddr>().unwrap());
        let v6 = address("B80D0120000000000000000001000000").unwrap();
        assert_eq!(v6, "2001:db8::1".parse::<IpAddr>().unwrap());
        assert_eq!(address("0100"), None);
        assert_eq!(address("010000"), None);
    }
}
