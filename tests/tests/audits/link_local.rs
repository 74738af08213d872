//! **Past the bridge.** A bridge hands frames to 01:80:c2:00:00:00 to 0f up as received by the port, not by the bridge (STP and
//! LLDP need that: `br_handle_frame`, `net/bridge/br_input.c`), and so does a team, and a bond on an inactive member (suite
//! `devices`). IP takes them like any others: a datagram in such a frame reaches a UDP service, and a guard that looks at
//! bridges only never sees it. TCP wants frames to the host alone (`tcp_v4_rcv`). A member with a trusted name is trusted here
//! too: nftables knows nothing but that name.

use std::time::Duration;

use anyhow::{Context, Result};
use tests::frames::Wire;
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::{Listener, UdpEcho};
use tests::netns::Netns;
use tests::packet::{Extension, Fragment, Packet, Tag};
use tests::probe::{self, Outcome};
use tests::topology::World;
use tests::{require, requires, wait};

use crate::harness::frames::{Aim, Frames, MAC, Variant};
use crate::harness::{PORT, audits};

audits!(link_local);

const fn address(last: u8) -> [u8; 6] {
    [0x01, 0x80, 0xc2, 0, 0, last]
}

fn v4(aim: Aim, last: u8) -> Packet {
    Packet { to: address(last), ..aim.v4().udp() }
}

fn v6(aim: Aim, last: u8) -> Packet {
    Packet { to: address(last), ..aim.v6().udp() }
}

fn link_local(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    Frames::new(vec![
        Variant::new("LLDP", |aim| vec![v4(aim, 0x0e).bytes()]).unanswered(),
        Variant::new("LLDP, IPv6", |aim| vec![v6(aim, 0x0e).bytes()]).unanswered(),
        Variant::new("slow protocols", |aim| vec![v4(aim, 2).bytes()]).unanswered(),
        Variant::new("port access, IPv6", |aim| vec![v6(aim, 3).bytes()]).unanswered(),
        Variant::new("the last one", |aim| vec![v4(aim, 0x0f).bytes()]).unanswered(),
        Variant::new("the last one, with a priority", |aim| vec![v4(aim, 0x0f).tagged(&[Tag::priority(3)]).bytes()])
            .unanswered(),
        Variant::new("behind options", |aim| vec![v4(aim, 0x0e).with_v4(|header| header.options = 3).bytes()])
            .unanswered(),
        Variant::new("behind an atomic fragment header", |aim| {
            vec![v6(aim, 0x0e).behind(&[Extension::Fragment(Fragment::WHOLE)]).bytes()]
        })
        .unanswered(),
        Variant::new("pause frames", |aim| vec![v4(aim, 1).bytes()])
            .refused_by_the_kernel("no bridge forwards them, or hands them up"),
        Variant::new("the same from a VLAN that is not there", |aim| vec![v4(aim, 0x0e).tagged(&[Tag::q(7)]).bytes()])
            .refused_by_the_kernel("it is for another host"),
    ])
    .udp()
    // The addresses stay on the member: nothing has to be answered.
    .after("link add brINTERFACE type bridge\nlink set brINTERFACE up\nlink set INTERFACE master brINTERFACE")
    .run(layers)
}

/// What a member refused is in its row, once, and nothing else is: not what goes through the bridge, nor to it.
#[test]
fn a_members_row_tells_of_what_its_bridge_never_saw() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let lan = world.lan()?;
    let host = &world.guard;
    host.ip("link add br0 type bridge\nlink set br0 up\naddress add 10.66.0.1/24 dev br0")?;
    let sides = [Netns::new("left")?, Netns::new("right")?];
    for (side, number) in sides.iter().zip(2..) {
        host.ip(&format!(
            "link add port{number} type veth peer name eth0 netns {}\nlink set port{number} master br0 up",
            side.name()
        ))?;
        side.ip(&format!("link set eth0 up\naddress add 10.66.0.{number}/24 dev eth0"))?;
    }
    let [left, right] = &sides;
    let (echo, theirs) = (UdpEcho::start(host, PORT)?, UdpEcho::start(right, PORT)?);
    let service = format!("[[service]]\nname = \"x\"\nports = [{PORT}]\nprotocols = [\"udp\"]\n");
    let mut guard = Guard::start(host, &Layers::Tc.policy(&format!("{service}{}", crate::harness::TRUSTED)))?;
    if guard.interface("lan0")?["hook"] != "tcx" {
        return Ok(()); // Before TCX veths in a bridge have no program: nftables has to do.
    }
    let packets = |name: &str| anyhow::Ok(guard.interface(name)?["dropped_packets"].as_u64());

    assert_eq!(probe::udp(left, "10.66.0.3".parse::<std::net::Ipv4Addr>()?, PORT)?, Outcome::Open("hello".into()));
    assert_eq!(probe::udp(left, "10.66.0.1".parse::<std::net::Ipv4Addr>()?, PORT)?, Outcome::Silent);
    assert_eq!((packets("port2")?, packets("br0")?), (Some(0), Some(1)));
    let mut frame = Packet { to: address(0x0e), ..Packet::v4(PORT).udp() };
    frame = frame.with_v4(|header| header.destination = [10, 66, 0, 1].into());
    let wire = Wire::open(left, "eth0")?;
    (0..3).try_for_each(|_| wire.send(&frame.bytes()))?;
    wait::until("the drops", Duration::from_secs(5), || packets("port2").is_ok_and(|packets| packets == Some(3)))?;
    assert_eq!((packets("port3")?, packets("br0")?), (Some(0), Some(1)));
    assert_eq!((echo.witness.seen().len(), theirs.witness.seen().len()), (0, 1));
    let row = guard.interface("port2")?;
    assert_eq!((&row["hook"], &row["hook_reason"]), (&"none".into(), &"in br0".into()));
    let table = String::from_utf8(guard.command(&["status", "--all"])?.stdout)?;
    let line = table.lines().find(|line| line.starts_with("port2")).context("no row of port2")?;
    assert!(line.contains(" 3 ") && line.contains(" in br0 "), "{line}");

    // Out of the bridge it is an interface like any other; back in it, a member again.
    host.ip("link set port2 nomaster")?;
    guard.interface_when("port2", "judged itself", |row| row["hook"] == "tcx")?;
    host.ip("link set port2 master br0")?;
    guard.interface_when("port2", "a member", |row| row["hook"] == "none")?;
    assert_eq!(probe::udp(left, "10.66.0.3".parse::<std::net::Ipv4Addr>()?, PORT)?, Outcome::Open("hello".into()));
    wire.send(&frame.bytes())?;
    wait::until("one more", Duration::from_secs(5), || packets("port2").is_ok_and(|packets| packets == Some(4)))?;

    // Moved away, as an engine moves the veths of a container, it carries nothing of ours along.
    let away = Netns::new("away")?;
    away.ip(&format!("link set lo up\naddress add {}/32 dev lo", lan.guard.v4))?;
    let listener = Listener::http(&away, PORT)?;
    host.ip(&format!("link set port2 netns {}", away.name()))?;
    away.ip("link set port2 up\naddress add 10.66.0.1/24 dev port2")?;
    away.ip(&format!("link set port2 address {MAC}"))?;
    wait::until("our link to be gone", Duration::from_secs(10), || {
        probe::http(left, "10.66.0.1".parse::<std::net::Ipv4Addr>().unwrap_or([0; 4].into()), PORT)
            .is_ok_and(|outcome| outcome.is_open())
    })?;
    drop(listener);
    guard.down()
}
