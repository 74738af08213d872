//! The daemon is not the guard: it may die, return, or find that it is not the only one.

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde_json::json;
use tests::claims::{answers, attempts, silent};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::topology::World;
use tests::{for_each_arrangement, require, requires};

use super::PORT;
use super::pins::pins;

for_each_arrangement!(a_killed_daemon_leaves_the_port_closed_and_its_successor_adopts);

fn a_killed_daemon_leaves_the_port_closed_and_its_successor_adopts(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, container) = (world.internet()?, world.container()?);
    let listener = Listener::http(&world.guard, PORT)?;
    let mut guard = Guard::start(&world.guard, &layers.policy(""))?;
    silent(&listener, PORT, &attempts([&internet]))?;
    let before = pins(guard.pins());
    let dropped = |guard: &Guard<'_>| anyhow::Ok(guard.interface("inet0")?["dropped_packets"].as_u64().unwrap_or(0));
    let first = dropped(&guard)?;

    guard.kill()?;
    silent(&listener, PORT, &attempts([&internet, &container]))?;
    let status = guard.status()?;
    assert_eq!((&status["enforcing"], &status["daemon_running"]), (&json!(true), &json!(false)), "{status:#}");
    let quiet = guard.command(&["status", "--quiet"])?;
    assert_eq!((quiet.status.code(), quiet.stdout.len()), (Some(0), 0), "enforcement stands");
    let screen = guard.command(&["status"])?.stdout;
    assert!(String::from_utf8_lossy(&screen).contains("the daemon is not running"));
    let while_dead = dropped(&guard)?;

    guard.restart()?;
    silent(&listener, PORT, &attempts([&internet]))?;
    if layers.counts() {
        assert!(first > 0 && while_dead > first && dropped(&guard)? > while_dead, "the counters go on");
    }
    assert_eq!(pins(guard.pins()), before, "what did not change was not touched");
    assert_eq!(
        guard.status()?["problems"].as_array().map(|all| all.iter().any(|one| one["subject"] == "daemon")),
        Some(false)
    );
    Ok(())
}

/// What changes while nobody watches is told, and made good by the next daemon.
#[test]
fn an_interface_that_appears_while_the_daemon_is_dead_is_told_and_then_guarded() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let listener = Listener::http(&world.guard, PORT)?;
    let mut guard = Guard::start(&world.guard, &Layers::Tc.policy(""))?;
    guard.kill()?;

    let lan = world.lan()?;
    answers(PORT, &attempts([&lan])).context("without the nftables layer nothing covers it")?;
    assert_eq!(guard.command(&["status", "--quiet"])?.status.code(), Some(3));
    let status = guard.status()?;
    let gap = |problem: &serde_json::Value| problem["subject"] == "lan0" && problem["severity"] == "gap";
    assert!(status["problems"].as_array().is_some_and(|all| all.iter().any(gap)), "{status:#}");

    guard.restart()?;
    silent(&listener, PORT, &attempts([&internet, &lan]))
}

#[test]
fn a_renamed_interface_is_not_shown_as_what_its_program_is_not() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let _lan = world.lan()?;
    let policy = Layers::Tc.policy("[interfaces]\ntrusted = [\"lo\", \"lan0\"]");
    let mut guard = Guard::start(&world.guard, &policy)?;
    guard.kill()?;
    world.guard.ip("link set lan0 down\nlink set lan0 name lan1\nlink set lan1 up")?;
    // By its name it is to be guarded; the program on it lets everything pass.
    let row = guard.interface("lan1")?;
    assert_eq!((&row["class"], &row["hook"]), (&json!("guarded"), &json!("none")), "{row:#}");
    assert_eq!(guard.command(&["status", "--quiet"])?.status.code(), Some(3));
    Ok(())
}

#[test]
fn a_second_instance_is_refused_and_told_of_the_first() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let _internet = world.internet()?;
    let mut guard = Guard::start(&world.guard, &Layers::Tc.policy(""))?;
    let pid = guard.process()?.pid();
    let second = guard.command(&["run"])?;
    let error = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{error}");
    assert!(error.contains(&format!("process {pid}")) && error.contains("ollama-guard reload"), "{error}");
    guard.enforces()?;
    // A lock that outlives its holder is none.
    guard.process()?.signal(Signal::SIGINT)?;
    guard.process()?.exited(std::time::Duration::from_secs(10))?;
    guard.run()?;
    guard.enforces()
}
