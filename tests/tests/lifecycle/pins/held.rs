//! A running daemon holds open what it pinned: nothing is detached, and the pins are put back.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde_json::json;
use tests::claims::{attempts, silent};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::topology::World;
use tests::{for_each_arrangement, require, requires, wait};

use super::{Pins, links, pins};
use crate::PORT;

for_each_arrangement!(pins_that_somebody_removed_are_told_and_put_back_at_once);

/// Far less than the 30 s after which the daemon looks in any case.
const AT_ONCE: Duration = Duration::from_secs(15);

fn pins_that_somebody_removed_are_told_and_put_back_at_once(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    if !layers.counts() {
        return Ok(()); // No pins to remove.
    }
    let world = World::new()?;
    let internet = world.internet()?;
    let listener = Listener::http(&world.guard, PORT)?;
    let mut guard = Guard::start(&world.guard, &layers.policy(""))?;
    silent(&listener, PORT, &attempts([&internet]))?;
    let dropped = |guard: &Guard<'_>| anyhow::Ok(guard.interface("inet0")?["dropped_packets"].as_u64());
    let (all, counted) = (pins(guard.pins()), dropped(&guard)?);
    let hook = guard.interface("inet0")?["hook"].clone();
    assert!(counted > Some(0));

    // The daemon stands still meanwhile, or nobody would see it. It holds what was pinned.
    guard.process()?.signal(Signal::SIGSTOP)?;
    for pin in links(guard.pins()) {
        fs::remove_file(pin)?;
    }
    let status = guard.status()?;
    assert_eq!(status["enforcing"], json!(false), "{status:#}");
    silent(&listener, PORT, &attempts([&internet]))?;
    guard.process()?.signal(Signal::SIGCONT)?;

    // One by one, then a part of the directory, then everything.
    for pin in all.keys() {
        whole(&guard, &all)?;
        fs::remove_file(pin)?;
    }
    for directory in [all.keys().next().unwrap().parent().unwrap().to_owned(), guard.pins().clone()] {
        whole(&guard, &all)?;
        // It fills a directory again faster than that is emptied.
        guard.process()?.signal(Signal::SIGSTOP)?;
        fs::remove_dir_all(directory)?;
        guard.process()?.signal(Signal::SIGCONT)?;
    }
    whole(&guard, &all)?;
    wait::until("full enforcement", AT_ONCE, || {
        guard.command(&["status", "--quiet"]).is_ok_and(|quiet| quiet.status.success())
    })?;
    silent(&listener, PORT, &attempts([&internet]))?;
    assert!(dropped(&guard)? > counted, "the counters go on");
    assert_eq!(guard.interface("inet0")?["hook"], hook, "{}", guard.log());
    Ok(())
}

/// Waits until exactly these are pinned.
fn whole(guard: &Guard<'_>, all: &Pins) -> Result<()> {
    wait::until("everything to be pinned", AT_ONCE, || pins(guard.pins()).keys().eq(all.keys())).with_context(|| {
        let there = pins(guard.pins());
        format!("pinned: {:?}, not {:?}\nlog: {}", there.keys(), all.keys(), guard.log())
    })
}
