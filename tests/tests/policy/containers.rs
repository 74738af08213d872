//! Container bridges: what containers may, and that a bridge with a stranger in it is none.

use anyhow::Result;
use tests::claims::{answers, attempts, silent};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::topology::World;
use tests::{for_each_arrangement, require, requires};

use super::PORT;

for_each_arrangement!(
    container_access_allow_lets_containers_use_this_host,
    containers_reach_other_machines_whatever_their_access,
    a_bridge_with_a_stranger_in_it_is_guarded,
);

const ALLOW: &str = "[interfaces]\ncontainer_access = \"allow\"";

fn container_access_allow_lets_containers_use_this_host(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, container) = (world.internet()?, world.container()?);
    let listener = Listener::http(&world.guard, PORT)?;
    let mut guard = Guard::start(&world.guard, &layers.policy(""))?;
    silent(&listener, PORT, &attempts([&container]))?;

    guard.reload(&layers.policy(ALLOW))?;
    tests::claims::answers_soon(PORT, (&container.ns, container.guard.v4.into()))?;
    answers(PORT, &attempts([&container]))?;
    answers(PORT, &internet.guard.both().map(|address| (&container.ns, address)))?;
    silent(&listener, PORT, &attempts([&internet]))
}

fn containers_reach_other_machines_whatever_their_access(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, container) = (world.internet()?, world.container()?);
    let remote = Listener::http(&internet.ns, PORT)?;
    let back = [("172.17.0.0/16", internet.guard.v4.to_string()), ("fd17::/64", internet.guard.v6.to_string())];
    for (network, gateway) in back {
        internet.ns.ip(&format!("route add {network} via {gateway}"))?;
    }
    let guard = Guard::start(&world.guard, &layers.policy(""))?;
    answers(PORT, &internet.own.both().map(|address| (&container.ns, address)))?;
    assert_eq!(remote.accepted().len(), 2);
    let row = guard.interface("docker0")?;
    assert_eq!((&row["class"], &row["dropped_packets"]), (&"container".into(), &0.into()), "{row:#}");
    assert!(!layers.counts() || row["passes"]["forwarded"].as_u64() > Some(0), "{row:#}");
    Ok(())
}

/// A VXLAN from the LAN ends in `docker0`: whoever is at its other end is not in a container.
fn a_bridge_with_a_stranger_in_it_is_guarded(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (lan, container) = (world.lan()?, world.container()?);
    let listener = Listener::http(&world.guard, PORT)?;
    let tunnel = |remote, device| {
        format!("link add vx0 type vxlan id 7 dstport 4789 dev {device} remote {remote}\nlink set vx0 mtu 1400 up")
    };
    let mut guard = Guard::start(&world.guard, &layers.policy(ALLOW))?;
    answers(PORT, &attempts([&container]))?;

    world.guard.ip(&tunnel(lan.own.v4, "lan0"))?;
    lan.ns.ip(&format!("{}\naddress add 172.17.0.9/16 dev vx0", tunnel(lan.guard.v4, "eth0")))?;
    let other = Listener::http(&world.guard, 8080)?;
    world.guard.ip("link set vx0 master docker0")?;
    if layers.counts() {
        guard.attached_as("docker0", "guarded")?;
    }
    guard.interface_when("docker0", "guarded", |row| row["class"] == "guarded")?;
    guard.enforces()?;
    let status = guard.status()?;
    let problems = status["problems"].to_string();
    assert!(problems.contains("docker0") && problems.contains("vx0"), "{problems}");
    answers(8080, &[(&lan.ns, container.guard.v4.into())])?;
    drop(other);
    let from_both = [(&lan.ns, container.guard.v4.into()), (&container.ns, container.guard.v4.into())];
    silent(&listener, PORT, &from_both)?;

    world.guard.ip("link set vx0 nomaster")?;
    tests::claims::answers_soon(PORT, (&container.ns, container.guard.v4.into()))
}
