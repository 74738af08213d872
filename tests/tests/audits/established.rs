//! **A connection from before.** Firewalls that accept "established" connections first, as nearly all do, leave a stranger
//! alone who connected before the rules came: at boot, during a reload, or because he got in by another hole. Ollama
//! keeps connections open, and a model's answer takes minutes. The guard keeps no such exception: it asks only where a
//! packet arrived. That holds for large segments too, which the kernel hands to the filter as one (GRO, TSO). Where
//! connection tracking knows the connection, it is made to forget it, so that no flowtable takes it up (suite `flowtable`).

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, TcpStream};

use anyhow::{Result, ensure};
use tests::conntrack::connections;
use tests::echo::{Kept, serve};
use tests::layers::Layers;
use tests::listener::Listener;
use tests::probe::{self, PATIENCE};
use tests::topology::{Side, World};
use tests::{require, requires, wait};

use crate::harness::streams::WALL;
use crate::harness::{PORT, TRUSTED, audits, guard};

audits!(established, a_published_port, the_port_itself_published);

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

/// To a container, by a port that is another one on the way.
fn a_published_port(layers: Layers) -> Result<()> {
    published(layers, 8082, WALL)
}

fn the_port_itself_published(layers: Layers) -> Result<()> {
    published(layers, PORT, &[])
}

fn published(layers: Layers, port: u16, blind: &[Layers]) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan, container) = (world.internet()?, world.lan()?, world.container()?);
    serve(&container.ns, PORT)?;
    world.guard.nft(&super::translation::to(&container, port))?;
    let begin = |side: &Side| -> Result<Vec<Kept>> {
        side.guard.both().into_iter().map(|address| Kept::begin(&side.ns, address, port)).collect()
    };
    // And what a container asks of an Ollama elsewhere.
    serve(&lan.ns, PORT)?;
    let mut onward: Vec<_> =
        (lan.own.both().into_iter().map(|to| Kept::begin(&container.ns, to, PORT))).collect::<Result<_>>()?;
    let (mut strangers, mut friends) = (begin(&internet)?, begin(&lan)?);
    for kept in strangers.iter_mut().chain(&mut friends).chain(&mut onward) {
        ensure!(kept.goes_on(PATIENCE)?, "an unguarded host");
    }
    let known = |side: &Side| -> Result<usize> {
        let sources = [format!("src={}", side.own.v4), format!("src={}", expanded(side.own.v6))];
        let lines = connections(&world.guard, PORT)?;
        let first = |line: &&String| line.split_whitespace().find(|word| word.starts_with("src=")).map(str::to_owned);
        Ok(lines.iter().filter(|line| first(line).is_some_and(|source| sources.contains(&source))).count())
    };
    ensure!(known(&internet)? == 2 && known(&lan)? == 2, "{:#?}", connections(&world.guard, PORT));

    let _guard = guard(&world.guard, layers, TRUSTED)?;
    if !blind.contains(&layers) {
        wait::until("the strangers' connections to be forgotten", PATIENCE, || known(&internet).is_ok_and(|n| n == 0))?;
        for kept in &mut strangers {
            ensure!(!kept.goes_on(PATIENCE)?, "a stranger is answered");
        }
        ensure!(known(&internet)? == 0, "a stranger's connection is known again");
    }
    for kept in friends.iter_mut().chain(&mut onward) {
        ensure!(kept.goes_on(PATIENCE)?, "a friend's connection ended");
    }
    ensure!(known(&lan)? == 2 && known(&container)? == 2, "{:#?}", connections(&world.guard, PORT));
    Ok(())
}

/// As the kernel lists addresses.
fn expanded(address: Ipv6Addr) -> String {
    address.segments().map(|word| format!("{word:04x}")).join(":")
}
