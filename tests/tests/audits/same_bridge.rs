//! **Through the host and back onto the same bridge.** A hypervisor's `vmbr0` holds the network card and the guests. What goes from
//! the card to a guest is bridged and nobody's business; but what the host *routes* from one network on the bridge to another, or
//! sends there by DNAT, enters and leaves by the same interface too. With `br_netfilter` such a packet is even bridged on by the
//! kernel after DNAT gave it another destination (`br_nf_pre_routing_finish`).

use anyhow::{Context, Result};
use tests::claims::{Attempt, answers, attempts};
use tests::layers::Layers;
use tests::listener::Listener;
use tests::netns::Netns;
use tests::topology::World;
use tests::{require, requires};

use crate::harness::streams::Streams;
use crate::harness::{OTHER, PORT, audits};

audits!(dnat, dnat_with_br_netfilter, routed, routed_with_br_netfilter);

/// The port that DNAT leads to the guest's.
const PUBLISHED: u16 = 8082;

fn dnat(layers: Layers) -> Result<()> {
    // The eBPF programs see another port.
    audit(layers, "0", PUBLISHED, &[Layers::Xdp, Layers::XdpGeneric, Layers::Tc])
}

fn dnat_with_br_netfilter(layers: Layers) -> Result<()> {
    audit(layers, "1", PUBLISHED, &[Layers::Xdp, Layers::XdpGeneric, Layers::Tc])
}

fn routed(layers: Layers) -> Result<()> {
    audit(layers, "0", PORT, &[])
}

fn routed_with_br_netfilter(layers: Layers) -> Result<()> {
    audit(layers, "1", PORT, &[])
}

fn audit(layers: Layers, netfilter: &str, port: u16, blind: &[Layers]) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::file("/proc/sys/net/bridge"));
    let world = World::new()?;
    let lan = world.lan()?;
    let host = &world.guard;
    host.forward()?;
    for key in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
        host.sysctl(&format!("net.bridge.{key}"), netfilter)?;
    }
    host.ip("link add vmbr0 type bridge\n\
             link set vmbr0 up\n\
             address add 203.0.113.1/24 dev vmbr0\n\
             address add 2001:db8:1::1/64 dev vmbr0 nodad\n\
             address add 10.0.9.1/24 dev vmbr0\n\
             address add fd0a::1/64 dev vmbr0 nodad")?;
    let stranger = on_the_bridge(host, "stranger", "eth9", ["203.0.113.9/24", "2001:db8:1::9/64"])?;
    let guest = on_the_bridge(host, "guest", "vnet0", ["10.0.9.2/24", "fd0a::2/64"])?;
    let neighbour = on_the_bridge(host, "neighbour", "vnet1", ["203.0.113.7/24", "2001:db8:1::7/64"])?;
    stranger.ip("route add default via 203.0.113.1\nroute add default via 2001:db8:1::1")?;
    guest.ip("route add default via 10.0.9.1\nroute add default via fd0a::1")?;
    // The host need not say that there is a shorter way.
    for end in [&stranger, &guest] {
        end.sysctl("net.ipv4.conf.eth0.accept_redirects", "0")?;
        end.sysctl("net.ipv4.conf.all.accept_redirects", "0")?;
        end.sysctl("net.ipv6.conf.eth0.accept_redirects", "0")?;
    }
    host.nft(&format!(
        "table inet other {{ chain nat {{ type nat hook prerouting priority dstnat;
         fib daddr type local meta nfproto ipv4 tcp dport {PUBLISHED} dnat ip to 10.0.9.2:{PORT}
         fib daddr type local meta nfproto ipv6 tcp dport {PUBLISHED} dnat ip6 to [fd0a::2]:{PORT}
         }}; }}"
    ))?;

    let (listener, _other) = (Listener::http(&guest, PORT)?, Listener::http(&guest, OTHER)?);
    let _theirs = Listener::http(&neighbour, PORT)?;
    let across: [Attempt<'_>; 2] = [(&stranger, "203.0.113.7".parse()?), (&stranger, "2001:db8:1::7".parse()?)];
    answers(PORT, &across).context("inside the bridge, unguarded")?;
    let (strangers, friends): (Vec<Attempt<'_>>, Vec<Attempt<'_>>) = if port == PORT {
        let guests = ["10.0.9.2".parse()?, "fd0a::2".parse()?];
        (guests.map(|guest| (&stranger, guest)).into(), guests.map(|guest| (&lan.ns, guest)).into())
    } else {
        let own = ["203.0.113.1".parse()?, "2001:db8:1::1".parse()?];
        (own.map(|address| (&stranger, address)).into(), attempts([&lan]))
    };
    let _guard = Streams { host, listener: &listener, port, strangers, friends, blind }.run(layers)?;
    answers(PORT, &across).context("inside the bridge")
}

fn on_the_bridge(host: &Netns, role: &str, port: &str, addresses: [&str; 2]) -> Result<Netns> {
    let end = Netns::new(role)?;
    host.ip(&format!(
        "link add {port} type veth peer name eth0 netns {}\nlink set {port} master vmbr0 up",
        end.name()
    ))?;
    let [v4, v6] = addresses;
    end.ip(&format!("link set eth0 up\naddress add {v4} dev eth0\naddress add {v6} dev eth0 nodad"))?;
    Ok(end)
}
