//! Promises 1 and 2: no stranger reaches the guarded port, whichever of the host's addresses he names, and nobody else
//! notices the guard. Real TCP and HTTP, v4 and v6, from every side at once, the VPN by a real `WireGuard` tunnel.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::claims::{Attempt, answers, attempts, silent};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::{Listener, UdpEcho};
use tests::netns::Netns;
use tests::ping::ping;
use tests::probe::{self, Outcome};
use tests::topology::{Side, Vpn, World};
use tests::{arrangement, for_each_arrangement, require, requires};

const PORT: u16 = 11434;
/// Something else on the same host, which must not notice.
const OTHER: u16 = 8080;
/// Of 64 KiB, each way.
const CHUNKS: usize = 64;

for_each_arrangement!(strangers_hear_nothing_and_friends_everything, everything_else_is_untouched,);

// Generic XDP is the same program and the same kind of link as native XDP: that it sees the same packets is tried here.
arrangement!(xdp_generic, XdpGeneric, strangers_hear_nothing_and_friends_everything, everything_else_is_untouched);

/// A host with all sides, and with something listening.
struct Scene {
    world: World,
    internet: Side,
    lan: Side,
    container: Side,
    vpn: Vpn,
    listener: Listener,
}

impl Scene {
    fn new() -> Result<Self> {
        let world = World::new()?;
        let (internet, lan, container) = (world.internet()?, world.lan()?, world.container()?);
        let vpn = world.vpn(&internet)?;
        let listener = Listener::http(&world.guard, PORT)?;
        // So that the internet side can try the host's other addresses.
        for address in [&lan, &vpn.side, &container].map(|side| side.guard) {
            internet.ns.ip(&format!(
                "route add {} via {}\nroute add {} via {}",
                address.v4, internet.guard.v4, address.v6, internet.guard.v6
            ))?;
        }
        Ok(Self { world, internet, lan, container, vpn, listener })
    }

    fn strangers(&self) -> Vec<Attempt<'_>> {
        let mut attempts = attempts([&self.internet, &self.lan, &self.container]);
        // Linux accepts a packet for any of its addresses on any of its interfaces.
        for side in [&self.lan, &self.vpn.side, &self.container] {
            attempts.extend(side.guard.both().map(|address| (&self.internet.ns, address)));
        }
        // The laptop, outside its tunnel.
        attempts.extend(self.internet.guard.both().map(|address| (&self.vpn.side.ns, address)));
        attempts
    }

    /// Over the tunnel, and on the host itself by every address it has.
    fn friends(&self) -> Vec<Attempt<'_>> {
        let mut friends = attempts([&self.vpn.side]);
        let own = [&self.internet, &self.lan, &self.container, &self.vpn.side].map(|side| side.guard.both());
        let local = ["127.0.0.1", "::1"].map(|address| address.parse().expect("an address"));
        friends.extend(own.into_iter().flatten().chain(local).map(|address| (&self.world.guard, address)));
        friends
    }
}

fn strangers_hear_nothing_and_friends_everything(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::wireguard(), requires::tool("nmap"));
    let scene = Scene::new()?;
    answers(PORT, &scene.strangers()).context("unguarded: what is silent later, is so because of the guard")?;
    answers(PORT, &scene.friends())?;

    let guard = Guard::start(&scene.world.guard, &layers.policy(""))?;
    for name in ["inet0", "lan0"] {
        assert_eq!(guard.interface(name)?["hook"], layers.hook(), "{name}");
    }
    silent(&scene.listener, PORT, &scene.strangers())?;
    answers(PORT, &scene.friends())?;
    for address in [scene.internet.guard.v4.into(), scene.internet.guard.v6.into(), scene.vpn.side.guard.v4.into()] {
        assert_eq!(nmap(&scene.internet.ns, address)?, "filtered", "{address}");
    }
    Ok(())
}

/// The state in which nmap finds the port.
fn nmap(from: &Netns, address: IpAddr) -> Result<String> {
    let (port, target) = (PORT.to_string(), address.to_string());
    let mut arguments = vec!["-Pn", "-n", "-sS", "-p", &port];
    arguments.extend(address.is_ipv6().then_some("-6"));
    arguments.push(&target);
    let printed = from.run("nmap", &arguments)?;
    let row = printed.lines().find(|line| line.starts_with(&format!("{PORT}/tcp")));
    Ok(row.and_then(|row| row.split_whitespace().nth(1)).unwrap_or(&printed).to_owned())
}

fn everything_else_is_untouched(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let sides = [world.internet()?, world.lan()?, world.container()?];
    let _other = Listener::http(&world.guard, OTHER)?;
    // The service is TCP only: its port's UDP is somebody else's.
    let _datagrams = [UdpEcho::start(&world.guard, OTHER)?, UdpEcho::start(&world.guard, PORT)?];
    let _guard = Guard::start(&world.guard, &layers.policy(""))?;

    answers(OTHER, &attempts(&sides))?;
    for (from, address) in attempts(&sides) {
        for port in [OTHER, PORT] {
            assert_eq!(probe::udp(from, address, port)?, Outcome::Open("hello".into()), "udp {port} at {address}");
        }
        ping(from, address)?;
        assert_eq!(probe::tcp(from, address, 8081)?, Outcome::Refused, "a port where nobody listens says so");
    }
    for side in &sides {
        bulk(&side.ns, side.guard.v4.into(), &world.guard)?;
    }
    bulk(&sides[0].ns, sides[0].guard.v6.into(), &world.guard)
}

/// Sends megabytes and gets as many, and both ends see what the other sent.
fn bulk(from: &Netns, address: IpAddr, host: &Netns) -> Result<()> {
    let server = host.enter(|| TcpListener::bind((address, 0)))??;
    let client = probe::connect(from, address, server.local_addr()?.port())?;
    let (host, _) = server.accept()?;
    let chunk = &(0..65_521_u32).map(|n| n.to_le_bytes()[0]).collect::<Vec<u8>>();
    thread::scope(|scope| {
        let ends = [&client, &host];
        let senders = ends.map(|end| scope.spawn(move || (0..CHUNKS).try_for_each(|_| { end }.write_all(chunk))));
        let receivers = ends.map(|end| scope.spawn(move || receive(end, chunk)));
        for sender in senders {
            sender.join().expect("a sender does not panic")?;
        }
        receivers.into_iter().try_for_each(|receiver| receiver.join().expect("a receiver does not panic"))
    })
}

fn receive(mut stream: &TcpStream, chunk: &[u8]) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut received = vec![0; chunk.len()];
    for number in 0..CHUNKS {
        stream.read_exact(&mut received).with_context(|| format!("chunk {number}"))?;
        ensure!(received == chunk, "chunk {number} was altered");
    }
    Ok(())
}
