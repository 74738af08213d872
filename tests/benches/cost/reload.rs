//! What a reload costs with an allow-list as long as a country's: from the signal to the daemon's word that it is in force.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Result, ensure};
use tests::guard::Guard;
use tests::netns::Netns;

use crate::measure::Spread;
use crate::table::{Goal, Row};

const NETWORKS: u32 = 100_000;
const ROUNDS: u32 = 9;

/// The rows of the table.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let host = Netns::new("reload")?;
    host.ip("link add eth0 type veth peer name eth1\nlink set eth0 up\nlink set eth1 up")?;
    let start = Instant::now();
    let mut guard = Guard::managed(&host, &policy(0)?)?;
    let installed = milliseconds(start);
    let mut timed = |change: bool| -> Result<Spread> {
        let mut times = Vec::new();
        for round in 1..=ROUNDS {
            guard.configure(&policy(if change { round } else { 0 })?)?;
            let start = Instant::now();
            guard.reread_managed()?;
            times.push(milliseconds(start));
        }
        Ok(Spread::of(times))
    };
    let figure = |what: &str, spread, goal| Row::figure(what, spread, "ms", goal);
    let rows = vec![
        figure("first start", Spread::of([installed]), Goal::None),
        figure("reload, unchanged", timed(false)?, Goal::AtMost(50.0)),
        figure("reload, one network changed", timed(true)?, Goal::AtMost(600.0)),
    ];
    let refused = guard.log().lines().filter(|line| line.contains("was not reloaded")).count();
    ensure!(refused == 0, "{}", guard.log());
    Ok(rows)
}

/// No two networks touch, so that nothing is merged. The last one differs from round to round.
fn policy(round: u32) -> Result<String> {
    let mut text = String::from("[metrics]\nlisten = \"\"\n");
    for nth in 0..NETWORKS {
        let nth = if nth + 1 == NETWORKS { NETWORKS + round } else { nth };
        let [_, a, b, c] = (nth << 1).to_be_bytes();
        writeln!(text, "[[allow]]\nsource = \"{}.{b}.{c}.0/24\"", 20 + a)?;
    }
    Ok(text)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
