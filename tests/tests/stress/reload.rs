//! The policy changes, and nothing of the old ones stays.

use anyhow::{Result, ensure};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::siege::{Siege, policy_of_round};
use tests::{for_each_arrangement, require, requires};

use super::objects::Objects;
use super::rounds;

for_each_arrangement!(reloads);

/// Rounds in which the allocator finds its size.
const WARM: usize = 3;
/// What it may keep afterwards, in MiB.
const GROWTH: f64 = 2.0;

fn reloads(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("bpftool"));
    let siege = Siege::lay()?;
    let mut guard = Guard::managed(&siege.world.guard, &policy_of_round(layers, 0))?;
    let assault = siege.assault()?;
    let mut reload = |from: usize, to: usize| -> Result<(Objects, f64)> {
        for nth in from..to {
            guard.reload_managed(&policy_of_round(layers, nth))?;
            assault.is_held()?;
        }
        Ok((Objects::settled(&mut guard)?, guard.process()?.resident()?))
    };
    let rounds = rounds(3, 1000);
    let (objects, resident) = reload(1, WARM + 1)?;
    let (objects_after, resident_after) = reload(WARM + 1, WARM + rounds + 1)?;
    let reloaded = guard.log().matches("configuration reloaded").count();
    ensure!(reloaded == WARM + rounds, "{reloaded} reloads\n{}", guard.log());
    assault.end(&format!("{rounds} reloads, {layers:?}"))?;
    println!("{objects:?}, {resident:.1} MiB before; {objects_after:?}, {resident_after:.1} MiB after");
    ensure!(objects_after == objects, "something accumulates");
    ensure!(resident_after < resident + GROWTH, "memory accumulates");
    Ok(())
}
