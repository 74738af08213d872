//! The daemon is killed while it works, and while it starts with another policy than the last one had.

use anyhow::Result;
use tests::guard::Guard;
use tests::layers::Layers;
use tests::siege::{Siege, policy_of_round};
use tests::{arrangement, require, requires};

use super::rounds;

arrangement!(xdp, Xdp, deaths);
arrangement!(tc, Tc, deaths);
arrangement!(seatbelt, Seatbelt, deaths);

fn deaths(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let siege = Siege::lay()?;
    let mut guard = Guard::managed(&siege.world.guard, &policy_of_round(layers, 0))?;
    let assault = siege.assault()?;
    let rounds = rounds(3, 200);
    for nth in 1..=rounds {
        guard.kill()?;
        assault.is_held()?;
        guard.configure(&policy_of_round(layers, nth))?;
        if nth % 2 == 0 {
            // Killed again, each time a little later in its start.
            guard.run()?;
            (0..nth % 32).try_for_each(|_| assault.flows())?;
            guard.kill()?;
            assault.is_held()?;
        }
        guard.run()?;
        guard.enforces()?;
        assault.is_held()?;
    }
    assault.end(&format!("{rounds} deaths, {layers:?}"))
}
