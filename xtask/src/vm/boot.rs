//! `cargo xtask test --vm boot`: a Debian with systemd and the package installed, and a neighbor who tries the port from
//! before the network comes up until after the machine has gone down again.
//!
//! The machine sits at the end of a tap device in a network namespace of our own; the neighbor lives there. Its witness is
//! an answer: a connection or a refusal, both mean that a packet got through. The second witness is the log of what listens
//! on the port inside. At the end the package is removed and the neighbor must get through: a test that sees nothing proves
//! nothing.

mod image;
mod neighbour;
pub(crate) mod stand_in;

use super::{debian::Release, machine};
use crate::{dist, sh};
use anyhow::{Context as _, Result, bail, ensure};
use neighbour::Neighbour;
use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Debian 12's own, as the rest of the machine.
const RELEASE: &str = "bookworm";
/// For one life of the machine, emulated.
const LIMIT: Duration = Duration::from_mins(10);
/// Before a line of the scenario.
const MARK: &str = "@boot ";

/// What a person has to have besides what all machines need.
pub(crate) const PROGRAMS: [&str; 5] = ["debootstrap", "cpio", "ip", "chroot", "cp"];

/// How often to boot it, if not twice.
const BOOTS: &str = "OLLAMA_GUARD_BOOTS";

/// Boots it: a first life, a last one, and between them as many as are wanted. With `unguarded`, the guard does not start: this must fail.
pub(super) fn test(folder: &Path, unguarded: bool) -> Result<()> {
    let packages = dist::dist()?;
    let kernel = Release::new(RELEASE, folder).kernel()?;
    let image = folder.join("boot.cpio");
    image::write(&image, folder, &kernel, &packages, unguarded)?;

    let neighbour = Neighbour::move_in()?;
    let start = Instant::now();
    let mut lives = Vec::new();
    let boots: usize = env::var(BOOTS).ok().and_then(|boots| boots.parse().ok()).unwrap_or(2);
    let between = vec!["between"; boots.saturating_sub(2)];
    for phase in [vec!["first"], between, vec!["last"]].concat() {
        let line = format!(
            "console=ttyS0 quiet panic=-1 rdinit=/lib/systemd/systemd systemd.show_status=no boot.phase={phase}"
        );
        let mut qemu = neighbour.command(&machine::program()?.to_string_lossy());
        machine::hardware(&mut qemu, &kernel, &image, &line);
        qemu.args(["-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no", "-device", "virtio-net-pci,netdev=n"]);
        lives.push(live(qemu, &neighbour).with_context(|| format!("the {phase} life of the machine"))?);
    }
    let attempts = neighbour.move_out()?;
    ensure!(attempts.before_removal > 0, "the neighbour never knocked");
    for line in lives.concat() {
        println!("boot: {line}");
    }
    println!(
        "boot: {} knocks in {} s, answered: 0; after the package was removed: {}",
        attempts.before_removal,
        start.elapsed().as_secs(),
        attempts.answered_after
    );
    Ok(())
}

/// One life: from power on to power off. Returns what the scenario said.
fn live(mut qemu: Command, neighbour: &Neighbour) -> Result<Vec<String>> {
    let child = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start QEMU")?;
    let (_machine, lines) = machine::console(child)?;
    let (start, mut said, mut done) = (Instant::now(), Vec::new(), false);
    loop {
        let left = LIMIT.checked_sub(start.elapsed()).context("it took over 10 minutes and was ended")?;
        let line = match lines.recv_timeout(left) {
            Ok(line) => line,
            Err(_) if done => return Ok(said),
            Err(_) => bail!("the machine ended or hung before its scenario did; above is what it said"),
        };
        println!("  | {line}");
        let Some((_, words)) = line.split_once(MARK) else { continue };
        let words = words.trim();
        said.push(words.to_owned());
        neighbour.unanswered().with_context(|| format!("at: {words}"))?;
        match words.split_once(' ') {
            Some(("failed", why)) => bail!("{why}"),
            Some(("removing", _)) => neighbour.expects_answers(),
            _ => {}
        }
        done |= words.starts_with("end");
    }
}

/// Makes a folder afresh.
fn fresh(folder: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// Root makes namespaces, file systems and devices.
pub(super) fn requirements() -> std::result::Result<(), String> {
    if !sh::is_root() {
        return Err(
            "needs root, to make a network namespace and a Debian: sudo --preserve-env cargo xtask …".to_owned()
        );
    }
    match PROGRAMS.iter().find(|program| sh::find_program(program).is_none()) {
        Some(program) => Err(format!("needs the program {program}")),
        None => Ok(()),
    }
}
