//! The stranger's link goes down and comes up, under its old name or another one.

use anyhow::Result;
use tests::guard::Guard;
use tests::layers::Layers;
use tests::siege::{Siege, policy};
use tests::{arrangement, require, requires};

use super::rounds;

// Not the programs alone: they are attached to a veth only once it is up.
arrangement!(seatbelt, Seatbelt, flaps_and_renames);
arrangement!(both, Both, flaps_and_renames);

fn flaps_and_renames(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let siege = Siege::lay()?;
    let host = &siege.world.guard;
    let guard = Guard::managed(host, &policy(layers, ""))?;
    let assault = siege.assault()?;
    let rounds = rounds(10, 1000);
    let mut name = siege.internet.interface;
    for nth in 0..rounds {
        let before = name;
        if nth % 2 == 1 {
            name = if name == "inet0" { "outer0" } else { "inet0" };
            host.ip(&format!("link set {before} down\nlink set {before} name {name}\nlink set {name} up"))?;
        } else {
            host.ip(&format!("link set {name} down\nlink set {name} up"))?;
        }
        assault.is_held()?;
    }
    if layers.counts() {
        guard.attached_as(name, "guarded")?;
    }
    assault.end(&format!("{rounds} flaps, half of them renames, {layers:?}"))
}
