//! **Somebody else's program in front of ours.** Several programs may sit at TC ingress. One that answers "accept" (`TCX_PASS`,
//! which is 0, what a careless program returns) ends the line: those behind it see nothing. Observability and mesh agents
//! attach such programs, and may do so in front of ours at any time; only root can. TC alone falls to it. XDP comes before
//! it, and nftables after it.

use anyhow::{Context, Result};
use tests::claims::{answers, attempts, silent};
use tests::layers::Layers;
use tests::listener::Listener;
use tests::prog_run::Foreign;
use tests::topology::World;
use tests::{require, requires};

use crate::harness::{OTHER, PORT, TRUSTED, audits, guard};

audits!(foreign_program);

fn foreign_program(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let (listener, _other) = (Listener::http(&world.guard, PORT)?, Listener::http(&world.guard, OTHER)?);
    let _guard = guard(&world.guard, layers, TRUSTED)?;
    silent(&listener, PORT, &attempts([&internet]))?;
    let accepting = world.guard.enter(|| Foreign::first_at_tcx("inet0"))??;
    if layers == Layers::Tc {
        answers(PORT, &attempts([&internet])).context("TC alone, behind a program that accepts")?;
    } else {
        silent(&listener, PORT, &attempts([&internet])).context("behind a program that accepts")?;
    }
    answers(PORT, &attempts([&lan]))?;
    answers(OTHER, &attempts([&internet]))?;
    drop(accepting);
    silent(&listener, PORT, &attempts([&internet]))
}
