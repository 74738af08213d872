//! The sockets by which the daemon hears of changes may fail; it does not.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use tests::guard::Guard;
use tests::layers::Layers;
use tests::process::Process;
use tests::topology::World;
use tests::{require, requires};

const LOG: Duration = Duration::from_secs(20);

/// The kernel's news of the interface is lost with the failure: only a full look finds it.
#[test]
fn a_failing_socket_is_opened_again_and_what_was_missed_is_found() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("strace"));
    let world = World::new()?;
    let _internet = world.internet()?;
    let mut guard = Guard::start(&world.guard, &Layers::Both.policy(""))?;
    guard.attached_as("inet0", "guarded")?;
    let pid = guard.process()?.pid().to_string();
    let failure = ["--attach", &pid, "--trace=recvfrom", "--inject=recvfrom:error=ENOMEM:when=1"];
    let mut strace = Process::spawn(Command::new("strace").args(failure), "strace")?;
    strace.logged("attached", LOG)?;
    let _lan = world.lan()?;
    guard.process()?.logged("interface changes are noticed only every 30 s until that succeeds again", LOG)?;
    guard.process()?.logged("listening for interface changes again", LOG)?;
    guard.attached_as("lan0", "guarded")?;
    drop(strace);
    let _container = world.container()?;
    guard.attached_as("docker0", "container")?;
    Ok(())
}
