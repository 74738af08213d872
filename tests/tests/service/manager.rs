//! What a service manager is told over its socket (`sd_notify(3)`).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tests::guard::{Guard, binary};
use tests::layers::Layers;
use tests::manager::Manager;
use tests::process::Process;
use tests::topology::World;
use tests::{require, requires};

const PATIENCE: Duration = Duration::from_secs(30);

fn start(world: &World, guard: &Guard<'_>, watchdog: &str) -> Result<(Manager, Process)> {
    let manager = Manager::listen(&guard.config().with_file_name("notify"))?;
    let config = guard.config();
    let (program, config) = (binary(), config.display().to_string());
    let mut command = world.guard.command(program.to_str().context("a path")?, &["run", "--config", &config]);
    command.env("NOTIFY_SOCKET", manager.path()).env("WATCHDOG_USEC", watchdog);
    Ok((manager, Process::spawn(&command, "ollama-guard")?))
}

#[test]
fn readiness_state_and_reloads_are_told() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let _internet = world.internet()?;
    let guard = Guard::prepare(&world.guard, &Layers::Both.policy(""))?;
    let (mut manager, mut daemon) = start(&world, &guard, "600000000")?;
    assert_eq!(manager.hears("STATUS=")?, "STATUS=enforcing ollama (tcp 11434) on 1 interface");
    manager.hears("READY=1")?;
    // Told ready means enforcing: at once, not soon.
    assert_eq!(guard.command(&["status", "--quiet"])?.status.code(), Some(0));

    guard.configure(&Layers::Both.policy("[[service]]\nname = \"web\"\nports = [8080]"))?;
    daemon.signal(Signal::SIGHUP)?;
    manager.hears("RELOADING=1")?;
    assert!(manager.heard.last().is_some_and(|message| message.contains("MONOTONIC_USEC=")), "{:?}", manager.heard);
    manager.hears("READY=1")?;
    assert_eq!(guard.status()?["services"][1]["name"], "web", "ready again before the new policy is in force");
    ensure!(
        manager.heard.iter().any(|message| message.contains("STATUS=enforcing ollama (tcp 11434), web (tcp 8080)")),
        "{:?}",
        manager.heard
    );
    daemon.terminate(PATIENCE)?;
    manager.hears("STOPPING=1")?;
    Ok(())
}

/// The watchdog is fed by the loop: while it waits, and not while it stands still.
#[test]
fn the_watchdog_is_fed_while_nothing_happens() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let guard = Guard::prepare(&world.guard, &Layers::Both.policy(""))?;
    let (mut manager, daemon) = start(&world, &guard, "1500000")?;
    manager.hears("READY=1")?;
    let start = Instant::now();
    for _ in 0..5 {
        manager.hears("WATCHDOG=1")?;
    }
    assert!(start.elapsed() > Duration::from_secs(1), "fed without end: {:?}", manager.heard);
    daemon.signal(Signal::SIGSTOP)?;
    manager.skip();
    assert!(manager.hears_nothing(Duration::from_secs(2)), "fed by something else than the loop");
    daemon.signal(Signal::SIGCONT)
}
