//! Where the metrics listen: moved by a reload, on a unix socket, on a port that is taken, on a socket that systemd opened.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result};
use tests::guard::{Guard, binary};
use tests::scrape::{self, Scrape};
use tests::topology::World;
use tests::{require, requires, wait};

use super::METRICS;

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_port_that_is_taken_is_said_and_taken_once_it_is_free() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let _lan = world.lan()?;
    let squatter = world.guard.enter(|| TcpListener::bind(METRICS))??;
    let mut guard = Guard::start(&world.guard, "")?;
    guard.process()?.logged("cannot listen on 127.0.0.1:19434", PATIENCE)?;
    assert!(guard.log().contains("sport = :19434"), "{}", guard.log());
    drop(squatter);
    wait::until("metrics", PATIENCE, || Scrape::get(&world.guard, METRICS).is_ok())
}

#[test]
fn a_reload_moves_them_and_a_faulty_one_is_told() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let _lan = world.lan()?;
    let mut guard = Guard::start(&world.guard, "")?;
    wait::until("metrics", PATIENCE, || Scrape::get(&world.guard, METRICS).is_ok())?;

    guard.reload("mode = \"nonsense\"")?;
    let failed = || Scrape::get(&world.guard, METRICS).map(|scrape| reloaded(&scrape));
    wait::until("the failed reload", PATIENCE, || failed().is_ok_and(|successful| !successful))?;

    let socket = guard.config().with_file_name("metrics.sock");
    guard.reload(&format!("[metrics]\nlisten = \"unix:{}\"", socket.display()))?;
    let scraped = wait::value("metrics on the socket", PATIENCE, || {
        let mut stream = UnixStream::connect(&socket).ok()?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Scrape::parse(answer.split_once("\r\n\r\n")?.1.to_owned()).ok()
    })?;
    assert!(reloaded(&scraped));
    assert!(scrape::page(&world.guard, METRICS, "/metrics").is_err(), "the port is closed");

    guard.stop()?;
    assert!(!socket.exists(), "the socket is removed");
    Ok(())
}

/// What systemd does for a service with a socket unit: the socket is descriptor 3.
const ACTIVATE: &str = "\
import os, socket, sys
listener = socket.create_server(('127.0.0.1', 19999))
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])
";

#[test]
fn a_socket_from_systemd_is_used_instead() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("python3"));
    let world = World::new()?;
    let _lan = world.lan()?;
    let guard = Guard::prepare(&world.guard, "")?;
    let (binary, config) = (binary(), guard.config());
    let arguments = ["-c", ACTIVATE, &binary.to_string_lossy(), "run", "--config", &config.to_string_lossy()];
    let daemon = world.guard.spawn("python3", &arguments)?;
    let passed = "127.0.0.1:19999".parse()?;
    wait::until("metrics", PATIENCE, || Scrape::get(&world.guard, passed).is_ok()).with_context(|| daemon.log())?;
    assert!(scrape::page(&world.guard, METRICS, "/metrics").is_err(), "the configured port is not opened");
    Ok(())
}

fn reloaded(scrape: &Scrape) -> bool {
    scrape.sum("ollama_guard_config_last_reload_successful", &[]) > 0.5
}
