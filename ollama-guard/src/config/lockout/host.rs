//! Reads this host's listening sockets and their owners from /proc. The thin, impure part.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::{Listener, procfs};
use crate::policy::Protocol;

const TABLES: [(Protocol, &str); 4] = [
    (Protocol::Tcp, "/proc/net/tcp"),
    (Protocol::Tcp, "/proc/net/tcp6"),
    (Protocol::Udp, "/proc/net/udp"),
    (Protocol::Udp, "/proc/net/udp6"),
];

/// What listens in this network namespace. What cannot be read is left out: the well-known ports remain.
pub fn listeners() -> Vec<Listener> {
    let owners = owners();
    let of_table = |(protocol, table): (Protocol, &str)| {
        let text = fs::read_to_string(table).unwrap_or_default();
        procfs::listening(protocol, &text).into_iter().map(move |socket| (protocol, socket))
    };
    let listener = |(protocol, socket): (Protocol, procfs::Socket)| Listener {
        protocol,
        address: socket.address,
        port: socket.port,
        process: owners.get(&socket.inode).cloned(),
    };
    TABLES.into_iter().flat_map(of_table).map(listener).collect()
}

/// Socket inode → name of a process that holds it.
fn owners() -> HashMap<u64, String> {
    let mut owners = HashMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let directory = process.path();
        let is_process = process.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
        let inodes = if is_process { socket_inodes(&directory) } else { Vec::new() };
        if !inodes.is_empty() {
            let read = |file| String::from_utf8_lossy(&fs::read(directory.join(file)).unwrap_or_default()).into_owned();
            let name = procfs::process_name(&read("comm"), &read("cmdline"));
            owners.extend(inodes.into_iter().map(|inode| (inode, name.clone())));
        }
    }
    owners
}

fn socket_inodes(process: &Path) -> Vec<u64> {
    let inode = |descriptor: fs::DirEntry| {
        let target = fs::read_link(descriptor.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    fs::read_dir(process.join("fd")).into_iter().flatten().flatten().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn finds_a_socket_of_this_very_process() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = listeners().into_iter().find(|listener| listener.port == port).expect("the socket is listed");
        assert_eq!(found.protocol, Protocol::Tcp);
        assert!(found.process.is_some());
    }
}
