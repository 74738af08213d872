//! The harness cleans up: behind itself, and behind a run that crashed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use tests::netns::{DIRECTORY, Netns, run};
use tests::{leftovers, require, requires, wait};

/// Whether a process lives; one that only waits to be reaped does not.
fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn a_dropped_namespace_takes_its_processes_along() -> Result<()> {
    require!(requires::root());
    let ns = Netns::new("dropped")?;
    let (path, process) = (ns.path(), ns.spawn("sleep", &["1000"])?);
    wait::until("the process to be in the namespace", Duration::from_secs(5), || {
        run(Command::new("ip").args(["netns", "pids", ns.name()])).is_ok_and(|pids| !pids.is_empty())
    })?;
    let pid = process.pid();
    drop(ns);
    wait::until("the process to be gone", Duration::from_secs(5), || !lives(pid))?;
    assert!(!path.exists());
    Ok(())
}

#[test]
fn a_process_ends_with_the_thread_that_started_it() -> Result<()> {
    require!(requires::root());
    let ns = Netns::new("orphan")?;
    let pid = std::thread::scope(|scope| {
        let starter = scope.spawn(|| {
            let process = ns.spawn("sleep", &["1000"])?;
            let pid = process.pid();
            // As if the test process had been killed: nothing is dropped. Until `sleep` runs, nothing was asked for.
            wait::until("sleep to run", Duration::from_secs(5), || {
                std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep")
            })?;
            std::mem::forget(process);
            anyhow::Ok(pid)
        });
        starter.join().expect("the starting thread does not panic")
    })?;
    wait::until("the process to be gone", Duration::from_secs(5), || !lives(pid))
}

#[test]
fn the_next_run_removes_what_a_crashed_one_left() -> Result<()> {
    require!(requires::root());
    // A pid that was alive and is no more: a child's, reaped.
    let mut child = Command::new("true").spawn()?;
    child.wait()?;
    let name = format!("og-{}-0-crashed", child.id());
    run(Command::new("ip").args(["netns", "add", &name]))?;
    leftovers::sweep_now();
    assert!(!Path::new(DIRECTORY).join(name).exists());
    Ok(())
}
