//! Without a daemon, a link goes with its pin, and the next daemon attaches anew.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use tests::bpf;
use tests::claims::{attempts, silent};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::probe::{self, Outcome};
use tests::topology::World;
use tests::{for_each_arrangement, require, requires};

use super::links;
use crate::PORT;

const TAKEN: Duration = Duration::from_secs(20);

for_each_arrangement!(pins_removed_while_no_daemon_runs_are_made_anew);

fn pins_removed_while_no_daemon_runs_are_made_anew(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    if !layers.counts() {
        return Ok(()); // No pins to remove.
    }
    let world = World::new()?;
    let internet = world.internet()?;
    let listener = Listener::http(&world.guard, PORT)?;
    let mut guard = Guard::start(&world.guard, &layers.policy(""))?;
    let hook = guard.interface("inet0")?["hook"].clone();
    guard.kill()?;
    // The kernel takes a moment to detach what is no longer pinned; longer, if somebody looks at it just then.
    let looking = links(guard.pins()).iter().map(|pin| bpf::open(pin)).collect::<Result<Vec<_>>>()?;
    for pin in links(guard.pins()) {
        fs::remove_file(pin)?;
    }
    guard.restart()?;
    guard.process()?.logged("a better hook is taken just now", TAKEN)?;
    assert_ne!(guard.interface("inet0")?["hook"], hook);
    assert_eq!(probe::tcp(&internet.ns, internet.guard.v4, PORT)?, Outcome::Silent);
    drop(looking);
    // By now an XDP program that nothing wanted is a stranger's, and the kernel tells nobody when it goes.
    world.guard.ip("link set inet0 alias looked-at")?;
    guard.interface_when("inet0", "where it was", |row| row["hook"] == hook)?;
    silent(&listener, PORT, &attempts([&internet]))
}
