//! What others do makes the daemon neither large nor slow: the port is closed in time, status answers, and it ends when told.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::guard::Guard;
use tests::pretend::{Pretender, USER, home};
use tests::process::Process;
use tests::topology::World;
use tests::{require, requires};

/// In MiB: docs/performance.md.
const RESIDENT: f64 = 16.0;
/// How long a command may take, on a machine that runs everything else at the same time.
const SOON: Duration = Duration::from_secs(5);

/// Starts what a user without rights starts, then the guard, and lets it look twice.
fn stays_small_and_quick(start: impl FnOnce(&World, &str) -> Result<Vec<Process>>) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    require!(requires::tool("python3"), requires::tool("setpriv"));
    let (world, home) = (World::new()?, home()?);
    let _internet = world.internet()?;
    let mut hostile = start(&world, &home.path().display().to_string())?;
    for one in &mut hostile {
        one.logged("ready", Duration::from_secs(60))?;
    }
    let own = "0.0.0.0|9090";
    let arguments = tests::pretend::docker_proxy(9090);
    let arguments = arguments.each_ref().map(String::as_str);
    let _root = Pretender { name: "docker-proxy", listens: own, arguments: &arguments, ..Pretender::default() }
        .start(&world.guard)?;
    let mut guard = Guard::start(&world.guard, "")?;
    let has_root_s = |status: &serde_json::Value| {
        status["derived"].as_array().into_iter().flatten().any(|row| row["port"] == 9090 && row["guarded"] == true)
    };
    guard.status_when("root's proxied port", has_root_s)?;
    world.guard.ip("link add more0 type veth peer name more1")?;
    let start = Instant::now();
    guard.status()?;
    ensure!(start.elapsed() < SOON, "status took {:?}", start.elapsed());
    let resident = guard.process()?.resident()?;
    println!("{resident:.1} MiB, status in {:?}", start.elapsed());
    ensure!(resident <= RESIDENT, "{resident} MiB");
    let start = Instant::now();
    guard.stop()?;
    ensure!(start.elapsed() < SOON, "it took {:?} to end", start.elapsed());
    Ok(())
}

/// Megabytes of them, of nothing but NULs: each is an argument.
#[test]
fn whatever_arguments_there_are() -> Result<()> {
    const NULS: &str = "import ctypes, time\nctypes.CDLL(None).prctl(15, b'pasta')\n\
        f = open('/proc/self/stat').read().rsplit(')', 1)[1].split(); start, end = int(f[45]), int(f[46])\n\
        ctypes.memset(start, 0, end - start); print('ready', flush=True); time.sleep(600)";
    stays_small_and_quick(|world, _| {
        let (user, group, long) = (format!("--reuid={USER}"), format!("--regid={USER}"), "x".repeat(120_000));
        let own = [user.as_str(), &group, "--clear-groups", "python3", "-c", NULS];
        let arguments = [&own[..], &[long.as_str(); 14]].concat();
        (0..3).map(|_| world.guard.spawn("setpriv", &arguments)).collect()
    })
}

/// Of all ports, over and over.
#[test]
fn whatever_ranges_are_forwarded() -> Result<()> {
    stays_small_and_quick(|world, _| {
        let ranges = ["-t", "1-65535:1-65535"].repeat(300);
        let pasta = Pretender { name: "pasta", user: USER, arguments: &ranges, ..Pretender::default() };
        (0..30).map(|_| pasta.start_soon(&world.guard)).collect()
    })
}

/// Each of them listens, accepts and says nothing.
#[test]
fn however_many_engines_are_mute() -> Result<()> {
    stays_small_and_quick(|world, home| {
        let mute = |nth: i32| {
            let path = format!("{home}/{nth}");
            let arguments = ["--api-socket", &path];
            let socket = Some((path.as_str(), "mute"));
            Pretender { name: "slirp4netns", user: USER, socket, arguments: &arguments, ..Pretender::default() }
                .start_soon(&world.guard)
        };
        (0..60).map(mute).collect()
    })
}

/// Thousands of sockets, and of descriptors of one candidate.
#[test]
fn however_many_sockets_there_are() -> Result<()> {
    const MANY: &str = "import ctypes, os, resource, socket, time\nctypes.CDLL(None).prctl(15, b'pasta')\n\
        keep = []\n\
        for port in range(20000, 34000):\n\
        \x20   s = socket.socket(); s.bind(('127.0.0.1', port)); s.listen(1); keep.append(s)\n\
        print('ready', flush=True); time.sleep(600)";
    stays_small_and_quick(|world, _| {
        let (user, group) = (format!("--reuid={USER}"), format!("--regid={USER}"));
        let own =
            ["--nofile=16000", "setpriv", &user, &group, "--clear-groups", "python3", "-c", MANY, "-t", "8080:11434"];
        Ok(vec![world.guard.spawn("prlimit", &own)?])
    })
}
