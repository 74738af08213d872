//! Where the metrics listen: moved by a reload, on a unix socket, on a port that is taken.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::Result;
use tests::guard::Guard;
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

fn reloaded(scrape: &Scrape) -> bool {
    scrape.sum("ollama_guard_config_last_reload_successful", &[]) > 0.5
}
