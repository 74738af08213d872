//! Another build of the program takes over, as a package manager has it: the old one is stopped, or dies, and the new
//! one finds what that left.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use ollama_guard_common::abi::ABI_VERSION;
use tests::builds::Builds;
use tests::guard::Guard;
use tests::layers::Layers;
use tests::siege::{Siege, policy};
use tests::{arrangement, require, requires, wait};

use super::rounds;

arrangement!(xdp, Xdp, upgrades);
arrangement!(tc, Tc, upgrades);
arrangement!(seatbelt, Seatbelt, upgrades);

/// Owed to the takeover, not to the pass that comes every 30 s anyway.
const AT_ONCE: Duration = Duration::from_secs(15);

fn programs(guard: &Guard<'_>) -> Result<BTreeSet<PathBuf>> {
    let pins = fs::read_dir(guard.pins().join(format!("v{ABI_VERSION}/programs")))?;
    pins.map(|pin| Ok(pin?.path())).collect()
}

fn upgrades(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let siege = Siege::lay()?;
    let builds = Builds::new()?;
    let mut guard = Guard::managed(&siege.world.guard, &policy(layers, ""))?;
    let assault = siege.assault()?;
    let rounds = rounds(2, 50);
    for nth in 0..rounds {
        let before = programs(&guard)?;
        if nth % 2 == 0 {
            guard.stop()?;
        } else {
            guard.kill()?;
        }
        assault.is_held()?;
        guard.install(builds.build(nth)?);
        guard.run()?;
        guard.enforces()?;
        assault.is_held()?;
        let after = programs(&guard)?;
        ensure!(after.len() == before.len() && after.is_disjoint(&before), "from {before:?} to {after:?}");
    }
    assault.end(&format!("{rounds} upgrades, {layers:?}"))
}

/// The pins of a version with another memory layout: real programs on real interfaces under another version's name.
fn from_another_layout(policy: &str, hook: &str) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let siege = Siege::lay()?;
    let mut guard = Guard::managed(&siege.world.guard, policy)?;
    let assault = siege.assault()?;
    guard.stop()?;
    let (old, new) = (guard.pins().join("v1"), guard.pins().join(format!("v{ABI_VERSION}")));
    fs::rename(&new, &old)?;
    assault.is_held()?;
    guard.run()?;
    guard.enforces()?;
    assault.is_held()?;
    // What the old version left is gone, and the best hook is free again.
    wait::until("the old version's pins to go", AT_ONCE, || !old.exists())?;
    wait::until(format!("{hook} to be in use"), AT_ONCE, || {
        guard.interface("inet0").is_ok_and(|row| row["hook"] == hook)
    })?;
    assault.is_held()?;
    let quiet = guard.command(&["status", "--quiet"])?;
    ensure!(quiet.status.success(), "{:#}", guard.status()?);
    assault.end(&format!("an upgrade from another layout, {hook}"))
}

#[test]
fn from_another_layout_at_xdp() -> Result<()> {
    from_another_layout(&policy(Layers::Xdp, ""), "xdp-native")
}

#[test]
fn from_another_layout_at_tcx() -> Result<()> {
    from_another_layout(&policy(Layers::Tc, ""), "tcx")
}

#[test]
fn from_another_layout_at_clsact() -> Result<()> {
    from_another_layout(&policy(Layers::Tc, "").replace("\"tc\"", "\"clsact\""), "clsact")
}
