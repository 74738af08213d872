//! **MPLS.** A router told to take a label off and hand the packet to itself (`ip -f mpls route add 100 dev lo`) sends it
//! over loopback: to every filter it has arrived there. That is a way around the guard which only root can open, and the
//! documentation says so. Runs in the virtual machines (`cargo xtask test --vm`): not every kernel has it.

use std::time::Duration;

use anyhow::Result;
use tests::frames::Wire;
use tests::guard::Guard;
use tests::listener::Listener;
use tests::packet::{ETHERNET, Network, Packet, V4};
use tests::topology::World;
use tests::{require, requires, wait};

const PORT: u16 = 11434;

#[test]
fn a_label_popped_onto_loopback_is_a_way_around() -> Result<()> {
    labelled(true)
}

#[test]
fn a_label_without_a_route_is_none() -> Result<()> {
    labelled(false)
}

fn labelled(is_popped: bool) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let internet = world.internet()?;
    if world.guard.sysctl("net.mpls.platform_labels", "1000").is_err() {
        println!("this kernel has no MPLS");
        return Ok(());
    }
    world.guard.sysctl("net.mpls.conf.inet0.input", "1")?;
    if is_popped {
        world.guard.run("ip", &["-f", "mpls", "route", "add", "100", "dev", "lo"])?;
    }
    let listener = Listener::http(&world.guard, PORT)?;
    let wire = Wire::open(&internet.ns, "eth0")?;
    let to = world.guard.mac("inet0")?;
    let network = Network::V4(V4::new(internet.own.v4, internet.guard.v4));
    let syn = |port: u16| Packet { to, network: network.clone(), ..Packet::v4(PORT) }.sent_from(port);
    // Label 100, the last one, 64 hops to go.
    let labelled =
        |port| [&syn(port).bytes()[..12], &[0x88, 0x47, 0, 6, 0x41, 64], &syn(port).bytes()[ETHERNET..]].concat();
    let arrives = |port: u16| {
        let seen = || listener.witness.seen().iter().any(|packet| packet.ports[0] == port);
        wait::until("the packet", Duration::from_secs(2), seen).is_ok()
    };
    wire.send(&syn(1000).bytes())?;
    assert!(arrives(1000), "an unguarded host");
    wire.send(&labelled(1001))?;
    assert_eq!(arrives(1001), is_popped, "an unguarded host, by MPLS");

    let _guard = Guard::start(&world.guard, "")?;
    wire.send(&syn(1002).bytes())?;
    wire.send(&labelled(1003))?;
    assert_eq!(arrives(1003), is_popped, "a guarded host, by MPLS");
    assert!(!arrives(1002), "a guarded host");
    Ok(())
}
