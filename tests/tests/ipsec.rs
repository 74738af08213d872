//! `IPsec` without an interface of its own: what comes out of ESP (RFC 4303) has arrived on the interface that carried it,
//! which is guarded. Runs in the virtual machines too (`cargo xtask test --vm`): not every kernel has ESP.

use std::net::IpAddr;

use anyhow::{Context, Result};
use tests::claims::{Attempt, answers, attempts, silent};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::netns::Netns;
use tests::topology::{Side, World};
use tests::{for_each_arrangement, require, requires};

const PORT: u16 = 11434;
const OTHER: u16 = 8080;
const CIPHER: [&str; 6] = ["enc", "cbc(aes)", KEY, "auth", "hmac(sha256)", KEY];
const KEY: &str = "0x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

for_each_arrangement!(transport, tunnel);

fn transport(layers: Layers) -> Result<()> {
    // Decrypted packets meet netfilter, but neither XDP nor TC (xfrm4_transport_finish).
    holds(layers, "transport", &[Layers::Xdp, Layers::Tc])
}

fn tunnel(layers: Layers) -> Result<()> {
    // They arrive once more (netif_rx in xfrm_input), behind the driver.
    holds(layers, "tunnel", &[Layers::Xdp])
}

/// `blind`: arrangements that do not see what comes out of ESP.
fn holds(layers: Layers, mode: &str, blind: &[Layers]) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    if !has_esp(&internet.ns)? {
        println!("this kernel has no ESP");
        return Ok(());
    }
    associate(&world.guard, &internet, mode, &internet.own.both())?;
    associate(&internet.ns, &internet, mode, &internet.guard.both())?;
    let (listener, _other) = (Listener::http(&world.guard, PORT)?, Listener::http(&world.guard, OTHER)?);
    let (strangers, friends): (Vec<Attempt<'_>>, _) = (attempts([&internet]), attempts([&lan]));
    // Without ESP they get no answer: the policies want it.
    answers(PORT, &strangers).context("an unguarded host")?;

    let _guard = Guard::start(&world.guard, &layers.policy("[interfaces]\ntrusted = [\"lo\", \"lan0\"]"))?;
    if blind.contains(&layers) {
        answers(PORT, &strangers).context("a layer that cannot know of this")?;
    } else {
        silent(&listener, PORT, &strangers)?;
    }
    answers(OTHER, &strangers).context("another port")?;
    answers(PORT, &friends)
}

/// Tried with an association that nobody uses.
fn has_esp(ns: &Netns) -> Result<bool> {
    let unused = ["src", "192.0.2.1", "dst", "192.0.2.2", "proto", "esp", "spi", "0x1", "mode", "transport"];
    Ok(ns.output("ip", &[&["xfrm", "state", "add"], &unused[..], &CIPHER].concat())?.status.success())
}

/// Gives one end of the link associations in both directions, and policies by which whatever goes to and comes from
/// `peers` is wrapped.
fn associate(ns: &Netns, side: &Side, mode: &str, peers: &[IpAddr]) -> Result<()> {
    for (near, far) in side.guard.both().into_iter().zip(side.own.both()) {
        let is_peer = peers.contains(&far);
        for (spi, source, destination, from_peer) in [("0x101", far, near, is_peer), ("0x102", near, far, !is_peer)] {
            let direction = if from_peer { "in" } else { "out" };
            let ends = ["src", &source.to_string(), "dst", &destination.to_string()];
            let esp = ["proto", "esp", "reqid", "1", "mode", mode];
            let state = [&["xfrm", "state", "add"], &ends[..], &esp[..2], &["spi", spi], &esp[2..], &CIPHER].concat();
            // Neighbours have to be found in the open.
            let which = ["proto", "6", "dir", direction, "tmpl"];
            let policy = [&["xfrm", "policy", "add"], &ends[..], &which, &ends, &esp].concat();
            ns.run("ip", &state)?;
            ns.run("ip", &policy)?;
        }
    }
    Ok(())
}
