//! Checks generated frames for a time, without a coverage to follow, and says how many there were.
//!
//! `hammer classifier|kernel SECONDS [SEED]`: against etherparse, or against the loaded kernel programs (as root).

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use ollama_guard::class::Class;
use tests::fuzz::generate::{self, Addresses, Random};
use tests::fuzz::{classifier, kernel};
use tests::stand::{NETWORK, Stand};

const USAGE: &str = "usage: hammer classifier|kernel SECONDS [SEED]";
/// How many frames between two looks at the clock.
const ROUND: u64 = 1 << 12;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, seconds, seed @ ..] = arguments.as_slice() else { bail!(USAGE) };
    let time = Duration::from_secs(seconds.parse().context(USAGE)?);
    let seed = match seed {
        [] => UNIX_EPOCH.elapsed()?.as_secs(),
        [seed, ..] => seed.parse().context(USAGE)?,
    };
    match target.as_str() {
        "classifier" => hammer(target, time, seed, &Addresses::default(), |frame| {
            catch_unwind(AssertUnwindSafe(|| classifier::check(frame))).map_err(|_| anyhow!("see above"))
        }),
        "kernel" => {
            let (policy, router) = (kernel::POLICY.to_owned(), kernel::router());
            let stands = [
                ("guarded interface", &policy, Class::Guarded),
                ("guarded interface of a router", &router, Class::Guarded),
                ("container bridge", &policy, Class::Container),
                ("trusted interface", &policy, Class::Trusted),
            ];
            (stands.into_iter().zip(seed..)).try_for_each(|((name, policy, class), seed)| {
                Stand::run(|stand| {
                    let (mut loaded, mut kinds) = (stand.load(policy, class)?, BTreeMap::<_, u64>::new());
                    hammer(&format!("kernel, {name}"), time / 4, seed, &Addresses::of(&NETWORK), |frame| {
                        *kinds.entry(kernel::check(&mut loaded, frame)?).or_default() += 1;
                        Ok(())
                    })?;
                    println!("nftables beside the eBPF layer: {kinds:?}");
                    Ok(())
                })
            })
        }
        _ => bail!(USAGE),
    }
}

fn hammer(
    what: &str,
    time: Duration,
    seed: u64,
    addresses: &Addresses,
    mut check: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut random = Random::new(seed);
    let (start, mut frames, mut frame) = (Instant::now(), 0_u64, Vec::new());
    while start.elapsed() < time {
        for _ in 0..ROUND {
            generate::frame(&mut random, addresses, &mut frame);
            check(&frame).with_context(|| format!("seed {seed}, after {frames} frames: {frame:02x?}"))?;
        }
        frames += ROUND;
    }
    println!("{what}, seed {seed}: {frames} frames in {:?}, no disagreement", start.elapsed());
    Ok(())
}
