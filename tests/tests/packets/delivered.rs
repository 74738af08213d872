//! The kernel itself has the last word: generated packets over a wire to a host that listens. What it delivers to the guarded
//! port of an unguarded host, it must not deliver once one layer guards, whatever the frames hold behind the packets; and
//! whole packets to another port it goes on to deliver.
//!
//! `OLLAMA_GUARD_WIRE_PACKETS` says how many.

use std::env;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tests::frames::Wire;
use tests::fuzz::generate::Random;
use tests::fuzz::pieces::pieces;
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::{Listener, UdpEcho};
use tests::packet::{Network, Packet, V4, V6};
use tests::topology::{Side, World};
use tests::witness::Witness;
use tests::{require, requires, wait};

tests::for_each_arrangement!(nothing_of_it_is_delivered);
tests::arrangement!(xdp_generic, XdpGeneric, nothing_of_it_is_delivered);

const PORT: u16 = 11434;
const OTHER: u16 = 8080;
const POLICY: &str =
    "[[service]]\nname = \"ollama\"\nports = [11434]\nprotocols = [\"tcp\", \"udp\"]\n[metrics]\nlisten = \"\"";
/// A host reassembles so many at a time, and this many leave room.
const ROUND: u16 = 100;

fn nothing_of_it_is_delivered(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let packets: u16 = match env::var("OLLAMA_GUARD_WIRE_PACKETS") {
        Ok(count) => count.parse().context("OLLAMA_GUARD_WIRE_PACKETS is not a number")?,
        Err(_) => 300,
    };
    let seed = UNIX_EPOCH.elapsed()?.as_secs();
    let host = Host::new()?;
    let seeds = || (0..packets.div_ceil(ROUND)).map(|round| seed + u64::from(round));
    for seed in seeds() {
        for (port, decoy) in [(PORT, OTHER), (OTHER, PORT)] {
            let delivered = host.send(seed, port, decoy)?;
            ensure!(
                delivered.len() > 2 * usize::from(ROUND) / 3,
                "seed {seed}: an unguarded host took {delivered:?} only"
            );
        }
    }
    let _guard = Guard::start(&host.world.guard, &layers.policy(POLICY))?;
    for seed in seeds() {
        let delivered = host.send(seed, PORT, OTHER)?;
        ensure!(delivered.is_empty(), "{layers:?}, seed {seed}: delivered were {delivered:?}");
        // Of the other port's fragments some hide it. Whole packets do not.
        let delivered = host.send(seed, OTHER, PORT)?;
        let whole: Vec<u16> = (0..ROUND).filter(|number| host.frames(seed, *number, OTHER, PORT).len() == 1).collect();
        let missing: Vec<_> = whole.iter().filter(|number| !delivered.contains(number)).collect();
        ensure!(missing.is_empty(), "{layers:?}, seed {seed}: not delivered to another port were {missing:?}");
    }
    Ok(())
}

struct Host {
    world: World,
    internet: Side,
    wire: Wire,
    to: [u8; 6],
    tcp: [Listener; 2],
    udp: [UdpEcho; 2],
}

impl Host {
    fn new() -> Result<Self> {
        let world = World::new()?;
        let internet = world.internet()?;
        world.guard.takes(internet.guard.v6.into())?;
        let (wire, to) = (Wire::open(&internet.ns, "eth0")?, world.guard.mac("inet0")?);
        let tcp = [Listener::http(&world.guard, PORT)?, Listener::http(&world.guard, OTHER)?];
        let udp = [UdpEcho::start(&world.guard, PORT)?, UdpEcho::start(&world.guard, OTHER)?];
        Ok(Self { world, internet, wire, to, tcp, udp })
    }

    /// The frames of one packet; the source port tells which.
    fn frames(&self, seed: u64, number: u16, port: u16, decoy: u16) -> Vec<Vec<u8>> {
        let mut random = Random::new(seed.wrapping_mul(1_000_003) + u64::from(number) * 2);
        let (from, to) = (self.internet.own, self.internet.guard);
        let plain = if number.is_multiple_of(2) {
            Packet { network: Network::V4(V4::new(from.v4, to.v4)), ..Packet::v4(port) }
        } else {
            Packet { network: Network::V6(V6::new(from.v6, to.v6)), ..Packet::v6(port) }
        };
        let plain = Packet { to: self.to, ..plain };
        let plain = if number.is_multiple_of(5) { plain.udp() } else { plain };
        let source = Self::source(seed, number, port);
        pieces(&mut random, Packet { payload: 24, ..plain.sent_from(source) }, source, decoy)
    }

    fn source(seed: u64, number: u16, port: u16) -> u16 {
        // Below those from which the host talks to itself.
        let round = u16::try_from(seed % 60).unwrap_or_default();
        20_000 + 2 * (round * ROUND + number) + u16::from(port == OTHER)
    }

    /// Sends a round of packets; the numbers of those that were delivered.
    fn send(&self, seed: u64, port: u16, decoy: u16) -> Result<Vec<u16>> {
        let witnesses: [&Witness; 4] =
            [&self.tcp[0].witness, &self.tcp[1].witness, &self.udp[0].witness, &self.udp[1].witness];
        for witness in witnesses {
            witness.clear();
        }
        for number in 0..ROUND {
            self.frames(seed, number, port, decoy).iter().try_for_each(|frame| self.wire.send(frame))?;
        }
        // What comes last comes after all of it; then each witness has read what the host sends itself.
        let last = Packet {
            to: self.to,
            network: Network::V4(V4::new(self.internet.own.v4, self.internet.guard.v4)),
            ..Packet::v4(OTHER)
        };
        self.wire.send(&last.sent_from(1).bytes())?;
        wait::until("the last packet", Duration::from_secs(10), || {
            self.tcp[1].witness.seen().iter().any(|packet| packet.ports[0] == 1)
        })?;
        for listener in &self.tcp {
            listener.settle(&self.world.guard)?;
        }
        for echo in &self.udp {
            echo.settle(&self.world.guard)?;
        }
        let delivered: Vec<_> =
            witnesses.iter().flat_map(|witness| witness.seen()).map(|packet| packet.ports[0]).collect();
        Ok((0..ROUND).filter(|number| delivered.contains(&Self::source(seed, *number, port))).collect())
    }
}
