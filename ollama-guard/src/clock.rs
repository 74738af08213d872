//! The one clock of ages: time since boot, suspend included, whatever becomes of the date.
//!
//! The kernel programs stamp with the same clock (`bpf_ktime_get_boot_ns`), so that ages are right across a suspend and
//! where the date is set only after the daemon has started. In a time namespace with an offset of its own
//! (`time_namespaces`(7)) user space reads another clock than the programs, and ages are off by that offset.

use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

/// Now: `CLOCK_BOOTTIME`.
pub fn boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Since then.
pub fn age(then: Duration) -> Duration {
    boot().saturating_sub(then)
}

/// The date of a moment, by what is believed of the date now.
pub fn date(then: Duration) -> SystemTime {
    let now = SystemTime::now();
    now.checked_sub(age(then)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use nix::time::ClockId;

    use super::*;

    #[test]
    fn ages_do_not_depend_on_the_date() {
        let then = boot();
        assert!(age(then) < Duration::from_mins(1) && age(then + Duration::from_hours(1)) == Duration::ZERO);
        let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert!(seconds(SystemTime::now()).abs_diff(seconds(date(then))) < 60);
        let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap();
        assert!(boot() >= monotonic, "suspend counts");
    }
}
