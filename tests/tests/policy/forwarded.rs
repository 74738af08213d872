//! Packets that a guarded interface would route to another machine, or to a container at its own address.

use std::net::IpAddr;

use anyhow::Result;
use tests::claims::{Attempt, answers, attempts, silent};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::topology::{Side, World};
use tests::{for_each_arrangement, require, requires};

use super::PORT;

for_each_arrangement!(forwarded_decides_about_other_machines);

fn forwarded_decides_about_other_machines(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan, container) = (world.internet()?, world.lan()?, world.container()?);
    let listener = Listener::http(&world.guard, PORT)?;
    let behind = [Listener::http(&lan.ns, PORT)?, Listener::http(&container.ns, PORT)?];
    let targets: Vec<Attempt<'_>> = [&lan, &container].into_iter().flat_map(|side| reach(&internet, side)).collect();
    for &(_, address) in &targets {
        let gateway: IpAddr =
            if address.is_ipv4() { internet.guard.v4.into() } else { IpAddr::from(internet.guard.v6) };
        internet.ns.ip(&format!("route add {address} via {gateway}"))?;
    }
    answers(PORT, &targets)?;

    let mut guard = Guard::start(&world.guard, &layers.policy(""))?;
    for listener in &behind {
        silent(listener, PORT, &targets)?;
    }

    guard.reload(&layers.policy("forwarded = \"pass\""))?;
    tests::claims::answers_soon(PORT, targets[0])?;
    answers(PORT, &reach(&internet, &lan))?;
    // Nor is this host's own container another machine: the eBPF layer cannot tell, the nftables layer can.
    if matches!(layers, Layers::Seatbelt | Layers::Both) {
        silent(&behind[1], PORT, &reach(&internet, &container))?;
    }
    silent(&listener, PORT, &attempts([&internet, &lan, &container]))
}

/// From one side to the machine on another, by its own addresses.
fn reach<'a>(from: &'a Side, to: &Side) -> [Attempt<'a>; 2] {
    to.own.both().map(|address| (&from.ns, address))
}
