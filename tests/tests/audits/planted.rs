//! **Rules planted in our own table.** The nftables table outlives the daemon, so that a crash opens nothing. While nobody
//! owns it, a program with root's rights (an installer, a firewall's script that "fixes" things) can add `accept` to it, or
//! put an interface into its set of trusted ones, and hope that the daemon comes back without looking. While the daemon
//! lives, the kernel refuses such edits (6.9 and later).

use anyhow::{Context, Result};
use tests::claims::{answers, attempts, silent};
use tests::layers::Layers;
use tests::listener::Listener;
use tests::topology::World;
use tests::{require, requires};

use crate::harness::{OTHER, PORT, TRUSTED, audits, guard};

audits!(planted);

const PLANTED: [&str; 2] = [
    "insert rule inet ollama_guard prerouting accept; insert rule inet ollama_guard input accept; \
     insert rule inet ollama_guard input_last accept",
    "add element inet ollama_guard trusted { \"inet0\" }",
];

fn planted(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let (listener, _other) = (Listener::http(&world.guard, PORT)?, Listener::http(&world.guard, OTHER)?);
    let mut guard = guard(&world.guard, layers, TRUSTED)?;
    for rules in PLANTED {
        let has_table = matches!(layers, Layers::Seatbelt | Layers::Both);
        guard.kill()?;
        silent(&listener, PORT, &attempts([&internet])).context("after kill -9")?;
        if has_table {
            world.guard.nft(rules)?;
        }
        match layers {
            Layers::Seatbelt => answers(PORT, &attempts([&internet])).context("planted in the only layer")?,
            _ => silent(&listener, PORT, &attempts([&internet])).context("planted, the other layer holds")?,
        }
        guard.restart()?;
        silent(&listener, PORT, &attempts([&internet])).context("the daemon is back")?;
        answers(PORT, &attempts([&lan]))?;
        answers(OTHER, &attempts([&internet]))?;
    }
    Ok(())
}
