//! Timing on a machine that does other things too: contenders take turns, and only what happened in the same round is
//! compared.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

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

/// The processor that is measured: the last one, because the first has most interrupts.
fn processor() -> Result<usize> {
    Ok(std::thread::available_parallelism()?.get() - 1)
}

/// Keeps this thread, and what it starts from here on, on one processor.
pub(crate) fn pin() -> Result<()> {
    let processor = processor()?;
    let mut set = CpuSet::new();
    set.set(processor)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("staying on processor {processor}"))
}

/// Time this thread worked: not while others had its processor.
pub(crate) fn busy<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let clock = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let start = clock()?;
    let done = work()?;
    Ok((done, clock()?.saturating_sub(start)))
}

/// Time this thread and its processor's kernel thread for network work did: what is left over when a softirq has run
/// for long goes there.
pub(crate) fn busy_with_softirq<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let path = ksoftirqd()?;
    let clock = || -> Result<Duration> {
        let text = fs::read_to_string(&path)?;
        let nanoseconds = text.split(' ').next().context("an empty schedstat")?.parse()?;
        Ok(Duration::from_nanos(nanoseconds))
    };
    let start = clock()?;
    let (done, own) = busy(work)?;
    Ok((done, own + clock()?.saturating_sub(start)))
}

/// `schedstat` of the kernel thread that runs this processor's softirqs.
fn ksoftirqd() -> Result<PathBuf> {
    let name = format!("ksoftirqd/{}", processor()?);
    let processes = fs::read_dir("/proc")?.flatten().map(|entry| entry.path());
    let mut named =
        processes.filter(|path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name));
    Ok(named.next().with_context(|| format!("no {name}"))?.join("schedstat"))
}
