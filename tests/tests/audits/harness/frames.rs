//! Attacks that are packets, written byte by byte: which of them reach TCP or UDP on the port, and which are answered.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::frames::Wire;
use tests::layers::Layers;
use tests::listener::{Listener, UdpEcho};
use tests::packet::{Network, Packet, V4, V6};
use tests::probe;
use tests::topology::{Addresses, Side, World};
use tests::wait;
use tests::witness::Witness;

use super::{OTHER, PORT, TRUSTED, guard};

/// The host's MAC address on every link: what the frames are sent to.
pub(crate) const MAC: &str = "02:00:00:00:00:01";
/// Between the source ports of two passes: each packet is known by its own.
const PASS: u16 = 200;

/// What becomes of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// It does not reach TCP or UDP.
    Lost,
    /// It reaches TCP or UDP, which says nothing.
    Delivered,
    /// TCP answers: with a handshake or a reset.
    Answered,
    /// The program that listens has accepted a connection.
    Accepted,
}

/// One form of an attack.
pub(crate) struct Variant {
    name: &'static str,
    frames: fn(Aim) -> Vec<Vec<u8>>,
    /// `None`: that depends on the kernel.
    unguarded: Option<Fate>,
    hides: bool,
    hides_from_rules: bool,
    deceives_rules: bool,
}

impl Variant {
    /// Which an unguarded host answers, until one of the other methods says otherwise.
    pub(crate) fn new(name: &'static str, frames: fn(Aim) -> Vec<Vec<u8>>) -> Self {
        Self {
            name,
            frames,
            unguarded: Some(Fate::Answered),
            hides: false,
            hides_from_rules: false,
            deceives_rules: false,
        }
    }

    /// The program gets a connection by it, without any handshake.
    pub(crate) fn accepted(self) -> Self {
        Self { unguarded: Some(Fate::Accepted), ..self }
    }

    /// TCP takes it and says nothing, as the protocol wants it; so the port is seen to be open.
    pub(crate) fn unanswered(self) -> Self {
        Self { unguarded: Some(Fate::Delivered), ..self }
    }

    /// The kernel itself refuses it, without any guard. `why` is for readers.
    pub(crate) fn refused_by_the_kernel(self, _why: &'static str) -> Self {
        Self { unguarded: Some(Fate::Lost), ..self }
    }

    /// Some kernels refuse it, others do not.
    pub(crate) fn refused_by_some_kernels(self, _which: &'static str) -> Self {
        Self { unguarded: None, ..self }
    }

    /// The eBPF layer cannot find its port, and drops it whatever the port is. (The nftables layer reads on.)
    pub(crate) fn hides_its_port(self) -> Self {
        Self { hides: true, ..self }
    }

    /// Nor can rules, unless connection tracking has put its fragments together before.
    pub(crate) fn hides_its_port_from_rules_too(self) -> Self {
        Self { hides: true, hides_from_rules: true, ..self }
    }

    /// Rules read another port than the kernel does: they alone let it through, which the documentation says.
    pub(crate) fn deceives_rules(self) -> Self {
        Self { deceives_rules: true, ..self }
    }

    fn is_hidden_from(&self, layers: Layers, is_tracked: bool) -> bool {
        if layers.counts() { self.hides } else { self.hides_from_rules && !is_tracked }
    }
}

/// From where to where a variant goes.
#[derive(Clone, Copy)]
pub(crate) struct Aim {
    /// The source's addresses.
    pub(crate) from: Addresses,
    /// The host's addresses on the same link.
    pub(crate) to: Addresses,
    /// The destination port.
    pub(crate) port: u16,
    /// The source port: no other variant of any pass has it.
    pub(crate) mark: u16,
}

impl Aim {
    /// A SYN by IPv4.
    pub(crate) fn v4(self) -> Packet {
        self.v4_to(self.to.v4)
    }

    /// A SYN by IPv6.
    pub(crate) fn v6(self) -> Packet {
        self.v6_to(self.to.v6)
    }

    /// A SYN to another IPv4 address, still on this link.
    pub(crate) fn v4_to(self, address: Ipv4Addr) -> Packet {
        let network = Network::V4(V4::new(self.from.v4, address));
        Packet { network, ..Packet::v4(self.port) }.sent_from(self.mark)
    }

    /// A SYN to another IPv6 address, still on this link.
    pub(crate) fn v6_to(self, address: Ipv6Addr) -> Packet {
        let network = Network::V6(V6::new(self.from.v6, address));
        Packet { network, ..Packet::v6(self.port) }.sent_from(self.mark)
    }
}

/// An audit of packets.
pub(crate) struct Frames {
    variants: Vec<Variant>,
    sysctls: Vec<(&'static str, &'static str)>,
    links: &'static str,
    rules: &'static str,
    udp: bool,
}

impl Frames {
    /// Of these attacks on a TCP port.
    pub(crate) fn new(variants: Vec<Variant>) -> Self {
        Self { variants, sysctls: Vec::new(), links: "", rules: "", udp: false }
    }

    /// Of attacks on a UDP port.
    pub(crate) fn udp(self) -> Self {
        Self { udp: true, ..self }
    }

    /// On a host with these settings.
    pub(crate) fn with(self, sysctls: &[(&'static str, &'static str)]) -> Self {
        Self { sysctls: sysctls.to_vec(), ..self }
    }

    /// On a host set up by these lines of `ip`; each side's interface stands where they say `INTERFACE`.
    pub(crate) fn after(self, links: &'static str) -> Self {
        Self { links, ..self }
    }

    /// On a host with these nftables rules of somebody else.
    pub(crate) fn beside(self, rules: &'static str) -> Self {
        Self { rules, ..self }
    }

    /// Runs it in one arrangement of layers.
    pub(crate) fn run(&self, layers: Layers) -> Result<()> {
        let scene = Scene::new(self)?;
        let (internet, lan) = (&scene.internet, &scene.lan);
        scene.see("an unguarded host", internet, PORT, |variant| variant.unguarded)?;

        let protocols = if self.udp { "[\"udp\"]" } else { "[\"tcp\"]" };
        let service = format!("[[service]]\nname = \"ollama\"\nports = [{PORT}]\nprotocols = {protocols}\n");
        let _guard = guard(&scene.world.guard, layers, &format!("{service}{TRUSTED}"))?;
        let lost = Some(Fate::Lost);
        let is_deceived = |variant: &Variant| variant.deceives_rules && !layers.counts();
        scene.see("a guarded host", internet, PORT, |variant| if is_deceived(variant) { None } else { lost })?;
        scene.see("a guarded host, another port", internet, OTHER, |variant| {
            if variant.is_hidden_from(layers, !self.rules.is_empty()) { lost } else { variant.unguarded }
        })?;
        scene.see("a guarded host, a trusted interface", lan, PORT, |variant| variant.unguarded)
    }
}

/// Who sees what arrives on a port.
enum Ear {
    Tcp(Listener),
    Udp(UdpEcho),
}

impl Ear {
    fn witness(&self) -> &Witness {
        match self {
            Self::Tcp(listener) => &listener.witness,
            Self::Udp(echo) => &echo.witness,
        }
    }

    /// The source ports of the connections that the program has accepted.
    fn accepted(&self) -> Vec<u16> {
        match self {
            Self::Tcp(listener) => listener.accepted().iter().map(|connection| connection.from.port()).collect(),
            Self::Udp(_) => Vec::new(),
        }
    }
}

/// A host with an untrusted and a trusted side, and something that listens on both ports.
struct Scene<'a> {
    audit: &'a Frames,
    world: World,
    internet: Side,
    lan: Side,
    ears: BTreeMap<u16, Ear>,
    next_mark: std::cell::Cell<u16>,
}

impl<'a> Scene<'a> {
    fn new(audit: &'a Frames) -> Result<Self> {
        let world = World::new()?;
        let (internet, lan) = (world.internet()?, world.lan()?);
        if !audit.rules.is_empty() {
            world.guard.nft(audit.rules)?;
        }
        for interface in [internet.interface, lan.interface] {
            world.guard.ip(&format!("link set {interface} address {MAC}"))?;
            for &(key, value) in &audit.sysctls {
                world.guard.sysctl(&key.replace("INTERFACE", interface), value)?;
            }
            world.guard.ip(&audit.links.replace("INTERFACE", interface))?;
        }
        let listen = |port| {
            let ns = &world.guard;
            Ok((
                port,
                if audit.udp { Ear::Udp(UdpEcho::start(ns, port)?) } else { Ear::Tcp(Listener::http(ns, port)?) },
            ))
        };
        for side in [&internet, &lan] {
            world.guard.takes(side.guard.v6.into())?;
        }
        let ears = [PORT, OTHER].into_iter().map(listen).collect::<Result<_>>()?;
        Ok(Self { audit, world, internet, lan, ears, next_mark: 20_000.into() })
    }

    /// Sends every variant and sees what becomes of it.
    fn see(&self, whom: &str, side: &Side, port: u16, expected: impl Fn(&Variant) -> Option<Fate>) -> Result<()> {
        let answers = Witness::answers(&side.ns, port)?;
        let mark = self.next_mark.get();
        self.next_mark.set(mark + PASS);
        let wire = Wire::open(&side.ns, "eth0")?;
        let mut expectations = BTreeMap::new();
        for (variant, mark) in self.audit.variants.iter().zip(mark..) {
            let aim = Aim { from: side.own, to: side.guard, port, mark };
            (variant.frames)(aim).iter().try_for_each(|frame| wire.send(frame))?;
            if let Some(expected) = expected(variant) {
                expectations.insert(mark, (variant.name, expected));
            }
        }
        self.let_arrive(&wire, side, mark + PASS - 1)?;

        let ear = &self.ears[&port];
        let observe = || {
            let (accepted, arrived, answered) = (ear.accepted(), ear.witness().seen(), answers.seen());
            let fate = |mark: u16| match () {
                () if accepted.contains(&mark) => Fate::Accepted,
                () if answered.iter().any(|packet| packet.ports[1] == mark) => Fate::Answered,
                () if arrived.iter().any(|packet| packet.ports[0] == mark) => Fate::Delivered,
                () => Fate::Lost,
            };
            expectations.iter().map(|(&mark, &(name, _))| (mark, (name, fate(mark)))).collect::<BTreeMap<_, _>>()
        };
        let _ = wait::until("all that was expected", Duration::from_secs(3), || observe() == expectations);
        let wrong: Vec<_> = observe()
            .into_iter()
            .filter(|(mark, seen)| expectations[mark] != *seen)
            .map(|(mark, (name, seen))| format!("{name}: {seen:?}, not {:?}", expectations[&mark].1))
            .collect();
        ensure!(wrong.is_empty(), "{whom}:\n{}", wrong.join("\n"));
        Ok(())
    }

    /// Waits until a packet to the other port, sent last, has arrived, and so has everything before it; then until the
    /// witness has read it all, which it has when it has seen what the host sends to itself.
    fn let_arrive(&self, wire: &Wire, side: &Side, mark: u16) -> Result<()> {
        let last = Aim { from: side.own, to: side.guard, port: OTHER, mark }.v4();
        let last = if self.audit.udp { last.udp() } else { last };
        wire.send(&last.bytes())?;
        let seen = |port, mark| {
            wait::until("the last packet to arrive", Duration::from_secs(5), || {
                self.ears[&port].witness().seen().iter().any(|packet| packet.ports[0] == mark)
            })
        };
        seen(OTHER, mark)?;
        for (port, address) in [(PORT, "127.0.0.1"), (PORT, "::1"), (OTHER, "127.0.0.1"), (OTHER, "::1")] {
            seen(port, self.knock(address.parse()?, port)?)?;
        }
        Ok(())
    }

    /// Sends something over loopback; returns the source port.
    fn knock(&self, address: IpAddr, port: u16) -> Result<u16> {
        let ns = &self.world.guard;
        if !self.audit.udp {
            return Ok(probe::connect(ns, address, port)?.local_addr()?.port());
        }
        let socket = ns.enter(|| UdpSocket::bind((if address.is_ipv4() { "0.0.0.0" } else { "::" }, 0)))??;
        socket.send_to(b"last", (address, port))?;
        Ok(socket.local_addr()?.port())
    }
}
