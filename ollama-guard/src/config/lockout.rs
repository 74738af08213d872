//! No lock-out: ports by which people get into this machine are not guarded by accident.
//!
//! Pure: facts about this host and a policy say which ports stay open, whatever the rest of the policy does. [`host`] reads
//! the facts. A program's name is none of them: it counts only if root started it from where only root can put programs, and
//! only for as long as it listens nowhere else.

mod host;

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;

pub use host::{hand_over, listeners, look};
use serde::{Deserialize, Serialize};

use crate::policy::{Policy, Protocol, Service, ServiceName};

/// A socket of this host that waits for packets, of a program that people or packets get in by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Listener {
    /// Its transport.
    pub protocol: Protocol,
    /// The local address; unspecified for all of them.
    pub address: IpAddr,
    /// The local port.
    pub port: u16,
    /// The program's name, cut to 15 bytes by the kernel.
    pub process: String,
}

impl Listener {
    /// What people or packets get in by, if it is such a thing.
    fn way_in(&self) -> Option<&'static str> {
        // What listens on loopback only is not how anybody gets in: `ssh -R` puts sshd sockets there.
        let name = Some(&self.process).filter(|_| !self.address.to_canonical().is_loopback())?;
        let known = PROCESSES.iter().find(|(process, of, _)| process == name && *of == self.protocol);
        known.map(|(.., what)| *what)
    }
}

/// What to do about a port that stays open.
pub const INSIST: &str = "remove the port; if it really must be guarded, and you can reach the machine over a trusted interface, \
                          add `insist = true` to its [[service]]";

/// A port of a service that stays open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Spared {
    /// The service that lists it.
    pub service: ServiceName,
    /// The port, in every protocol of the service.
    pub port: NonZeroU16,
    /// Why, in words.
    pub why: String,
}

impl fmt::Display for Spared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, port, why } = self;
        write!(f, "port {port} of the service \"{service}\" is left OPEN: {why}, and guarding it could lock you out")
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

/// Could guarding this port lock the user out?
pub fn danger(protocol: Protocol, port: NonZeroU16, listeners: &[Listener]) -> Option<Danger> {
    let seen = |listener: &Listener| {
        let what = listener.way_in().filter(|_| listener.protocol == protocol && listener.port == port.get())?;
        Some(Danger { protocol, port, what, seen: Some(listener.process.clone()) })
    };
    let well_known = || {
        let (.., what) = WELL_KNOWN.iter().find(|(of, known, _)| *of == protocol && *known == port.get())?;
        Some(Danger { protocol, port, what, seen: None })
    };
    listeners.iter().find_map(seen).or_else(well_known)
}

/// The ports of a policy that stay open, because someone may get in by them and by nothing else.
pub fn judge(policy: &Policy, listeners: &[Listener]) -> Vec<Spared> {
    let is_guarded = |protocol, port| {
        let mut services = policy.services.iter();
        services
            .any(|service| service.protocols.contains(&protocol) && service.ports.iter().any(|own| own.get() == port))
    };
    let is_elsewhere = |danger: &Danger| {
        let same =
            |listener: &&Listener| listener.protocol == danger.protocol && listener.way_in() == Some(danger.what);
        listeners.iter().filter(same).any(|listener| !is_guarded(listener.protocol, listener.port))
    };
    let spared = |service: &Service, port: NonZeroU16| {
        let mut dangers = service.protocols.iter().filter_map(|protocol| danger(*protocol, port, listeners));
        let danger = dangers.find(|danger| !is_elsewhere(danger))?;
        Some(Spared { service: service.name.clone(), port, why: danger.to_string() })
    };
    let services = policy.services.iter().filter(|service| !service.insist);
    services.flat_map(|service| service.ports.iter().filter_map(move |port| spared(service, *port))).collect()
}

/// The policy without these ports.
#[must_use]
pub fn spare(mut policy: Policy, spared: &[Spared]) -> Policy {
    for service in &mut policy.services {
        service.ports.retain(|port| !spared.iter().any(|one| one.service == service.name && one.port == *port));
    }
    policy.services.retain(|service| !service.ports.is_empty());
    let services = &policy.services;
    let is_there = |name: &ServiceName| services.iter().any(|service| service.name == *name);
    policy.allow.retain(|allow| allow.service.as_ref().is_none_or(is_there));
    policy
}

#[cfg(test)]
mod tests;
