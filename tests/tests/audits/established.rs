//! **A connection from before.** Firewalls that accept "established" connections first, as nearly all do, leave a stranger
//! alone who connected before the rules came: at boot, during a reload, or because he got in by another hole. Ollama
//! keeps connections open, and a model's answer takes minutes. The guard keeps no such exception: it asks only where a
//! packet arrived. That holds for large segments too, which the kernel hands to the filter as one (GRO, TSO).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use anyhow::{Result, ensure};
use tests::layers::Layers;
use tests::listener::Listener;
use tests::probe::{self, PATIENCE};
use tests::topology::{Side, World};
use tests::{require, requires, wait};

use crate::harness::{PORT, TRUSTED, audits, guard};

audits!(established);

fn begin(side: &Side) -> Result<Vec<TcpStream>> {
    let begin = |address| {
        let mut stream = probe::connect(&side.ns, address, PORT)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.1\r\n")?;
        Ok(stream)
    };
    side.guard.both().into_iter().map(begin).collect()
}

fn established(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let listener = Listener::http(&world.guard, PORT)?;
    let (strangers, friends) = (begin(&internet)?, begin(&lan)?);
    let own = internet.own.both();
    let from_strangers = || listener.witness.seen().into_iter().filter(|packet| own.contains(&packet.source)).count();
    wait::until("an unguarded host to take both", PATIENCE, || listener.accepted().len() == 4)?;

    let _guard = guard(&world.guard, layers, TRUSTED)?;
    let before = from_strangers();
    for mut stream in &strangers {
        stream.write_all(b"Host: here\r\n\r\n")?;
        // As much as the socket takes, in segments as large as the device takes.
        stream.set_nonblocking(true)?;
        while stream.write(&vec![b'x'; 1 << 16]).is_ok() {}
        stream.set_nonblocking(false)?;
        let outcome = stream.read_exact(&mut [0]).map_err(|error| error.kind());
        ensure!(outcome == Err(ErrorKind::WouldBlock), "neither answered nor reset, but {outcome:?}");
    }
    ensure!(from_strangers() == before, "{} more packets came through", from_strangers() - before);
    for mut stream in &friends {
        stream.write_all(b"Host: here\r\n\r\n")?;
        stream.read_exact(&mut [0])?;
    }
    Ok(())
}
