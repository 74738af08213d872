//! Several readers at once, readers that go away, and a daemon that is not there.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tests::guard::Guard;
use tests::topology::World;
use tests::{require, requires, wait};

use super::{POLICY, Reader, SOON, send};

#[test]
fn every_reader_gets_every_event() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let mut guard = Guard::start(&world.guard, POLICY)?;
    let mut readers = (0..4).map(|_| Reader::start(&world.guard, &guard, &["--json"])).collect::<Result<Vec<_>>>()?;
    let people = Reader::start(&world.guard, &guard, &[])?;
    let stranger = |datagrams| send(&internet.ns, internet.own.v4.into(), internet.guard.v4.into(), datagrams);
    stranger(100)?;
    for reader in &readers {
        wait::until("a hundred packets", SOON, || reader.packets() == 100)?;
    }
    let first = readers[0].documents();
    ensure!(readers.iter().all(|reader| reader.documents() == first), "{first:#?}");
    wait::until("a sentence", SOON, || people.0.log().contains(", 99 times"))?;
    ensure!(guard.log().contains(", 99 times"), "the daemon's log has them too: {}", guard.log());

    // One that is interrupted says nothing; the others go on.
    let mut gone = readers.remove(0);
    gone.0.signal(Signal::SIGINT)?;
    gone.0.exited(SOON)?;
    ensure!(gone.documents() == first, "{}", gone.0.log());
    stranger(1)?;
    for reader in &readers {
        wait::until("one more", SOON, || reader.packets() == 101)?;
    }
    guard.enforces()?;

    // They hear of the daemon's end, and what to do.
    guard.stop()?;
    for mut reader in readers {
        let status = reader.0.exited(SOON)?;
        ensure!(status.code() == Some(1) && reader.0.log().contains("the daemon ended"), "{}", reader.0.log());
    }
    let output = guard.command(&["events"])?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{error}");
    ensure!(error.contains("the daemon is not running") && error.contains("ollama-guard status"), "{error}");
    Ok(())
}

#[test]
fn a_closed_pipe_ends_it_quietly() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let guard = Guard::start(&world.guard, POLICY)?;
    let program = format!("{} events --config {}", tests::guard::binary().display(), guard.config().display());
    // `sleep` ends without having read a byte: then nobody reads, and nothing happens that could be printed.
    let script = format!("set -o pipefail; {program} | true; echo ended with $?");
    let mut silent = world.guard.spawn("bash", &["-c", &script])?;
    silent.logged("ended with 0", SOON)?;

    let script = format!("set -o pipefail; {program} | head -n 1; echo ended with $?");
    let mut one = world.guard.spawn("bash", &["-c", &script])?;
    wait::until("the first line", SOON, || {
        send(&internet.ns, internet.own.v4.into(), internet.guard.v4.into(), 1).is_ok() && one.log().contains("dropped")
    })?;
    one.logged("ended with 0", SOON)?;
    ensure!(one.log().lines().count() == 2, "{}", one.log());
    Ok(())
}

#[test]
fn one_reader_too_many_is_told_so() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let _internet = world.internet()?;
    let guard = Guard::start(&world.guard, POLICY)?;
    let socket = guard.config().with_file_name("run").join("events.sock");
    let mut readers = Vec::new();
    // Each is served before the next comes.
    for _ in 0..64 {
        let mut reader = std::io::BufReader::new(std::os::unix::net::UnixStream::connect(&socket)?);
        std::io::BufRead::read_line(&mut reader, &mut String::new())?;
        readers.push(reader);
    }
    let output = guard.command(&["events"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && said.contains("64 readers"), "{said}");
    drop(readers);
    Reader::start(&world.guard, &guard, &["--json"]).map(drop)
}
