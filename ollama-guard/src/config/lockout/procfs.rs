//! The text formats of `/proc/net/{tcp,udp}{,6}` and of a process's title. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::policy::Protocol;

/// One line of a socket table: where it listens and which inode owns it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) inode: u64,
}

/// The sockets of a table that wait for anybody: listening TCP, unconnected UDP.
pub(super) fn listening(protocol: Protocol, table: &str) -> Vec<Socket> {
    // TCP_LISTEN and TCP_CLOSE, which is what an unconnected UDP socket shows (include/net/tcp_states.h).
    let state = match protocol {
        Protocol::Tcp => "0A",
        Protocol::Udp => "07",
    };
    // A line we cannot read is skipped: this is a safety net for the user, not the wall.
    table.lines().skip(1).filter_map(|line| socket(line, state)).collect()
}

fn socket(line: &str, wanted: &str) -> Option<Socket> {
    let mut columns = line.split_ascii_whitespace();
    let (address, port) = columns.nth(1)?.split_once(':')?;
    let state = columns.nth(1)?;
    let inode = columns.nth(5)?.parse().ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    (state == wanted).then_some(())?;
    Some(Socket { address: self::address(address)?, port, inode })
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

/// What to call a process. A session of sshd is not sshd: its sockets are somebody's port forwardings.
pub(super) fn process_name(comm: &str, title: &str) -> String {
    let comm = comm.trim_end();
    let is_session = comm == "sshd" && title.starts_with("sshd: ") && !title.contains("[listener]");
    if is_session { "sshd-session".to_owned() } else { comm.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:08AE 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:2CAA 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1
garbage
";

    #[test]
    fn only_listening_sockets_are_read() {
        let expected = Socket { address: "0.0.0.0".parse().unwrap(), port: 2222, inode: 4711 };
        assert_eq!(listening(Protocol::Tcp, TCP), [expected]);
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

    #[test]
    fn a_session_of_sshd_is_told_from_sshd() {
        assert_eq!(process_name("sshd\n", "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"), "sshd");
        assert_eq!(process_name("sshd\n", "/usr/sbin/sshd -D"), "sshd");
        assert_eq!(process_name("sshd\n", "sshd: alice@pts/0"), "sshd-session");
    }
}
