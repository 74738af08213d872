//! What the policy means on this host.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Finding, Weight, finding, names, span, vpn};
use crate::class::Class;
use crate::links::{Kind, Link, Links, Routes};
use crate::observe::text::{packets, printable};
use crate::plan::class::{Placement, Placements};
use crate::policy::{PRIVATE_SOURCES, Policy};

/// What was read of this host.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// Its interfaces.
    pub links: &'a Links,
    /// What the policy makes of them.
    pub placements: &'a Placements,
    /// The routes over trusted interfaces and VPNs.
    pub routes: &'a Routes,
    /// The range from which Linux picks ports for outgoing connections, if it could be read.
    pub local_ports: Option<&'a RangeInclusive<u16>>,
    /// Sources that were let through.
    pub passed: &'a [Traffic],
}

/// What a source sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Index of the interface.
    pub interface: u32,
    /// Its address.
    pub source: IpAddr,
    /// How many packets.
    pub packets: u64,
}

/// What the policy opens on this host.
pub fn of_host(policy: &Policy, host: &Host<'_>) -> Vec<Finding> {
    // Over lo this host talks to itself, from whichever of its addresses.
    let trusted = |link: &&Link| {
        link.kind != Kind::Loopback
            && matches!(host.placements.get(link.index), Some(Placement::Attach(Class::Trusted, _)))
    };
    let mut found: Vec<_> = host.links.iter().filter(trusted).filter_map(|link| interface(host, link)).collect();
    found.extend(names::find(policy, host.links, host.placements));
    found.extend(vpn::untrusted(policy, host));
    found.extend(host.local_ports.and_then(|range| ephemeral(policy, range)));
    found
}

/// A trusted interface through which the internet comes.
fn interface(host: &Host<'_>, link: &Link) -> Option<Finding> {
    let routes = host.routes.over(link.index);
    let name = printable(link.name.as_str());
    let next_step = format!(
        "if a VPN provider is at its other end, remove {name} from `trusted` and add the addresses of your own machines \
         as [[allow]]"
    );
    // Who has a route of its own over the interface is meant to be there.
    let expected = |source: IpAddr| routes.iter().any(|net| !is_wide(net) && net.contains(&source));
    let strangers = host.passed.iter().filter(|passed| passed.interface == link.index && is_public(passed.source));
    let mut strangers: Vec<_> = strangers.filter(|passed| !expected(passed.source)).collect();
    strangers.sort_by_key(|passed| (std::cmp::Reverse(passed.packets), passed.source));
    if let Some(most) = strangers.first() {
        let sum = strangers.iter().map(|passed| passed.packets).sum();
        let problem = format!(
            "is trusted, and {} from public addresses reached a guarded port over it (most from {})",
            packets(sum),
            most.source
        );
        return Some(finding(Weight::Opens, &name, problem, next_step));
    }
    span::is_most(routes.iter().copied()).then(|| {
        let problem = "is trusted and carries the default route: whoever can send through it reaches the guarded ports";
        finding(Weight::Opens, &name, problem, next_step)
    })
}

/// Wider than any network that is one's own.
fn is_wide(net: &IpNet) -> bool {
    net.prefix_len() <= 8
}

/// An address that belongs to the internet: not private, shared (RFC 6598, Tailscale's), loopback, link-local or multicast.
fn is_public(source: IpAddr) -> bool {
    const SHARED: Ipv4Net = Ipv4Net::new_assert(std::net::Ipv4Addr::new(100, 64, 0, 0), 10);
    const GLOBAL: Ipv6Net = Ipv6Net::new_assert(std::net::Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
    match source {
        IpAddr::V4(v4) => {
            let private = PRIVATE_SOURCES.iter().any(|net| net.contains(&source)) || SHARED.contains(&v4);
            !(private || v4.is_loopback() || v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] == 0)
        }
        IpAddr::V6(v6) => GLOBAL.contains(&v6),
    }
}

/// The service cannot listen on a port that a connection of this host has, and answers to such a connection pass only if its
/// start was seen: not before Linux 6.6, not for UDP, not from before the guard.
fn ephemeral(policy: &Policy, range: &RangeInclusive<u16>) -> Option<Finding> {
    let mut ports = policy.services.iter().flat_map(|service| &service.ports);
    let port = ports.find(|port| range.contains(&port.get()))?;
    let problem = format!(
        "port {port} is one that Linux picks for outgoing connections ({} to {}), which may then miss their answers",
        range.start(),
        range.end()
    );
    let next_step = format!("keep it for the service: sysctl -w net.ipv4.ip_local_reserved_ports={port}");
    Some(finding(Weight::Odd, "service", problem, next_step))
}
