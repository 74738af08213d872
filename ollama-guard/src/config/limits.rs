//! `[sources]`: bounds of the per-source counters.

use super::section::Section;
use crate::policy::SourceLimits;

/// The kernel allocates the table at once: a million entries is some hundred megabytes.
const MOST_TRACKED: u32 = 1 << 20;
/// Each exported source is several metric series that Prometheus keeps for weeks.
const MOST_EXPORTED: u32 = 10_000;

pub(super) fn read(mut section: Section<'_, '_>, limits: &mut SourceLimits) {
    let tracked = section.take("tracked");
    let why = "the kernel reserves memory for every entry at start";
    if let Some(number) = tracked.and_then(|field| field.integer(1..=MOST_TRACKED, why)) {
        limits.tracked = number;
        limits.exported = limits.exported.min(number);
    }
    if let Some(field) = section.take("exported")
        && let Some(number) = field.integer(0..=MOST_EXPORTED, "each is a metric series of its own")
    {
        if number > limits.tracked {
            let next = format!("use at most {0}, or raise `tracked` above {0}", limits.tracked);
            field.fault(format!("{number} is more than `tracked`, which is {}", limits.tracked), next);
        }
        limits.exported = number;
    }
    section.finish();
}
