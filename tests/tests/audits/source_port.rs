//! **From the guarded port.** Old rules let answers in by their source port: "from port 11434" (or 53, or 20). Whoever sends
//! from there is let through to everything (`nmap --source-port`). The guard looks at the port a packet is for, and at that
//! alone: packets *from* the port are none of its business, so that this host may use an Ollama elsewhere. The price: a
//! program here that binds itself to the guarded port and connects outwards over a guarded interface hears no answer. By
//! itself the kernel takes such a port only if it lies in `net.ipv4.ip_local_port_range` (32768 and up).

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Result;
use socket2::{Domain, Socket, Type};
use tests::claims::answers;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::netns::Netns;
use tests::probe::PATIENCE;
use tests::topology::World;
use tests::{require, requires};

use crate::harness::{OTHER, PORT, TRUSTED, audits, guard};

audits!(source_port);

/// Connects from the guarded port, again if the last try has left it busy.
fn connect(from: &Netns, to: Ipv4Addr, port: u16) -> Result<Result<(), ErrorKind>> {
    let outcome = from.enter(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        // A reset instead of minutes in TIME_WAIT, which would keep the port.
        socket.set_linger(Some(std::time::Duration::ZERO))?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
        socket.connect_timeout(&SocketAddr::from((to, port)).into(), PATIENCE)
    })?;
    Ok(outcome.map_err(|error| error.kind()))
}

fn source_port(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let remote = [Listener::http(&internet.ns, PORT)?, Listener::http(&internet.ns, OTHER)?];
    assert_eq!(connect(&world.guard, internet.own.v4, OTHER)?, Ok(()), "outwards from the port, unguarded");
    let here = [Listener::http(&world.guard, PORT)?, Listener::http(&world.guard, OTHER)?];
    drop(remote);
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
    answers(PORT, &to_remote)?; // Answers come from the guarded port.
    assert_eq!(connect(&world.guard, internet.own.v4, OTHER)?, Err(ErrorKind::TimedOut), "outwards from the port");
    Ok(())
}
