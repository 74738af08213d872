//! Another build of the program takes over, as a package manager has it: the old one is stopped, or dies, and the new
//! one finds what that left.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ollama_guard_common::abi::ABI_VERSION;
use tests::guard::{Guard, binary};
use tests::layers::Layers;
use tests::siege::{Siege, policy};
use tests::{arrangement, leftovers, require, requires, wait};

use super::rounds;

arrangement!(xdp, Xdp, upgrades);
arrangement!(tc, Tc, upgrades);
arrangement!(seatbelt, Seatbelt, upgrades);

/// Owed to the takeover, not to the pass that comes every 30 s anyway.
const AT_ONCE: Duration = Duration::from_secs(15);

/// Two files to build into: one of them runs.
struct Builds {
    files: [PathBuf; 2],
    /// A byte of the kernel object's ELF header that means nothing (`e_ident[EI_NIDENT - 1]`).
    padding: u64,
}

impl Builds {
    fn new(folder: &Path) -> Result<Self> {
        let files = ["one", "other"].map(|name| folder.join(name));
        for file in &files {
            fs::copy(binary(), file)?;
        }
        // Begins as every ELF file of 64 bits; e_machine says BPF. It is aligned.
        let is_object = |head: &[u8]| head.starts_with(b"\x7fELF\x02\x01\x01") && head[18..20] == [247, 0];
        let program = fs::read(binary())?;
        let at = (0..program.len() - 64).step_by(8).find(|&at| is_object(&program[at..]));
        Ok(Self { files, padding: at.context("no kernel object in the program")? as u64 + 15 })
    }

    /// A build that differs from every other: its kernel object is another one, so all programs have to be replaced.
    fn build(&self, nth: usize) -> Result<PathBuf> {
        let path = &self.files[nth % 2];
        let mut file = fs::File::options().write(true).open(path)?;
        file.seek(SeekFrom::Start(self.padding))?;
        file.write_all(&[u8::try_from(nth % 255)? + 1])?;
        Ok(path.clone())
    }
}

fn programs(guard: &Guard<'_>) -> Result<BTreeSet<PathBuf>> {
    let pins = fs::read_dir(guard.pins().join(format!("v{ABI_VERSION}/programs")))?;
    Ok(pins.map(|pin| Ok(pin?.path())).collect::<Result<_>>()?)
}

fn upgrades(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let siege = Siege::lay()?;
    let folder = leftovers::folder()?;
    let builds = Builds::new(folder.path())?;
    let mut guard = Guard::managed(&siege.world.guard, &policy(layers, ""))?;
    let assault = siege.assault()?;
    let rounds = rounds(2, 50);
    for nth in 0..rounds {
        let before = programs(&guard)?;
        if nth % 2 == 0 {
            guard.stop()?
        } else {
            guard.kill()?
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
