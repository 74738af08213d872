//! **From the guarded port.** Old rules let answers in by their source port: "from port 11434" (or 53, or 20). Whoever sends
//! from there is let through to everything (`nmap --source-port`). The guard looks at the port a packet is for. Packets
//! *from* the port are none of its business, so that this host may use an Ollama elsewhere; and answers to this side's own
//! connections from there pass: those whose SYN left from here, to its very receiver, and nothing else that looks like one.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Socket, Type};
use tests::claims::answers;
use tests::frames::Wire;
use tests::layers::Layers;
use tests::listener::{GREETING, Listener};
use tests::netns::Netns;
use tests::packet::{Network, Packet, V4, V6, flags};
use tests::probe::PATIENCE;
use tests::topology::{Side, World};
use tests::witness::Witness;
use tests::{require, requires, wait};

use crate::harness::frames::MAC;
use crate::harness::{OTHER, PORT, TRUSTED, audits, guard};

audits!(source_port, from_the_port_outwards, masqueraded_as_the_port, what_only_seems_to_answer);

/// Connects from a port, again if the last try has left it busy.
fn dial(from: &Netns, own: u16, to: IpAddr, port: u16) -> Result<Result<TcpStream, ErrorKind>> {
    let stream = from.enter(|| {
        let (domain, any): (_, IpAddr) = if to.is_ipv4() {
            (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into())
        } else {
            (Domain::IPV6, Ipv6Addr::UNSPECIFIED.into())
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        // A reset instead of minutes in TIME_WAIT, which would keep the port.
        socket.set_linger(Some(Duration::ZERO))?;
        socket.bind(&SocketAddr::from((any, own)).into())?;
        socket.connect_timeout(&SocketAddr::from((to, port)).into(), PATIENCE)?;
        Ok::<_, std::io::Error>(TcpStream::from(socket))
    })?;
    Ok(stream.map_err(|error| error.kind()))
}

fn connect(from: &Netns, to: Ipv4Addr, port: u16) -> Result<Result<(), ErrorKind>> {
    Ok(dial(from, PORT, to.into(), port)?.map(drop))
}

fn exchange(mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: there\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.ends_with(GREETING), "{answer:?}");
    Ok(())
}

fn source_port(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let here = [Listener::http(&world.guard, PORT)?, Listener::http(&world.guard, OTHER)?];
    for side in [&internet, &lan] {
        assert_eq!(connect(&side.ns, side.guard.v4, PORT)?, Ok(()), "unguarded");
    }

    let _guard = guard(&world.guard, layers, TRUSTED)?;
    assert_eq!(connect(&internet.ns, internet.guard.v4, PORT)?, Err(ErrorKind::TimedOut), "to the port, from the port");
    assert_eq!(connect(&internet.ns, internet.guard.v4, OTHER)?, Ok(()), "to another port");
    assert_eq!(connect(&lan.ns, lan.guard.v4, PORT)?, Ok(()), "from a trusted interface");

    drop(here);
    let _remote = [Listener::http(&internet.ns, PORT)?, Listener::http(&internet.ns, OTHER)?];
    let to_remote: Vec<_> = internet.own.both().iter().map(|&address: &IpAddr| (&world.guard, address)).collect();
    answers(PORT, &to_remote) // Answers come from the guarded port.
}

/// And when it has ended, whom it spoke to opens none the other way.
fn from_the_port_outwards(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    let remote = Listener::http(&internet.ns, OTHER)?;
    let _guard = guard(&world.guard, layers, TRUSTED)?;
    for address in internet.own.both() {
        let stream = dial(&world.guard, PORT, address, OTHER)?;
        exchange(stream.map_err(std::io::Error::from).with_context(|| format!("to {address}"))?)?;
    }
    drop(remote);
    let _here = Listener::http(&world.guard, PORT)?;
    for address in internet.guard.both() {
        let outcome = dial(&internet.ns, OTHER, address, PORT)?.map(drop);
        ensure!(outcome == Err(ErrorKind::TimedOut), "the other way, to {address}: {outcome:?}");
    }
    Ok(())
}

fn masqueraded_as_the_port(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, container) = (world.internet()?, world.container()?);
    world.guard.nft(
        "table inet other { chain nat { type nat hook postrouting priority srcnat;
             oifname \"inet0\" meta l4proto tcp masquerade to :11434
         }; }",
    )?;
    let _remote = Listener::http(&internet.ns, OTHER)?;
    let _guard = guard(&world.guard, layers, TRUSTED)?;
    let outwards: Vec<_> = internet.own.both().into_iter().map(|address| (&container.ns, address)).collect();
    answers(OTHER, &outwards)
}

/// The host has a connection from the port; a stranger sends what looks like its answers, but is not from its other end.
fn what_only_seems_to_answer(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    world.guard.ip(&format!("link set {} address {MAC}", internet.interface))?;
    let _remote = Listener::http(&internet.ns, OTHER)?;
    let _guard = guard(&world.guard, layers, TRUSTED)?;
    let open = |address| dial(&world.guard, PORT, address, OTHER)?.map_err(|kind| std::io::Error::from(kind).into());
    let kept: Vec<TcpStream> = internet.own.both().into_iter().map(open).collect::<Result<_>>()?;

    let (port, other) = (Witness::tcp(&world.guard, PORT)?, Witness::tcp(&world.guard, OTHER)?);
    let wire = Wire::open(&internet.ns, "eth0")?;
    let kinds = [flags::ACK, flags::SYN | flags::ACK, flags::RST, flags::FIN, flags::NULL, flags::XMAS, 0x18, 0xff];
    for kind in kinds {
        for (v4, v6, from) in strangers(&internet) {
            wire.send(&v4.clone().sent_from(from).flags(kind).bytes())?;
            wire.send(&v6.clone().sent_from(from).flags(kind).bytes())?;
        }
    }
    // From its other end, but to open another one.
    let (v4, v6) = aimed(internet.own.v4, internet.own.v6, &internet, PORT);
    wire.send(&v4.sent_from(OTHER).bytes())?;
    wire.send(&v6.sent_from(OTHER).bytes())?;
    let (last, _) = aimed(internet.own.v4, internet.own.v6, &internet, OTHER);
    wire.send(&last.sent_from(7).bytes())?;
    let arrived = || other.seen().iter().any(|packet| packet.ports[0] == 7);
    wait::until("the last packet", Duration::from_secs(5), arrived)?;
    ensure!(port.seen().is_empty(), "came through: {:?}", port.seen());
    kept.into_iter().try_for_each(exchange).context("the connections themselves")
}

/// What another port of the other end sends, and the same port of somebody else.
fn strangers(internet: &Side) -> [(Packet, Packet, u16); 2] {
    let (near, near6) = aimed(internet.own.v4, internet.own.v6, internet, PORT);
    let (far, far6) =
        aimed(Ipv4Addr::new(203, 0, 113, 10), "2001:db8:1::a".parse().unwrap_or(internet.own.v6), internet, PORT);
    [(near, near6, OTHER + 1), (far, far6, OTHER)]
}

fn aimed(v4: Ipv4Addr, v6: Ipv6Addr, internet: &Side, port: u16) -> (Packet, Packet) {
    (
        Packet { network: Network::V4(V4::new(v4, internet.guard.v4)), ..Packet::v4(port) },
        Packet { network: Network::V6(V6::new(v6, internet.guard.v6)), ..Packet::v6(port) },
    )
}
