//! Somebody flushes all rules, while the daemon owns its table and after it died: then they are gone, and the programs
//! hold alone.

use anyhow::{Result, ensure};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::siege::{Siege, policy};
use tests::{require, requires};

use super::rounds;

#[test]
fn flushes() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("nft"));
    let siege = Siege::lay()?;
    let host = &siege.world.guard;
    let mut guard = Guard::managed(host, &policy(Layers::Both, ""))?;
    // Linux may lose a packet that is in a chain while somebody deletes its table, whatever the chain says: seen with tables
    // made by hand, about one of 200 flushes.
    let assault = siege.assault()?.forgiving();
    let rounds = rounds(3, 100);
    for _ in 0..rounds {
        host.nft("flush ruleset")?;
        assault.is_held()?;
        guard.kill()?;
        host.nft("flush ruleset")?;
        ensure!(host.run("nft", &["list", "ruleset"])?.is_empty(), "nobody owned the table any more");
        assault.is_held()?;
        guard.run()?;
        guard.enforces()?;
        assault.is_held()?;
    }
    let status = guard.status()?;
    ensure!(status["enforcing"] == true && status["seatbelt"]["installed"] == true, "{status:#}");
    assault.end(&format!("{rounds} flushes of a live guard's rules and as many of a dead one's"))
}
