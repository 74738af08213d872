//! A great many interfaces: there before the guard, and all at once while it runs.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ollama_guard_common::abi::ABI_VERSION;
use serde_json::Value;
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::netns::Netns;
use tests::siege::PORT;
use tests::topology::World;
use tests::{claims, require, requires, wait};

use super::rounds;

/// What the daemon may take for a thousand interfaces: MiB, and processor time, which other programs do not prolong much.
const MEMORY: f64 = 40.0;
const BUSY: Duration = Duration::from_secs(20);

/// So many links to another host, up.
fn links(host: &Netns, outside: &Netns, prefix: &str, count: usize) -> Result<()> {
    let (mut ours, mut theirs) = (String::new(), String::new());
    for nth in 0..count {
        writeln!(ours, "link add {prefix}{nth} type veth peer name {prefix}{nth} netns {}", outside.name())?;
        writeln!(theirs, "link set {prefix}{nth} up")?;
    }
    host.ip(&ours)?;
    outside.ip(&theirs)?;
    host.ip(&theirs)
}

/// Interfaces with a program.
fn attached(status: &Value) -> usize {
    let rows = status["interfaces"].as_array().into_iter().flatten();
    rows.filter(|row| row["class"] == "guarded" && row["hook"] != "none").count()
}

#[test]
fn many_interfaces_are_guarded_and_released() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("nft"));
    let world = World::new()?;
    let internet = world.internet()?;
    let outside = Netns::new("outside")?;
    let count = rounds(100, 1000);
    links(&world.guard, &outside, "a", count / 2)?;
    let listener = Listener::http(&world.guard, PORT)?;
    let pristine = (world.guard.run("ip", &["-oneline", "link", "show", "inet0"])?, rules(&world.guard)?);

    let start = Instant::now();
    let mut guard = Guard::managed(&world.guard, &Layers::Both.policy(""))?;
    println!("{} interfaces guarded {:?} after the start; {}", count / 2, start.elapsed(), spent(&mut guard)?);
    ensure!(attached(&guard.status()?) == count / 2 + 1, "{:#}", guard.status()?);
    links(&world.guard, &outside, "b", count / 2)?;
    let start = Instant::now();
    let programs = guard.pins().join(format!("v{ABI_VERSION}/links"));
    let judges = |pin: &fs::DirEntry| !pin.file_name().as_encoded_bytes().ends_with(b"-egress");
    let all = || fs::read_dir(&programs).is_ok_and(|pins| pins.flatten().filter(judges).count() == count + 1);
    wait::until("a program on every interface", Duration::from_mins(1), all)?;
    println!("{} more {:?} after the last came up; {}", count / 2, start.elapsed(), spent(&mut guard)?);
    ensure!(attached(&guard.status()?) == count + 1, "{:#}", guard.status()?);
    claims::silent(&listener, PORT, &claims::attempts([&internet]))?;
    let (resident, busy) = (guard.process()?.resident()?, guard.process()?.busy()?);
    let quiet = guard.command(&["status", "--quiet"])?;
    ensure!(quiet.status.success(), "{}", String::from_utf8_lossy(&guard.command(&["status"])?.stdout));

    let start = Instant::now();
    guard.down()?;
    println!("down in {:?}", start.elapsed());
    ensure!(!guard.pins().exists(), "{} is still there", guard.pins().display());
    let after = (world.guard.run("ip", &["-oneline", "link", "show", "inet0"])?, rules(&world.guard)?);
    ensure!(after == pristine, "{pristine:#?}\n{after:#?}");
    claims::answers(PORT, &claims::attempts([&internet]))?;
    ensure!(resident < MEMORY && busy < BUSY, "{resident:.1} MiB, {busy:?}");
    Ok(())
}

/// What the daemon has used up to now, in words.
fn spent(guard: &mut Guard<'_>) -> Result<String> {
    let process = guard.process()?;
    Ok(format!("{:.1} MiB, {:?} of processor time", process.resident()?, process.busy()?))
}

fn rules(host: &Netns) -> Result<String> {
    host.run("nft", &["list", "ruleset"]).context("listing the rules")
}
