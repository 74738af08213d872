//! The harness sees what is there: on an unguarded host the port answers from every side. If this fails, a "silent"
//! in another suite proves nothing.

use std::time::Duration;

use anyhow::Result;
use tests::listener::{GREETING, Listener, UdpEcho};
use tests::probe::{self, Outcome};
use tests::topology::{Side, World};
use tests::{require, requires, wait};

const PORT: u16 = 11434;

/// A TCP client on this side is answered at both of the host's addresses, and the listener saw it come.
fn answers(listener: &Listener, side: &Side) -> Result<()> {
    for address in side.guard.both() {
        let outcome = probe::http(&side.ns, address, PORT)?;
        assert!(matches!(&outcome, Outcome::Open(answer) if answer.ends_with(GREETING)), "{address}: {outcome:?}");
    }
    for own in side.own.both() {
        assert!(listener.accepted().iter().any(|connection| connection.from.ip() == own), "accepted {own}");
        wait::until(format!("the SYN of {own}"), Duration::from_secs(1), || listener.witness.sources().contains(&own))?;
    }
    Ok(())
}

#[test]
fn an_unguarded_host_answers_from_every_side() -> Result<()> {
    require!(requires::root());
    let world = World::new()?;
    let listener = Listener::http(&world.guard, PORT)?;
    let internet = world.internet()?;
    answers(&listener, &internet)?;
    answers(&listener, &world.lan()?)?;
    answers(&listener, &world.container()?)?;
    answers(&listener, &world.laptop(&internet)?)
}

#[test]
fn an_unguarded_host_answers_through_a_wireguard_tunnel() -> Result<()> {
    require!(requires::root(), requires::tool("wireguard-go"), requires::tool("wg"), requires::file("/dev/net/tun"));
    let world = World::new()?;
    let listener = Listener::http(&world.guard, PORT)?;
    let internet = world.internet()?;
    let vpn = world.vpn(&internet)?;
    answers(&listener, &vpn.side)
}

#[test]
fn a_datagram_comes_back() -> Result<()> {
    require!(requires::root());
    let world = World::new()?;
    let echo = UdpEcho::start(&world.guard, PORT)?;
    let lan = world.lan()?;
    for address in lan.guard.both() {
        assert_eq!(probe::udp(&lan.ns, address, PORT)?, Outcome::Open("hello".into()));
    }
    wait::until("both datagrams", Duration::from_secs(1), || echo.witness.sources().len() == 2)
}

#[test]
fn a_port_without_listener_refuses_and_a_dropped_one_is_silent() -> Result<()> {
    require!(requires::root(), requires::tool("nft"));
    let world = World::new()?;
    let lan = world.lan()?;
    for address in lan.guard.both() {
        assert_eq!(probe::tcp(&lan.ns, address, PORT)?, Outcome::Refused);
    }

    let listener = Listener::http(&world.guard, PORT)?;
    world.guard.nft(
        "table inet scratch { chain input { type filter hook input priority 0; iifname lan0 tcp dport 11434 drop; }; }",
    )?;
    for address in lan.guard.both() {
        assert_eq!(probe::tcp(&lan.ns, address, PORT)?, Outcome::Silent);
    }
    assert_eq!(listener.witness.seen(), [], "what netfilter dropped never reached the transport layer");
    assert_eq!(listener.accepted(), []);
    Ok(())
}

#[test]
fn worlds_with_the_same_interface_names_live_side_by_side() -> Result<()> {
    require!(requires::root());
    let worlds = [World::new()?, World::new()?];
    let listener = Listener::http(&worlds[0].guard, PORT)?;
    let sides = [worlds[0].internet()?, worlds[1].internet()?];
    answers(&listener, &sides[0])?;
    assert_eq!(probe::tcp(&sides[1].ns, sides[1].guard.v4, PORT)?, Outcome::Refused);
    Ok(())
}
