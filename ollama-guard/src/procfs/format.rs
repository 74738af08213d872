//! The text formats of `/proc/net/{tcp,udp}{,6}`, of a process's title and of its status.

use std::io::BufRead;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Socket;
use crate::policy::Protocol;

/// The sockets of a table that wait for anybody.
pub(super) fn listening(protocol: Protocol, table: impl BufRead) -> Vec<Socket> {
    // A line we cannot read is skipped.
    let lines = table.lines().map_while(Result::ok).skip(1);
    let sockets = lines.filter_map(|line| socket(protocol, &line));
    match protocol {
        // The kernel lists those that listen first (`tcp_get_idx`): a busy server's thousands of connections are not
        // even read.
        Protocol::Tcp => sockets.map_while(|(waits, socket)| waits.then_some(socket)).collect(),
        Protocol::Udp => sockets.filter_map(|(waits, socket)| waits.then_some(socket)).collect(),
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
    Some((state == waiting, Socket { protocol, address: self::address(address)?, port, user, inode }))
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

/// The effective user in `/proc/PID/status`. The owner of that file says less: it is root for a process that is not
/// dumpable.
pub(super) fn user(status: &str) -> Option<u32> {
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// `/proc/PID/cmdline`: each argument ends in a NUL.
pub(super) fn arguments(cmdline: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(cmdline);
    text.strip_suffix('\0').unwrap_or(&text).split('\0').map(str::to_owned).collect()
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
        let socket = Socket { protocol, address: "0.0.0.0".parse().unwrap(), port: 2222, user: 1000, inode: 4711 };
        assert_eq!(listening(protocol, TCP.as_bytes()), [socket]);
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

    #[test]
    fn the_effective_user_counts() {
        assert_eq!(user("Name:\tpasta\nUid:\t0\t1000\t0\t0\nGid:\t0\t0\t0\t0\n"), Some(1000));
        assert_eq!(user("Name:\tpasta\n"), None);
    }

    #[test]
    fn arguments_end_in_nuls() {
        assert_eq!(arguments(b"pasta\0-t\0\0"), ["pasta", "-t", ""]);
        assert_eq!(arguments(b"retitled process"), ["retitled process"]);
    }
}
