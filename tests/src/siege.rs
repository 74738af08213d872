//! A siege: a stranger floods the port without a pause, a friend uses it without a pause, and meanwhile a test does to
//! the guard whatever may happen to it. Not a packet of the flood may arrive, not a request of the friend may fail.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::flood::Flood;
use crate::friend::Friend;
use crate::layers::Layers;
use crate::listener::{Listener, UdpEcho};
use crate::packet::Packet;
use crate::topology::{Addresses, Side, World};
use crate::wait;
use crate::witness::Seen;

/// The default service's port.
pub const PORT: u16 = 11434;
/// Source ports of floods: no friend has one so low.
const BEFORE: u16 = 1000;
const DURING: u16 = 2000;
/// Between two rounds of the flood: short against any gap a program could leave by doing one thing after another.
const PAUSE: Duration = Duration::from_micros(200);

/// The ground: a host with a real listener behind the port, the stranger's side and the friend's.
#[derive(Debug)]
pub struct Siege {
    tcp: Listener,
    udp: UdpEcho,
    /// The stranger's side, behind `inet0`.
    pub internet: Side,
    /// The friend's side, behind `lan0`.
    pub lan: Side,
    /// The host.
    pub world: World,
}

/// The flood and the friend at work. Dropping it ends both.
#[derive(Debug)]
pub struct Assault<'a> {
    siege: &'a Siege,
    flood: Flood,
    friend: Friend,
    forgives: bool,
}

/// A policy by which the friend may and the stranger may not. `rest` may add tables.
pub fn policy(layers: Layers, rest: &str) -> String {
    layers.policy(&format!(
        "[interfaces]\ntrusted = [\"lo\", \"lan0\"]\n\
         [[service]]\nname = \"ollama\"\nports = [{PORT}]\nprotocols = [\"tcp\", \"udp\"]\n{rest}"
    ))
}

/// The same, and different in each round: a reload makes new rules and a new program for strangers, each fifth also one
/// for friends.
pub fn policy_of_round(layers: Layers, nth: usize) -> String {
    let (port, high, low) = (20_000 + nth / 5 % 10_000, nth >> 8, nth & 0xff);
    let other = format!("[[service]]\nname = \"other\"\nports = [{port}]\n");
    policy(layers, &format!("{other}[[allow]]\nsource = \"10.{high}.{low}.0/24\"\nservice = \"other\"\n"))
}

impl Siege {
    /// Makes it, and sees that every kind of the flood's packets arrives while nothing guards.
    pub fn lay() -> Result<Self> {
        let world = World::new()?;
        for key in ["all", "default"] {
            world.guard.sysctl(&format!("net.ipv4.conf.{key}.rp_filter"), "0")?;
        }
        let (internet, lan) = (world.internet()?, world.lan()?);
        let (tcp, udp) = (Listener::http(&world.guard, PORT)?, UdpEcho::start(&world.guard, PORT)?);
        let siege = Self { tcp, udp, internet, lan, world };
        let _flood = siege.flood(BEFORE)?;
        let mut kinds = [false; 4];
        wait::until("every kind of packet to arrive while nothing guards", Duration::from_secs(20), || {
            let [tcp, udp] = siege.arrived(BEFORE);
            for (offset, seen) in [(0, tcp), (2, udp)] {
                for packet in seen {
                    kinds[offset + usize::from(packet.source.is_ipv6())] = true;
                }
            }
            kinds == [true; 4]
        })?;
        Ok(siege)
    }

    /// Begins. To be called when the guard enforces.
    pub fn assault(&self) -> Result<Assault<'_>> {
        let friend = Friend::start(&self.lan.ns, self.lan.guard.both(), PORT)?;
        let flood = self.flood(DURING)?;
        flood.flows()?;
        Ok(Assault { siege: self, flood, friend, forgives: false })
    }

    /// SYNs and datagrams, v4 and v6, to the addresses that the friend uses: they stay when `inet0` comes and goes.
    fn flood(&self, source: u16) -> Result<Flood> {
        let (to, Addresses { v4, v6 }) = (self.world.guard.mac(self.internet.interface)?, self.lan.guard);
        let v4 = Packet { to, ..Packet::v4(PORT) }.with_v4(|header| header.destination = v4);
        let v6 = Packet { to, ..Packet::v6(PORT) }.with_v6(|header| header.destination = v6);
        let packets = [v4.clone(), v6.clone(), v4.udp(), v6.udp()];
        let frames = packets.map(|packet| packet.sent_from(source).bytes());
        Flood::start(&self.internet.ns, "eth0", frames.into(), PAUSE)
    }

    /// What of a flood TCP and UDP were handed since the last call.
    fn arrived(&self, source: u16) -> [Vec<Seen>; 2] {
        [&self.tcp.witness, &self.udp.witness].map(|witness| {
            let mut seen = witness.take();
            seen.retain(|packet| packet.ports[0] == source);
            seen
        })
    }
}

impl Assault<'_> {
    /// Forgives lost datagrams that were sent again with success.
    #[must_use]
    pub fn forgiving(self) -> Self {
        Self { forgives: true, ..self }
    }

    /// Sees that the flood goes on and nothing of it has arrived, and that nothing the friend asked has failed.
    pub fn is_held(&self) -> Result<()> {
        self.flood.flows()?;
        let arrived = self.arrived();
        ensure!(arrived.is_empty(), "{} packets of the flood arrived, first {:?}", arrived.len(), arrived[0]);
        let diary = self.friend.diary();
        ensure!(diary.failed.is_empty(), "{} requests failed: {:#?}", diary.failed.len(), diary.failed);
        ensure!(diary.lost == 0 || self.forgives, "{} datagrams were lost", diary.lost);
        Ok(())
    }

    /// What of the flood arrived since the last call.
    pub fn arrived(&self) -> Vec<Seen> {
        self.siege.arrived(DURING).concat()
    }

    /// Waits until a good deal more has been sent.
    pub fn flows(&self) -> Result<()> {
        self.flood.flows()
    }

    /// Sees the same for the last time, after a few more requests, and prints what there was.
    pub fn end(self, what: &str) -> Result<()> {
        let before = self.friend.diary().answered;
        wait::until("the friend's last requests", Duration::from_secs(30), || {
            let diary = self.friend.diary();
            diary.answered >= before + 4 || !diary.failed.is_empty()
        })?;
        self.is_held()?;
        let (diary, packets) = (self.friend.diary(), self.flood.sent() * 4);
        println!(
            "{what}: 0 of {packets} packets arrived; 0 of {} requests failed, the slowest took {:?}, {} datagrams lost",
            diary.answered, diary.slowest, diary.lost
        );
        Ok(())
    }
}
