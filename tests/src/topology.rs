//! The standard world of the suites: a guarded host, and the sides from which somebody may come.
//!
//! ```text
//!   stranger ── internet ──┐inet0                 lan0┌── a desk on the LAN
//!   laptop ────────┘       ├────── guarded host ──────┤
//!    └═══ WireGuard ═══ wg0┘                   docker0└── a container
//! ```
//!
//! A test makes a [`World`] and adds the sides it needs, before or after the guard starts. All interfaces have the
//! names a real host would give them; only the namespaces' names are ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use crate::netns::Netns;
use crate::wireguard::{Tunnel, TunnelEnd};

/// The guarded host; the sides are added by its methods.
#[derive(Debug)]
pub struct World {
    /// The namespace the guard and the listener run in.
    pub guard: Netns,
}

/// One side: somebody's namespace, and the link from it to the guarded host.
#[derive(Debug)]
pub struct Side {
    /// The namespace of whoever is there.
    pub ns: Netns,
    /// The interface on the guarded host behind which this side is.
    pub interface: &'static str,
    /// The guarded host's addresses as this side would use them.
    pub guard: Addresses,
    /// This side's own addresses.
    pub own: Addresses,
}

/// An IPv4 and an IPv6 address of the same interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// IPv4.
    pub v4: Ipv4Addr,
    /// IPv6.
    pub v6: Ipv6Addr,
}

impl Addresses {
    /// Both, v4 first: most tests say the same of either.
    pub fn both(self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }

    /// From two literals of this file.
    fn new(v4: &str, v6: &str) -> Result<Self> {
        Ok(Self { v4: v4.parse()?, v6: v6.parse()? })
    }
}

/// The VPN: a laptop somewhere on the internet, and a real `WireGuard` tunnel from it to `wg0`.
#[derive(Debug)]
pub struct Vpn {
    /// The laptop's side of the tunnel; `side.guard` are the addresses inside it.
    pub side: Side,
    /// The two ends, alive as long as this value.
    pub tunnel: Tunnel,
}

impl World {
    /// A host with nothing but loopback, and nobody around it.
    pub fn new() -> Result<Self> {
        Ok(Self { guard: Netns::new("guard")? })
    }

    /// The internet: 203.0.113.0/24 and `2001:db8:1::/64` behind `inet0`, which is the host's default route.
    pub fn internet(&self) -> Result<Side> {
        let guard = Addresses::new("203.0.113.1", "2001:db8:1::1")?;
        let own = Addresses::new("203.0.113.9", "2001:db8:1::9")?;
        let side = self.side("internet", "inet0", guard, own, 24)?;
        side.ns.forward()?;
        self.guard.ip(&format!("route add default via {}\nroute add default via {}", own.v4, own.v6))?;
        Ok(side)
    }

    /// The LAN: 192.168.77.0/24 and `fd77::/64` behind `lan0`.
    pub fn lan(&self) -> Result<Side> {
        let guard = Addresses::new("192.168.77.1", "fd77::1")?;
        let own = Addresses::new("192.168.77.50", "fd77::50")?;
        self.side("lan", "lan0", guard, own, 24)
    }

    /// A container: 172.17.0.2 and `fd17::2` on the bridge `docker0`, as a container engine would put it there.
    pub fn container(&self) -> Result<Side> {
        self.container_on("docker0")
    }

    /// The same on a bridge of any name.
    pub fn container_on(&self, bridge: &'static str) -> Result<Side> {
        let guard = Addresses::new("172.17.0.1", "fd17::1")?;
        let own = Addresses::new("172.17.0.2", "fd17::2")?;
        let ns = Netns::new("container")?;
        self.guard.forward()?;
        self.guard.ip(&format!(
            "link add {bridge} type bridge\n\
             link add veth0 type veth peer name eth0 netns {}\n\
             link set veth0 master {bridge}\n\
             link set veth0 up",
            ns.name()
        ))?;
        address(&self.guard, bridge, guard, 16)?;
        address(&ns, "eth0", own, 16)?;
        ns.ip(&format!("route add default via {}\nroute add default via {}", guard.v4, guard.v6))?;
        Ok(Side { ns, interface: bridge, guard, own })
    }

    /// A laptop elsewhere on the internet: 198.51.100.0/24 and `2001:db8:2::/64`, routed by the internet side.
    ///
    /// To the guarded host it is a stranger behind `inet0`, until a VPN makes it something else.
    pub fn laptop(&self, internet: &Side) -> Result<Side> {
        let router = Addresses::new("198.51.100.1", "2001:db8:2::1")?;
        let own = Addresses::new("198.51.100.7", "2001:db8:2::7")?;
        let ns = connect(&internet.ns, "laptop", "home0", router, own, 24)?;
        Ok(Side { ns, interface: internet.interface, guard: internet.guard, own })
    }

    /// The VPN: a laptop, and a `WireGuard` tunnel from it through the internet to `wg0` (10.9.0.0/24, `fd09::/64`).
    pub fn vpn(&self, internet: &Side) -> Result<Vpn> {
        let laptop = self.laptop(internet)?;
        let guard = Addresses::new("10.9.0.1", "fd09::1")?;
        let own = Addresses::new("10.9.0.2", "fd09::2")?;
        let tunnel = Tunnel::start(
            &TunnelEnd { ns: &self.guard, interface: "wg0", inside: guard.both(), outside: laptop.guard.v4 },
            &TunnelEnd { ns: &laptop.ns, interface: "wg-home", inside: own.both(), outside: laptop.own.v4 },
        )?;
        address(&self.guard, "wg0", guard, 24)?;
        address(&laptop.ns, "wg-home", own, 24)?;
        Ok(Vpn { side: Side { ns: laptop.ns, interface: "wg0", guard, own }, tunnel })
    }

    fn side(&self, role: &str, interface: &'static str, guard: Addresses, own: Addresses, bits: u8) -> Result<Side> {
        let ns = connect(&self.guard, role, interface, guard, own, bits)?;
        Ok(Side { ns, interface, guard, own })
    }
}

/// Makes a namespace at the other end of a veth pair, with its default route back through it.
fn connect(hub: &Netns, role: &str, interface: &str, near: Addresses, far: Addresses, bits: u8) -> Result<Netns> {
    let ns = Netns::new(role)?;
    hub.ip(&format!("link add {interface} type veth peer name eth0 netns {}", ns.name()))?;
    address(hub, interface, near, bits)?;
    address(&ns, "eth0", far, bits)?;
    // The internet has no default route of its own: only what it routes is there.
    if role != "internet" {
        ns.ip(&format!("route add default via {}\nroute add default via {}", near.v4, near.v6))?;
    }
    Ok(ns)
}

/// Gives an interface its addresses, usable at once (no duplicate address detection), and brings it up.
fn address(ns: &Netns, interface: &str, addresses: Addresses, bits: u8) -> Result<()> {
    ns.ip(&format!(
        "link set {interface} up\n\
         address add {}/{bits} dev {interface}\n\
         address add {}/64 dev {interface} nodad",
        addresses.v4, addresses.v6
    ))
}
