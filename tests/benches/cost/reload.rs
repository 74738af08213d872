//! What a reload costs with an allow-list as long as a country's: from the changed file to the kernel's confirmation.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ollama_guard::config::{self, lockout};
use ollama_guard::reconcile::Reconciler;
use tests::leftovers;
use tests::netns::Netns;

use crate::measure::Spread;
use crate::table::{Goal, Row};

const NETWORKS: u32 = 100_000;
const ROUNDS: u32 = 5;

/// The rows of the third table.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let host = Netns::new("reload")?;
    host.ip("link add eth0 type veth peer name eth1\nlink set eth0 up\nlink set eth1 up")?;
    let folder = leftovers::folder()?;
    let pins = std::path::PathBuf::from(leftovers::BPFFS).join(leftovers::unique_name("pins"));
    let file = folder.path().join("config.toml");
    let write = |last: u32| -> Result<()> {
        let mut text = format!("[paths]\nbpf = \"{}\"\nrun = \"{}\"\n", pins.display(), folder.path().display());
        for nth in 0..NETWORKS {
            // No two of them touch: nothing is merged. The last one differs from round to round.
            let nth = if nth + 1 == NETWORKS { NETWORKS + last } else { nth };
            let [_, a, b, c] = (nth << 1).to_be_bytes();
            writeln!(text, "[[allow]]\nsource = \"{}.{b}.{c}.0/24\"", 20 + a)?;
        }
        Ok(fs::write(&file, text)?)
    };
    let rows = host.enter(|| {
        write(0)?;
        let read = || config::load(Some(&file), lockout::listeners).map_err(|error| anyhow::anyhow!("{error}"));
        let start = Instant::now();
        let mut reconciler = Reconciler::new(read()?)?;
        let first = reconciler.pass()?;
        ensure!(first.failed == 0 && !first.seatbelt_failed, "{first:?}");
        let installed = start.elapsed();
        let mut timed = |change: bool, reload: bool| -> Result<Spread> {
            let mut times = Vec::new();
            for round in 1..=ROUNDS {
                if change {
                    write(round)?;
                }
                let start = Instant::now();
                if reload {
                    reconciler.set_policy(read()?)?;
                }
                let pass = reconciler.pass()?;
                times.push(start.elapsed());
                ensure!(pass.failed == 0 && !pass.seatbelt_failed && (pass.changed > 0) == change, "{pass:?}");
            }
            Ok(Spread::of(times.into_iter().map(milliseconds)))
        };
        let figure = |what: &str, spread, goal| Row::figure(what, spread, "ms", goal);
        let once = milliseconds(installed);
        Ok(vec![
            figure("first start", Spread { low: once, median: once, high: once }, Goal::None),
            figure("a pass that finds nothing to do", timed(false, false)?, Goal::AtMost(50.0)),
            figure("reload, unchanged", timed(false, true)?, Goal::AtMost(50.0)),
            figure("reload, one network changed", timed(true, true)?, Goal::AtMost(600.0)),
        ])
    });
    let _ = fs::remove_dir_all(&pins);
    rows.context("entering the namespace")?
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
