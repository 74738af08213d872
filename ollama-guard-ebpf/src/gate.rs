//! The gate in front of the table of strangers, one per CPU: it counts who keeps sending, and keeps spoofed sources,
//! seen once, from costing a look-up. And the clock, which it keeps for a tick.

use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_boot_ns};
use ollama_guard_common::abi::{
    EVENT_INTERVAL, GATE_BURST, GATE_REFILL, GATE_SLOTS, GATE_WINDOW, Gate, PENDING_SLOTS, Pending, SourceCounters,
    SourceKey,
};

use crate::events;
use crate::maps::STRANGERS;
use crate::record::attribute;
use crate::rules::rule;

/// `CLOCK_BOOTTIME` in nanoseconds, at most a tick old. The tick is one load from memory, with no call.
#[inline(always)]
pub(crate) fn now(gate: &mut Gate) -> u64 {
    // SAFETY: takes nothing, returns a number.
    let tick = unsafe { bpf_jiffies64() };
    if gate.tick != tick {
        gate.tick = tick;
        // SAFETY: as above.
        gate.now = unsafe { bpf_ktime_get_boot_ns() };
    }
    gate.now
}

/// What is left to do for a refused packet's source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    /// Nothing: it is known, and counted.
    Known,
    /// Nothing: it stays unknown, because there are too many.
    Stranger,
    /// Nothing: the packet names none.
    Nobody,
    /// It is new, or known and an event is due: see [`events::tell`].
    Tell,
}

/// Adds to what is pending of a source, if it is the one in its slot.
#[inline(always)]
pub(crate) fn meet(gate: &mut Gate, key: &SourceKey, more: &SourceCounters) -> Met {
    let hash = mix(key);
    let pending = &mut gate.pending[hash as usize & (PENDING_SLOTS - 1)];
    if pending.key.is(key) {
        pending.counters.counter.packets += more.counter.packets;
        pending.counters.counter.bytes += more.counter.bytes;
        pending.counters.last_seen = more.last_seen;
        if more.last_seen.wrapping_sub(pending.event_due) < EVENT_INTERVAL { Met::Known } else { Met::Tell }
    } else if admits(gate, hash, more.last_seen) {
        Met::Tell
    } else {
        gate.events_lost += 1;
        Met::Stranger
    }
}

/// Takes a source into its slot, from which it displaces another into `strangers`, unless it is there. Returns the slot.
#[inline(always)]
pub(crate) fn admit(gate: &mut Gate, key: SourceKey, counters: SourceCounters) -> usize {
    let slot = mix(&key) as usize & (PENDING_SLOTS - 1);
    if !gate.pending[slot].key.is(&key) {
        displace(gate, slot, counters.last_seen);
        gate.stays += 1;
        let stay = gate.stays;
        gate.pending[slot] = Pending { key, counters, event_due: 0, told: 0, stay };
    }
    slot
}

/// Adds what is pending in a slot to `strangers`.
#[inline(always)]
fn displace(gate: &mut Gate, slot: usize, now: u64) {
    let pending = &gate.pending[slot & (PENDING_SLOTS - 1)];
    if pending.key.family != 0 {
        let untold = pending.told != 0 && pending.told != pending.counters.counter.packets;
        let new = attribute(&STRANGERS, &pending.key, &pending.counters);
        gate.entered += u64::from(new);
        if untold {
            events::tell_rest(gate, slot, now);
        }
    }
}

/// May this refused packet's source be looked up? Calm: always. In a flood: if it was the newest in its slot, so that
/// sources seen once cost no look-up and heavy ones are attributed.
#[inline(always)]
fn admits(gate: &mut Gate, hash: u64, now: u64) -> bool {
    let mark = (hash >> 32) as u32;
    let tag = &mut gate.tags[hash as usize & (GATE_SLOTS - 1)];
    if *tag == mark {
        return true;
    }
    *tag = mark;
    let since = now.wrapping_sub(gate.window);
    if since > GATE_WINDOW {
        gate.window = now;
        gate.admitted = gate.admitted.saturating_sub(since / GATE_WINDOW * GATE_REFILL);
    }
    let admitted = gate.admitted < GATE_BURST;
    gate.admitted += u64::from(admitted);
    admitted
}

/// A seeded hash whose low and high bits depend on the whole key.
#[inline(always)]
fn mix(key: &SourceKey) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let [a, b, c, d] = key.address;
    let outer = u64::from(rule!(seed)) ^ u64::from(key.interface);
    let prefix = (u64::from(a) << 32 | u64::from(b)) ^ outer;
    let host = u64::from(c) << 32 | u64::from(d);
    let hash = (prefix.wrapping_mul(ODD) ^ host).wrapping_mul(ODD);
    hash ^ hash >> 29
}
