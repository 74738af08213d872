//! How much may be written to the log: a flood of invented sources must not fill the journal.

use std::time::Duration;

/// Lines at once, after a calm time.
pub(super) const BURST: u32 = 200;
/// Lines a second in the long run.
pub(super) const RATE: u32 = 5;
/// How often it is said what was held back.
const SUMMARY: Duration = Duration::from_secs(10);

/// A token bucket, and what it refused.
#[derive(Debug)]
pub(super) struct Allowance {
    /// In thousandths of a line.
    tokens: u64,
    filled: Duration,
    held_back: HeldBack,
    told: Duration,
}

/// What was not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HeldBack {
    /// Lines.
    pub(super) lines: u64,
    /// Packets they would have told of.
    pub(super) packets: u64,
}

impl Allowance {
    /// Full, at this time.
    pub(super) fn new(now: Duration) -> Self {
        Self { tokens: u64::from(BURST) * 1000, filled: now, held_back: HeldBack::default(), told: now }
    }

    /// May a line about this many packets be written? One that may not is remembered.
    pub(super) fn take(&mut self, now: Duration, packets: u64) -> bool {
        let passed = now.saturating_sub(self.filled).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        self.filled = self.filled.max(now);
        let more = passed.saturating_mul(RATE.into());
        self.tokens = self.tokens.saturating_add(more).min(u64::from(BURST) * 1000);
        if let Some(left) = self.tokens.checked_sub(1000) {
            self.tokens = left;
            return true;
        }
        if self.held_back == HeldBack::default() {
            self.told = now;
        }
        self.held_back.lines += 1;
        self.held_back.packets += packets;
        false
    }

    /// What was held back, if it is time to say so.
    pub(super) fn summary(&mut self, now: Duration) -> Option<HeldBack> {
        if self.held_back == HeldBack::default() || now.saturating_sub(self.told) < SUMMARY {
            return None;
        }
        self.told = now;
        Some(std::mem::take(&mut self.held_back))
    }

    /// Is there something to say later?
    pub(super) fn is_silent(&self) -> bool {
        self.held_back == HeldBack::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_a_bounded_number_of_lines_and_says_what_is_missing() {
        let start = Duration::from_secs(100);
        let mut allowance = Allowance::new(start);
        let (mut lines, mut summaries) = (0_u32, HeldBack::default());
        for milli in 0..60_000_u64 {
            let now = start + Duration::from_millis(milli);
            lines += u32::from(allowance.take(now, 2));
            if let Some(held) = allowance.summary(now) {
                summaries.lines += held.lines;
                summaries.packets += held.packets;
            }
        }
        assert!((BURST + RATE * 59..=BURST + RATE * 60).contains(&lines), "{lines}");
        let last = allowance.summary(start + Duration::from_mins(2)).unwrap_or_default();
        assert_eq!(u64::from(lines) + summaries.lines + last.lines, 60_000);
        assert_eq!(summaries.packets + last.packets, 2 * (60_000 - u64::from(lines)));
        assert!(allowance.is_silent() && allowance.summary(start + Duration::from_mins(5)).is_none());
    }
}
