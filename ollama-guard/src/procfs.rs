//! What `/proc` says of this host: which sockets wait for packets, and how processes were started. [`mod@format`] is pure,
//! [`read`] is thin. Somebody who may not see everything gets what they may see.

mod format;
mod read;

use std::net::IpAddr;

pub use read::{listening, own_namespace, owners, processes};

use crate::policy::Protocol;

/// A socket that waits for anybody: listening TCP, unconnected UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
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

/// A running program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub id: u32,
    /// What the kernel calls it, cut to 15 bytes.
    pub name: String,
    /// The user it runs as.
    pub user: u32,
    /// Its network namespace; none where we may not look.
    pub namespace: Option<u64>,
    /// How it was started, the program first.
    pub arguments: Vec<String>,
}

/// For the fuzzer: a file of `/proc` with anything in it; a process writes its own title.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        format::listening(protocol, bytes);
    }
    let text = String::from_utf8_lossy(bytes);
    let (name, title) = text.split_once('\n').unwrap_or((&text, ""));
    format::process_name(name, title);
    format::user(&text);
}
