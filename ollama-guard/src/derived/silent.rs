//! Proxies that do not say where they lead.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Forward;
use crate::policy::Protocol;
use crate::sockets::Socket;

/// A listening rootlessport (Podman's, before version 5) of which no engine says where it leads: it takes its orders
/// from standard input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SilentProxy {
    /// Its transport.
    pub protocol: Protocol,
    /// The host's port.
    pub port: u16,
    /// Whose it is.
    pub user: u32,
}

impl fmt::Display for SilentProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, port, user } = self;
        write!(f, "rootlessport of user {user} on {protocol} {port}")
    }
}

/// As the kernel cuts it to 15 bytes; a child of the same name does the work.
pub(super) fn is_silent(name: &str) -> bool {
    name.starts_with("rootlessport")
}

/// The sockets of silent proxies that no forward explains. `owners`: socket inode → name of its process.
pub(super) fn silent(sockets: &[Socket], owners: &HashMap<u64, String>, forwards: &[Forward]) -> BTreeSet<SilentProxy> {
    let is_silent = |socket: &&Socket| owners.get(&socket.inode).is_some_and(|name| is_silent(name));
    let explains =
        |forward: &Forward, socket: &Socket| (forward.protocol, forward.port) == (socket.protocol, socket.port);
    let unknown = sockets.iter().filter(is_silent).filter(|socket| !forwards.iter().any(|one| explains(one, socket)));
    unknown.map(|socket| SilentProxy { protocol: socket.protocol, port: socket.port, user: socket.user }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_explains_is_told() {
        let socket =
            |port, inode| Socket { protocol: Protocol::Tcp, address: "::".parse().unwrap(), port, user: 1000, inode };
        let sockets = [socket(8080, 1), socket(9090, 2), socket(80, 3)];
        let owners = HashMap::from([(1, "rootlessport-ch".into()), (2, "rootlessport".into()), (3, "nginx".into())]);
        let forward = Forward {
            protocol: Protocol::Tcp,
            port: 9090,
            target: 80,
            container: None,
            through: "published".into(),
            running: true,
            user: Some(1000),
        };
        let told: Vec<_> = silent(&sockets, &owners, &[forward]).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["rootlessport of user 1000 on tcp 8080"]);
    }
}
