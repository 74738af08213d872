//! **127.0.0.1 from outside.** Ollama's default is to listen on 127.0.0.1 only, and a container may be published there alone.
//! Packets for 127.0.0.0/8 are refused on other interfaces, unless `route_localnet` is on: kube-proxy, and some VPN and
//! container tools, switch it on, and a neighbor on the same link reaches what listens on loopback (CVE-2020-8558). A DNAT
//! rule that waits for `daddr 127.0.0.1` does not even need the setting: it changes the address before the kernel looks
//! (moby/moby#45610: "ports published to 127.0.0.1 are accessible to hosts on the same network").

use std::net::Ipv4Addr;

use anyhow::Result;
use tests::frames::Wire;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::packet::{Network, Packet, V4};
use tests::topology::{Side, World};
use tests::{require, requires, wait};

use crate::harness::frames::{Frames, MAC, Variant};
use crate::harness::{OTHER, PORT, TRUSTED, audits, guard};

audits!(route_localnet, published_on_loopback);

fn route_localnet(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    // The answer is on the wire; the neighbor's own kernel would refuse it, its packet socket does not.
    Frames::new(vec![
        Variant::new("127.0.0.1", |aim| vec![aim.v4_to(Ipv4Addr::LOCALHOST).bytes()]).unanswered(),
        Variant::new("127.200.0.9", |aim| vec![aim.v4_to(Ipv4Addr::new(127, 200, 0, 9)).bytes()]).unanswered(),
    ])
    .with(&[("net.ipv4.conf.INTERFACE.route_localnet", "1")])
    .run(layers)
}

/// As Docker writes it for `-p 127.0.0.1:11434:11434` and `-p 127.0.0.1:8080:11434`.
const PUBLISHED: &str = "table ip nat { chain docker {
    type nat hook prerouting priority dstnat;
    ip daddr 127.0.0.1 tcp dport 11434 dnat to 172.17.0.2:11434
    ip daddr 127.0.0.1 tcp dport 8080 dnat to 172.17.0.2:11434
    ip daddr 127.0.0.1 tcp dport 9090 dnat to 172.17.0.2:8080
}; }";

fn published_on_loopback(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan, container) = (world.internet()?, world.lan()?, world.container()?);
    for side in [&internet, &lan] {
        world.guard.ip(&format!("link set {} address {MAC}", side.interface))?;
    }
    let (ollama, other) = (Listener::http(&container.ns, PORT)?, Listener::http(&container.ns, OTHER)?);
    world.guard.nft(PUBLISHED)?;
    let knock = |side: &Side, port: u16, mark: u16| {
        let network = Network::V4(V4::new(side.own.v4, Ipv4Addr::LOCALHOST));
        let syn = Packet { network, ..Packet::v4(port) }.sent_from(mark);
        Wire::open(&side.ns, "eth0")?.send(&syn.bytes())
    };
    let arrives = |listener: &Listener, mark: u16| {
        wait::until(format!("the SYN from port {mark}"), std::time::Duration::from_secs(3), || {
            listener.witness.seen().iter().any(|packet| packet.ports[0] == mark)
        })
    };
    for (port, mark) in [(PORT, 20_001), (8080, 20_002)] {
        knock(&internet, port, mark)?;
        arrives(&ollama, mark)?;
    }

    let _guard = guard(&world.guard, layers, TRUSTED)?;
    knock(&internet, PORT, 20_003)?;
    knock(&internet, 8080, 20_004)?;
    knock(&internet, 9090, 20_005)?;
    arrives(&other, 20_005)?;
    for (port, mark) in [(PORT, 20_006), (8080, 20_007)] {
        knock(&lan, port, mark)?;
        arrives(&ollama, mark)?;
    }
    let came = ollama.witness.seen();
    let came = |mark: u16| came.iter().any(|packet| packet.ports[0] == mark);
    assert!(!came(20_003), "{layers:?}: published on 127.0.0.1:11434");
    // The wall cannot know that 8080 leads to the port; the daemon finds it out where Docker says so.
    let blind = matches!(layers, Layers::Xdp | Layers::XdpGeneric | Layers::Tc);
    assert_eq!(came(20_004), blind, "{layers:?}: published on 127.0.0.1:8080");
    Ok(())
}
