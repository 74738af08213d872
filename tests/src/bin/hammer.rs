//! Runs the classifier against etherparse on generated frames for a time, and says how many there were.
//!
//! `hammer SECONDS [SEED]`

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tests::fuzz::{classifier, generate};

/// How many frames between two looks at the clock.
const ROUND: u64 = 1 << 20;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().context("usage: hammer SECONDS [SEED]")?.parse()?;
    let now = || std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_secs());
    let seed = arguments.next().map_or_else(|| Ok(now()), |seed| seed.parse())?;
    let mut random = generate::Random::new(seed);
    let (start, mut frames, mut frame) = (Instant::now(), 0_u64, Vec::new());
    while start.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..ROUND {
            generate::frame(&mut random, &mut frame);
            let outcome = std::panic::catch_unwind(|| classifier::check(&frame));
            if outcome.is_err() {
                let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
                anyhow::bail!("seed {seed}, after {frames} frames: {hex}");
            }
        }
        frames += ROUND;
    }
    println!("seed {seed}: {frames} frames in {:?}, no disagreement", start.elapsed());
    Ok(())
}
