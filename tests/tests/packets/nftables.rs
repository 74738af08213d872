//! Generated frames over a wire into a host with nftables alone: of the planned rules the kernel's count exactly those
//! packets that [`Model::seen`] and the ruleset's own evaluation say. On that the suite `agreement` relies.
//!
//! Later fragments are passed everywhere; whether rules read ports in them, where there are none, is left open: Linux 6.18
//! does, and so does not count them on trusted interfaces.
//!
//! `OLLAMA_GUARD_WIRE_PACKETS` says how many.

use std::collections::BTreeMap;
use std::env;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use ollama_guard::class::Class;
use ollama_guard::seatbelt::ruleset::{PacketFacts, Transport::LaterFragment};
use ollama_guard::seatbelt::{Seatbelt, TABLE};
use tests::frames::Wire;
use tests::fuzz::generate::{self, Addresses, Random};
use tests::fuzz::kernel::{POLICY, router};
use tests::packet::strategy::Frame;
use tests::packet::{ETHERNET, Packet, seal_v4};
use tests::stand::{Model, NETWORK, Oddity, Stand};
use tests::{require, requires};

/// Nobody guards it.
const MARK: u16 = 9;

/// Packets by counter.
type Counts = BTreeMap<String, u64>;

#[test]
fn on_a_guarded_interface() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    counted_alike(POLICY, Class::Guarded)
}

#[test]
fn on_a_guarded_interface_of_a_router() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    counted_alike(&router(), Class::Guarded)
}

#[test]
fn on_a_container_bridge() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    counted_alike(POLICY, Class::Container)
}

#[test]
fn on_a_trusted_interface() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    counted_alike(POLICY, Class::Trusted)
}

fn counted_alike(policy: &str, class: Class) -> Result<()> {
    let packets = match env::var("OLLAMA_GUARD_WIRE_PACKETS") {
        Ok(count) => count.parse().context("OLLAMA_GUARD_WIRE_PACKETS is not a number")?,
        Err(_) => 300,
    };
    let seed = UNIX_EPOCH.elapsed()?.as_secs();
    let (mut random, addresses, mut frame) = (Random::new(seed), Addresses::of(&NETWORK), Vec::new());
    Stand::run_beside(|stand, far| {
        let model = stand.model(policy, class)?;
        let mut seatbelt = Seatbelt::open(TABLE)?;
        seatbelt.apply(model.ruleset())?;
        let wire = Wire::open(far, "far0")?;
        // What one processor sends arrives in order.
        let mut first = CpuSet::new();
        first.set(0)?;
        sched_setaffinity(Pid::from_raw(0), &first)?;

        // A datagram to another port, sent behind each frame: when it is received, the frame has met the rules. No two marks in
        // a row are the same: a frame may be a datagram to that port itself.
        let marker = Ipv4Addr::new(192, 0, 2, 9);
        let mark = |port| Packet::v4(MARK).udp().sent_from(port).with_v4(|header| header.source = marker).bytes();
        let marks = UdpSocket::bind((Ipv4Addr::new(192, 0, 2, 1), MARK))?;
        marks.set_read_timeout(Some(Duration::from_secs(10)))?;

        let (mut expected, mut sent) = (Counts::new(), 0);
        while sent < packets {
            generate::frame(&mut random, &addresses, &mut frame);
            if !(ETHERNET..9000).contains(&frame.len()) {
                continue;
            }
            seal(&mut frame);
            sent += 1;
            wire.send(&frame)?;
            let port = u16::try_from(1024 + sent % 50_000)?;
            wire.send(&mark(port))?;
            let behind = SocketAddr::from((marker, port));
            while marks.recv_from(&mut [0; 64]).context("the mark does not arrive")?.1 != behind {}
            let now = counts(&mut seatbelt)?;
            let mut counted = expected.clone();
            let is_certain = model.seen(&frame).is_none_or(|seen| {
                seen.is_certain && seen.facts.transport != LaterFragment && seen.oddity != Some(Oddity::Nested)
            });
            if let Some(counter) = counter(&model, &frame) {
                *counted.entry(counter).or_default() += 1;
            }
            ensure!(
                now == counted || !is_certain && now == expected,
                "seed {seed}, frame {sent} {:?}\n{:?}\ncounted {now:?}\nexpected {counted:?}",
                Frame(frame.clone()),
                model.seen(&frame),
            );
            expected = now;
        }
        println!("{class}, seed {seed}: {sent} frames, {expected:?}");
        ensure!(!expected.is_empty(), "nothing was counted");
        seatbelt.remove()?;
        Ok(())
    })
}

/// Which counter of prerouting a frame moves.
fn counter(model: &Model, frame: &[u8]) -> Option<String> {
    let facts: PacketFacts = model.seen(frame)?.facts;
    let counter = model.ruleset().trace(&facts).iter().find_map(|rule| rule.counter)?;
    Some(counter.to_string())
}

/// What prerouting has counted. What it passes meets the other hooks, if the kernel takes it.
fn counts(seatbelt: &mut Seatbelt) -> Result<Counts> {
    let counters = seatbelt.status()?.counters.into_iter().filter(|(name, _)| name.starts_with("prerouting_"));
    Ok(counters.map(|(name, count)| (name, count.packets)).filter(|(_, packets)| *packets > 0).collect())
}

/// The right checksum, where an IPv4 header is.
fn seal(frame: &mut [u8]) {
    let mut at = 12;
    while matches!(frame.get(at..at + 2), Some([0x81, 0x00] | [0x88, 0xa8])) {
        at += 4;
    }
    let length = frame.get(at + 2).map_or(0, |first| usize::from(first & 15) * 4);
    if frame.get(at..at + 2) == Some(&[0x08, 0x00]) && length >= 20 && frame.len() >= at + 2 + length {
        seal_v4(&mut frame[at + 2..]);
    }
}
