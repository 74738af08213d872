//! **An interface takes over another one's number.** The kernel gives interface numbers anew, and anyone who may make
//! interfaces can ask for one. A guard that remembers "number 4711 is trusted" lets in whatever gets 4711 after the VPN has
//! gone. Here the class is part of the program, and the program goes with its interface.

use anyhow::Result;
use tests::claims::{answers, silent};
use tests::layers::Layers;
use tests::listener::Listener;
use tests::netns::Netns;
use tests::topology::World;
use tests::{require, requires};

use crate::harness::{OTHER, PORT, audits, guard};

audits!(reused_index);

fn link(host: &Netns, name: &str, peer: &Netns) -> Result<()> {
    host.ip(&format!(
        "link add {name} index 4711 type veth peer name eth0 netns {}\n\
         link set {name} up\n\
         address add 10.9.0.1/24 dev {name}",
        peer.name()
    ))?;
    peer.ip("link set eth0 up\naddress add 10.9.0.2/24 dev eth0")
}

fn reused_index(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let listener = Listener::http(&world.guard, PORT)?;
    let _other = Listener::http(&world.guard, OTHER)?;
    let (friend, stranger) = (Netns::new("friend")?, Netns::new("stranger")?);
    let to_host = "10.9.0.1".parse()?;
    link(&world.guard, "wg0", &friend)?;
    let guard = guard(&world.guard, layers, "[metrics]\nlisten = \"\"")?;
    answers(PORT, &[(&friend, to_host)])?;

    world.guard.ip("link delete wg0")?;
    link(&world.guard, "evil0", &stranger)?;
    if layers.counts() {
        // The nftables layer covers the moment until then.
        guard.attached_as("evil0", "guarded")?;
    }
    silent(&listener, PORT, &[(&stranger, to_host)])?;
    answers(OTHER, &[(&stranger, to_host)])?;
    world.guard.ip("link delete evil0")?;
    link(&world.guard, "wg0", &friend)?;
    tests::claims::answers_soon(PORT, (&friend, to_host))
}
