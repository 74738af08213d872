//! A crowd of a user's processes that look like proxies and never answer: nothing waits for them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::claims::{attempts, silent};
use tests::guard::Guard;
use tests::listener::Listener;
use tests::process::Process;
use tests::topology::World;
use tests::{leftovers, require, requires, wait};

use super::PORT;

/// Asked one after the other, half a second each, they would take a minute.
const CROWD: usize = 120;
const SOON: Duration = Duration::from_secs(5);

/// The system's, which every user may start.
const PYTHON: &str = "/usr/bin/python3";

/// Calls itself slirp4netns, which names a socket to ask, and says nothing there.
const MUTE: &str = r#"
import ctypes, os, socket, sys, time
ctypes.CDLL(None).prctl(15, b"slirp4netns")
waiting = socket.socket(socket.AF_UNIX)
waiting.bind(sys.argv[2])
os.chmod(sys.argv[2], 0o777)
waiting.listen(50)
time.sleep(600)
"#;

#[test]
fn start_reload_status_and_stop_wait_for_nobody() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::file(PYTHON));
    let (world, folder) = (World::new()?, leftovers::folder()?);
    let internet = world.internet()?;
    let listener = Listener::http(&world.guard, PORT)?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
    let mute = |number: usize| {
        let socket = folder.path().join(number.to_string()).display().to_string();
        let user = ["--reuid=12345", "--regid=12345", "--clear-groups", PYTHON, "-c", MUTE, "--api-socket", &socket];
        world.guard.spawn("setpriv", &user)
    };
    let crowd: Vec<Process> = (0..CROWD).map(mute).collect::<Result<_>>()?;
    let there = || fs::read_dir(folder.path()).is_ok_and(|entries| entries.count() == CROWD);
    wait::until("the crowd", Duration::from_mins(1), there)?;

    let mut guard = Guard::prepare(&world.guard, "")?;
    let start = Instant::now();
    guard.run()?;
    guard.process()?.logged(" enforcing ", SOON)?;
    let closed = start.elapsed();
    silent(&listener, PORT, &attempts([&internet]))?;
    println!("closed {closed:?} after the start, with {CROWD} mute proxies");

    let timed = |arguments: &[&str]| -> Result<()> {
        let start = Instant::now();
        let output = guard.command(arguments)?;
        ensure!(output.status.success(), "{arguments:?}: {}", guard.log());
        ensure!(start.elapsed() < SOON, "{arguments:?} took {:?}", start.elapsed());
        Ok(())
    };
    timed(&["status", "--quiet"])?;
    guard.configure("[[service]]\nname = \"more\"\nports = [3000]\n[[service]]\nname = \"ollama\"\nports = [11434]")?;
    timed(&["reload"])?;
    let start = Instant::now();
    guard.stop()?;
    ensure!(start.elapsed() < SOON, "stop took {:?}", start.elapsed());
    let start = Instant::now();
    guard.status()?;
    ensure!(start.elapsed() < SOON, "status without the daemon took {:?}", start.elapsed());
    drop(crowd);
    Ok(())
}
