//! When something does not last, as a repair that another program undoes: again at once a few times, then ever less
//! often, never give up.

use std::time::{Duration, Instant};

/// Tries made at once before the first pause.
const FREE: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After this long without a try it has lasted.
const PEACE: Duration = Duration::from_mins(1);

/// How often it was tried, and when last.
#[derive(Debug)]
pub(crate) struct Backoff {
    longest: Duration,
    recent: u32,
    last: Option<Instant>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(LONGEST_PAUSE)
    }
}

impl Backoff {
    /// Pauses of at most this long.
    pub(crate) const fn up_to(longest: Duration) -> Self {
        Self { longest, recent: 0, last: None }
    }

    /// How long the next try has to wait; `None`: not at all.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.last?);
        let step = self.recent.checked_sub(FREE)?;
        let pause = FIRST_PAUSE.saturating_mul(1 << step.min(16)).min(self.longest);
        pause.checked_sub(since).filter(|left| !left.is_zero())
    }

    /// A try was made.
    pub(crate) fn record(&mut self, now: Instant) {
        let peace = self.last.is_none_or(|last| now.saturating_duration_since(last) > PEACE);
        self.recent = if peace { 1 } else { self.recent.saturating_add(1) };
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_tries_are_free_then_they_are_rare_then_it_is_forgotten() {
        let mut backoff = Backoff::default();
        let start = Instant::now();
        for _ in 0..FREE {
            assert_eq!(backoff.wait(start), None);
            backoff.record(start);
        }
        assert_eq!(backoff.wait(start), Some(FIRST_PAUSE));
        assert_eq!(backoff.wait(start + FIRST_PAUSE), None);
        for _ in 0..20 {
            backoff.record(start);
        }
        assert_eq!(backoff.wait(start), Some(LONGEST_PAUSE));
        let later = start + PEACE + Duration::from_secs(1);
        backoff.record(later);
        assert_eq!(backoff.wait(later), None);
    }
}
