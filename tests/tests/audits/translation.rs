//! **A port that becomes another one on the way.** `docker run -p 8080:11434`, `REDIRECT --to-ports 11434` and port forwardings
//! change the destination of a packet after the eBPF layer and the raw tables have seen it. A rule for 11434 in INPUT, as
//! ufw writes it, does not help where Docker's DNAT sends the packet through FORWARD (moby/moby#22054, docker/for-linux#690).
//! The eBPF layer alone cannot know that 8080 is the port; the nftables layer looks again after the translation, and the
//! daemon adds what the container engines publish.

use anyhow::Result;
use tests::claims::attempts;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::topology::{Addresses, Side, World};
use tests::{require, requires};

use crate::harness::streams::{Streams, WALL};
use crate::harness::{PORT, audits};

audits!(redirect, dnat_to_a_container, the_port_itself_to_a_container, rewritten_in_input, rewritten_in_forward);

fn nat(rules: &str) -> String {
    format!("table inet other {{ chain nat {{ type nat hook prerouting priority dstnat;\n{rules}\n}}; }}")
}

/// A port of this host leads to the guarded one of a container.
pub(crate) fn to(container: &Side, port: u16) -> String {
    nat(&format!(
        "fib daddr type local meta nfproto ipv4 tcp dport {port} dnat ip to {}:11434
         fib daddr type local meta nfproto ipv6 tcp dport {port} dnat ip6 to [{}]:11434",
        container.own.v4, container.own.v6
    ))
}

fn redirect(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let listener = Listener::http(&world.guard, PORT)?;
    world.guard.nft(&nat("tcp dport 8081 redirect to :11434"))?;
    let (strangers, friends) = (attempts([&internet]), attempts([&lan]));
    Streams { host: &world.guard, listener: &listener, port: 8081, strangers, friends, blind: WALL }
        .run(layers)
        .map(drop)
}

/// Rules that write another port into the packet, without NAT, after everybody has looked: the port is judged once more when
/// they are done.
fn rewritten_in_input(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let listener = Listener::http(&world.guard, PORT)?;
    world.guard.nft(
        "table inet other {
         chain input { type filter hook input priority 10; tcp dport 8083 tcp dport set 11434; }
         chain output { type filter hook output priority 10; oifname != lo tcp sport 11434 tcp sport set 8083; }
         }",
    )?;
    let (strangers, friends) = (attempts([&internet]), attempts([&lan]));
    Streams { host: &world.guard, listener: &listener, port: 8083, strangers, friends, blind: WALL }
        .run(layers)
        .map(drop)
}

fn rewritten_in_forward(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan, container) = (world.internet()?, world.lan()?, world.container()?);
    let listener = Listener::http(&container.ns, PORT)?;
    let Addresses { v4, v6 } = internet.guard;
    internet.ns.ip(&format!("route add 172.17.0.0/16 via {v4}\nroute add fd17::/64 via {v6}"))?;
    world.guard.nft(
        "table inet other {
         chain forward { type filter hook forward priority 10; tcp dport 8084 tcp dport set 11434; }
         chain back { type filter hook postrouting priority 10; iifname docker0 tcp sport 11434 tcp sport set 8084; }
         }",
    )?;
    let at = |side| container.own.both().map(|address| (side, address)).to_vec();
    let (strangers, friends) = (at(&internet.ns), at(&lan.ns));
    Streams { host: &world.guard, listener: &listener, port: 8084, strangers, friends, blind: WALL }
        .run(layers)
        .map(drop)
}

fn to_a_container(layers: Layers, port: u16, blind: &[Layers]) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan, container) = (world.internet()?, world.lan()?, world.container()?);
    let listener = Listener::http(&container.ns, PORT)?;
    world.guard.nft(&to(&container, port))?;
    let (strangers, friends) = (attempts([&internet]), attempts([&lan]));
    Streams { host: &world.guard, listener: &listener, port, strangers, friends, blind }.run(layers).map(drop)
}

fn dnat_to_a_container(layers: Layers) -> Result<()> {
    to_a_container(layers, 8082, WALL)
}

fn the_port_itself_to_a_container(layers: Layers) -> Result<()> {
    to_a_container(layers, PORT, &[])
}
