//! The loaded programs of one policy, and what they count.

use anyhow::{Context, Result, ensure};
use ollama_guard_common::Outcome;
use ollama_guard_common::abi::{Counter, InterfaceCounters, SEATS, ServiceIndex};

use super::{Counted, Model, Way};
use crate::prog_run::{PerCpuMap, Program, Size};

/// The programs of one policy, and the model of them.
#[derive(Debug)]
pub struct Loaded {
    /// What must happen.
    pub model: Model,
    xdp: Program,
    tc: Program,
    layer3: Program,
    interfaces: PerCpuMap<InterfaceCounters>,
    before: Box<InterfaceCounters>,
    interface: u32,
}

impl Loaded {
    /// The programs in the order of [`Way::ALL`], and the map in which they count.
    pub(super) fn new(
        model: Model,
        [xdp, tc, layer3]: [Program; 3],
        interfaces: PerCpuMap<InterfaceCounters>,
        interface: u32,
    ) -> Result<Self> {
        let before = Box::new(zerocopy::FromZeros::new_zeroed());
        let mut loaded = Self { model, xdp, tc, layer3, interfaces, before, interface };
        loaded.before = loaded.sum()?;
        Ok(loaded)
    }

    /// Gives a program a frame. True if it passed; and what was counted.
    pub fn meet(&mut self, way: Way, frame: &[u8]) -> Result<(bool, Vec<Counted>)> {
        self.meet_merged(way, frame, 0)
    }

    /// The same with a frame that was merged from several, where the way lets the test say so.
    pub fn meet_merged(&mut self, way: Way, frame: &[u8], merged: u32) -> Result<(bool, Vec<Counted>)> {
        /// `TC_ACT_UNSPEC`: other programs may have their say.
        const UNSPEC: u32 = u32::MAX;
        let failed = || format!("giving {way:?} a frame of {} bytes", frame.len());
        let (verdict, [drop, pass]) = match way {
            Way::Xdp => (self.xdp.run_xdp(frame, self.interface, None), [1, 2]),
            Way::Tc => (self.tc.run_tc(frame, self.interface, merged), [2, UNSPEC]),
            Way::TcLayer3 => (self.layer3.run_tc(frame, self.interface, merged), [2, UNSPEC]),
        };
        let verdict = verdict.with_context(failed)?;
        ensure!(verdict == drop || verdict == pass, "{way:?} gave the verdict {verdict}");
        Ok((verdict == pass, self.counted()?))
    }

    /// Gives the XDP program a frame of which the first buffer holds `linear` bytes.
    pub fn meet_in_buffers(&mut self, frame: &[u8], linear: usize) -> Result<(bool, Vec<Counted>)> {
        let verdict = self.xdp.run_xdp(frame, self.interface, Some(linear))?;
        Ok((verdict == 2, self.counted()?))
    }

    /// How large the program for this way is.
    pub fn size(&self, way: Way) -> Result<Size> {
        match way {
            Way::Xdp => self.xdp.size(),
            Way::Tc => self.tc.size(),
            Way::TcLayer3 => self.layer3.size(),
        }
    }

    /// What was counted since the last call.
    pub fn counted(&mut self) -> Result<Vec<Counted>> {
        let after = self.sum()?;
        let mut changes = Vec::new();
        for (service, (before, after)) in (0..).zip(self.before.counters.iter().zip(&after.counters)) {
            for (outcome, (before, after)) in Outcome::ALL.into_iter().zip(before.iter().zip(after)) {
                let counter = Counter { packets: after.packets - before.packets, bytes: after.bytes - before.bytes };
                if counter != Counter::default() {
                    changes.push(Counted { service: ServiceIndex::new(service), outcome, counter });
                }
            }
        }
        self.before = after;
        Ok(changes)
    }

    fn sum(&mut self) -> Result<Box<InterfaceCounters>> {
        let mut sum: Box<InterfaceCounters> = Box::new(zerocopy::FromZeros::new_zeroed());
        for cpu in self.interfaces.get(self.interface % SEATS).context("no such seat")? {
            for (sum, one) in sum.counters.as_flattened_mut().iter_mut().zip(cpu.counters.as_flattened()) {
                sum.packets += one.packets;
                sum.bytes += one.bytes;
            }
        }
        Ok(sum)
    }
}
