//! Timing on a machine that does other things too: contenders take turns, and only what happened in the same round is
//! compared.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// One thing to time.
pub(crate) struct Contender<'a> {
    /// For the table.
    pub(crate) name: String,
    /// Works once and says what a packet cost, in nanoseconds.
    pub(crate) work: Box<dyn FnMut() -> Result<f64> + Send + 'a>,
}

/// Median and quartiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// A quarter of the samples is below.
    pub(crate) low: f64,
    /// Half of them.
    pub(crate) median: f64,
    /// Three quarters of them.
    pub(crate) high: f64,
}

impl Spread {
    /// Of at least one sample.
    pub(crate) fn of(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |quarter: usize| {
            sorted.get((sorted.len().saturating_sub(1) * quarter + 2) / 4).copied().unwrap_or(f64::NAN)
        };
        Self { low: at(1), median: at(2), high: at(3) }
    }
}

/// Samples by contender, in the order of the contenders.
pub(crate) struct Samples(Vec<(String, Vec<f64>)>);

impl Samples {
    /// One contender's cost.
    pub(crate) fn cost(&self, name: &str) -> Result<Spread> {
        Ok(Spread::of(self.get(name)?.iter().copied()))
    }

    /// One contender's cost over another's, round by round.
    pub(crate) fn ratio(&self, name: &str, against: &str) -> Result<Spread> {
        let pairs = self.get(name)?.iter().zip(self.get(against)?);
        Ok(Spread::of(pairs.map(|(cost, base)| cost / base)))
    }

    /// Every contender's name.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    fn get(&self, name: &str) -> Result<&[f64]> {
        let found = self.0.iter().find(|(other, _)| other == name);
        Ok(&found.with_context(|| format!("no contender is called {name}"))?.1)
    }
}

/// Lets the contenders work in turns, after one round to warm up.
pub(crate) fn race(mut contenders: Vec<Contender<'_>>, rounds: usize) -> Result<Samples> {
    let mut samples: Vec<(String, Vec<f64>)> = contenders.iter().map(|one| (one.name.clone(), Vec::new())).collect();
    for round in 0..=rounds {
        for (contender, (_, samples)) in contenders.iter_mut().zip(&mut samples) {
            let cost = (contender.work)().with_context(|| contender.name.clone())?;
            if round > 0 {
                samples.push(cost);
            }
        }
    }
    Ok(Samples(samples))
}

/// Keeps this thread, and what it starts from here on, on the last processor: the first one has most interrupts.
pub(crate) fn pin() -> Result<()> {
    let last = std::thread::available_parallelism()?.get() - 1;
    let mut set = CpuSet::new();
    set.set(last)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("staying on processor {last}"))
}

/// Time this thread worked: not while others had its processor.
pub(crate) fn busy<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let clock = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let start = clock()?;
    let done = work()?;
    Ok((done, clock()? - start))
}

/// Time that passed.
pub(crate) fn elapsed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    let done = work()?;
    Ok((done, start.elapsed()))
}
