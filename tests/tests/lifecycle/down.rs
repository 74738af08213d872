//! `down` opens the port and leaves no trace, twice or over what a dead daemon left.

use std::time::Duration;

use anyhow::{Context, Result};
use tests::claims::{answers, attempts, silent};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::topology::World;
use tests::{for_each_arrangement, require, requires, wait};

use super::PORT;

for_each_arrangement!(down_leaves_nothing);

fn down_leaves_nothing(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("nft"));
    let world = World::new()?;
    let (internet, container) = (world.internet()?, world.container()?);
    let listener = Listener::http(&world.guard, PORT)?;
    // Somebody else's table and qdisc stay as they are.
    world.guard.nft("table inet theirs { chain input { type filter hook input priority 0; accept; }; }")?;
    let interfaces = || world.guard.run("ip", &["link"]);
    let rules = || world.guard.run("nft", &["list", "ruleset"]);
    let before = (interfaces()?, rules()?);
    // The kernel takes a moment to let go of a program that a dead process held.
    let as_before = || {
        let same = || interfaces().is_ok_and(|now| now == before.0) && rules().is_ok_and(|now| now == before.1);
        wait::until("everything to be as before", Duration::from_secs(5), same)
            .with_context(|| format!("{:?} is not {before:?}", (interfaces(), rules())))
    };

    let mut guard = Guard::start(&world.guard, &layers.policy(""))?;
    silent(&listener, PORT, &attempts([&internet, &container]))?;
    guard.down()?;
    // It would put everything back.
    let ended = guard.process()?.exited(Duration::from_secs(10)).context("the daemon has not ended")?;
    assert!(ended.success(), "{ended}: {}", guard.log());
    answers(PORT, &attempts([&internet, &container]))?;
    assert!(!guard.pins().exists());
    as_before()?;
    assert_eq!(guard.command(&["status", "--quiet"])?.status.code(), Some(3));

    let again = guard.command(&["down"])?;
    assert_eq!(again.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&again.stdout).contains("nothing to remove"));

    guard.run()?;
    guard.enforces()?;
    guard.kill()?;
    guard.down()?;
    as_before()?;
    answers(PORT, &attempts([&internet, &container]))
}

/// A number in a file is nobody's word: only the process that the kernel says holds the lock is ended.
#[test]
fn down_ends_nobody_but_the_daemon() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let mut guard = Guard::start(&world.guard, "")?;
    let mut bystander = world.guard.spawn("sleep", &["600"])?;
    let lock = guard.config().with_file_name("run").join("ollama-guard.lock");
    std::fs::write(&lock, format!("{}\n", bystander.pid()))?;
    guard.kill()?;
    guard.down()?;
    assert!(bystander.is_running(), "the daemon was dead");
    guard.run()?;
    guard.enforces()?;
    std::fs::write(&lock, format!("{}\n", bystander.pid()))?;
    guard.down()?;
    guard.process()?.exited(Duration::from_secs(10))?;
    assert!(bystander.is_running(), "{}", guard.log());
    Ok(())
}
