//! **A transparent proxy rule.** `tproxy to :11434` hands packets for another port to the socket on 11434 without changing
//! them (`Documentation/networking/tproxy.rst`). Only root can write the rule, and the program must ask for such packets
//! with `IP_TRANSPARENT`; Ollama does not. So the kernel itself refuses this detour to Ollama. To a program that does ask,
//! packets come under the port they were sent to, and nothing that looks at packets can tell: see docs/security.md.

use anyhow::{Result, ensure};
use tests::claims::{answers, attempts};
use tests::layers::Layers;
use tests::listener::Listener;
use tests::probe::{self, Outcome};
use tests::topology::World;
use tests::{require, requires};

use crate::harness::{OTHER, PORT, TRUSTED, audits, guard};

audits!(tproxy);

const RULES: &str = "table inet proxy { chain divert {
    type filter hook prerouting priority mangle;
    meta l4proto tcp tcp dport 8081 tproxy to :11434
}; }";

fn tproxy(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let (ollama, _other) = (Listener::http(&world.guard, PORT)?, Listener::http(&world.guard, OTHER)?);
    world.guard.nft(RULES)?;
    let detour = || -> Result<()> {
        for (from, address) in attempts([&internet, &lan]) {
            let outcome = probe::http(from, address, 8081)?;
            ensure!(matches!(outcome, Outcome::Silent | Outcome::Refused), "{address}: {outcome:?}");
        }
        Ok(())
    };
    detour()?;
    ensure!(ollama.accepted().is_empty());
    answers(PORT, &attempts([&internet]))?;

    let before = ollama.accepted().len();
    let _guard = guard(&world.guard, layers, TRUSTED)?;
    detour()?;
    tests::claims::silent(&ollama, PORT, &attempts([&internet]))?;
    ensure!(ollama.accepted().len() == before);
    answers(PORT, &attempts([&lan]))?;
    answers(OTHER, &attempts([&internet]))
}
