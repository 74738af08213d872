//! No lock-out: ports whose closing could cost the user the machine are not guarded by accident.
//!
//! Two sources of knowledge: ports that are well known (always), and what listens on this host right now. The
//! decision is pure; only [`listeners`] reads the host.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;

use crate::policy::Protocol;
use crate::{procfs, sockets};

/// A socket of this host that waits for packets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// Its transport.
    pub protocol: Protocol,
    /// The local address; unspecified for all of them.
    pub address: IpAddr,
    /// The local port.
    pub port: u16,
    /// The owner's name, cut to 15 bytes by the kernel; none for a kernel socket or one we may not look at.
    pub process: Option<String>,
}

impl Listener {
    /// What people or packets get in by, if it is such a thing.
    pub(super) fn way_in(&self) -> Option<&'static str> {
        // What listens on loopback only is not how anybody gets in: `ssh -R` puts sshd sockets there.
        let name = self.process.as_deref().filter(|_| !self.address.to_canonical().is_loopback())?;
        let known = PROCESSES.iter().find(|(process, of, _)| *process == name && *of == self.protocol);
        known.map(|(.., what)| *what)
    }
}

/// Why a port should stay open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Danger {
    protocol: Protocol,
    port: NonZeroU16,
    /// What would break.
    what: &'static str,
    /// The process that was seen there; none for a well-known port.
    seen: Option<String>,
}

impl fmt::Display for Danger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, port, what, seen } = self;
        match seen {
            Some(process) => write!(f, "{process} ({what}) listens on {protocol} {port}"),
            None => write!(f, "{protocol} {port} is {what}'s port"),
        }
    }
}

/// Guarded only if someone insists, whatever listens: the service may start later. WireGuard's socket belongs
/// to the kernel, so its usual ports are all that can be known of it.
const WELL_KNOWN: [(Protocol, u16, &str); 7] = [
    (Protocol::Tcp, 22, "SSH"),
    (Protocol::Udp, 67, "DHCP"),
    (Protocol::Udp, 68, "DHCP"),
    (Protocol::Udp, 546, "DHCPv6"),
    (Protocol::Udp, 547, "DHCPv6"),
    (Protocol::Udp, 41_641, "Tailscale"),
    (Protocol::Udp, 51_820, "WireGuard"),
];

/// Process, the transport that matters, what it is. Tailscale's TCP sockets are not its tunnel: they
/// serve the tailnet (`tailscale serve`), and may well be Ollama's own port.
const PROCESSES: [(&str, Protocol, &str); 18] = [
    ("sshd", Protocol::Tcp, "SSH"),
    ("dropbear", Protocol::Tcp, "SSH"),
    ("tailscaled", Protocol::Udp, "Tailscale"),
    ("wireguard-go", Protocol::Udp, "WireGuard"),
    ("boringtun-cli", Protocol::Udp, "WireGuard"),
    ("openvpn", Protocol::Udp, "OpenVPN"),
    ("openvpn", Protocol::Tcp, "OpenVPN"),
    ("charon", Protocol::Udp, "IPsec"),
    ("charon-systemd", Protocol::Udp, "IPsec"),
    ("zerotier-one", Protocol::Udp, "ZeroTier"),
    ("nebula", Protocol::Udp, "Nebula"),
    ("netbird", Protocol::Udp, "NetBird"),
    ("dhclient", Protocol::Udp, "DHCP"),
    ("dhcpcd", Protocol::Udp, "DHCP"),
    ("systemd-network", Protocol::Udp, "DHCP"),
    ("NetworkManager", Protocol::Udp, "DHCP"),
    ("connmand", Protocol::Udp, "DHCP"),
    ("iwd", Protocol::Udp, "DHCP"),
];

/// What listens in this network namespace. What cannot be read is left out: the well-known ports remain.
pub fn listeners() -> Vec<Listener> {
    let owners = procfs::owners();
    let listener = |socket: sockets::Socket| Listener {
        protocol: socket.protocol,
        address: socket.address,
        port: socket.port,
        process: owners.get(&socket.inode).cloned(),
    };
    sockets::listening(&[Protocol::Tcp, Protocol::Udp].into()).into_iter().map(listener).collect()
}

/// Could guarding this port lock the user out?
pub fn danger(protocol: Protocol, port: NonZeroU16, listeners: &[Listener]) -> Option<Danger> {
    let seen = |listener: &Listener| {
        let what = listener.way_in().filter(|_| listener.protocol == protocol && listener.port == port.get())?;
        Some(Danger { protocol, port, what, seen: listener.process.clone() })
    };
    let well_known = || {
        let (.., what) = WELL_KNOWN.iter().find(|(of, known, _)| *of == protocol && *known == port.get())?;
        Some(Danger { protocol, port, what, seen: None })
    };
    listeners.iter().find_map(seen).or_else(well_known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(protocol: Protocol, address: &str, port: u16, process: &str) -> Listener {
        Listener { protocol, address: address.parse().unwrap(), port, process: Some(process.to_owned()) }
    }

    fn danger_at(protocol: Protocol, port: u16, listener: &Listener) -> Option<String> {
        danger(protocol, port.try_into().unwrap(), std::slice::from_ref(listener)).map(|danger| danger.to_string())
    }

    /// This very process, by the name that the kernel has for it.
    #[test]
    fn who_listens_on_this_host_is_seen() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let own = std::fs::read_to_string("/proc/self/comm").unwrap();
        let listeners = listeners();
        for (protocol, address) in
            [(Protocol::Tcp, tcp.local_addr().unwrap()), (Protocol::Udp, udp.local_addr().unwrap())]
        {
            let wanted = listener(protocol, &address.ip().to_string(), address.port(), own.trim_end());
            assert!(listeners.contains(&wanted), "{wanted:?} is not in {listeners:?}");
        }
    }

    #[test]
    fn sshd_on_another_port_is_seen() {
        let sshd = listener(Protocol::Tcp, "0.0.0.0", 2222, "sshd");
        assert_eq!(danger_at(Protocol::Tcp, 2222, &sshd).unwrap(), "sshd (SSH) listens on tcp 2222");
        assert_eq!(danger_at(Protocol::Udp, 2222, &sshd), None);
    }

    #[test]
    fn a_well_known_port_needs_no_listener() {
        let other = listener(Protocol::Tcp, "::", 1, "other");
        assert_eq!(danger_at(Protocol::Udp, 51_820, &other).unwrap(), "udp 51820 is WireGuard's port");
        assert_eq!(danger_at(Protocol::Tcp, 11_434, &other), None);
    }

    #[test]
    fn a_forward_of_an_ssh_session_on_loopback_is_no_danger() {
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(danger_at(Protocol::Tcp, 11_434, &listener(Protocol::Tcp, address, 11_434, "sshd")), None);
        }
    }

    #[test]
    fn what_tailscale_serves_on_the_tailnet_is_no_danger() {
        let serve = listener(Protocol::Tcp, "100.64.0.1", 11_434, "tailscaled");
        assert_eq!(danger_at(Protocol::Tcp, 11_434, &serve), None);
        let tunnel = listener(Protocol::Udp, "::", 40_000, "tailscaled");
        assert!(danger_at(Protocol::Udp, 40_000, &tunnel).is_some());
    }
}
