//! The gate in front of the table of strangers, one per CPU: it counts who keeps sending, and keeps spoofed sources,
//! seen once, from costing a look-up. And the clock, which it keeps for a tick.

use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_ns};
use ollama_guard_common::abi::{
    EVENT_INTERVAL, GATE_BUDGET, GATE_SLOTS, GATE_WINDOW, Gate, PENDING_SLOTS, Pending, SourceCounters, SourceKey,
};

use crate::events;
use crate::maps::STRANGERS;
use crate::record::attribute;
use crate::rules::rule;

/// `CLOCK_MONOTONIC` in nanoseconds, at most a tick old. The tick is one load from memory, with no call.
#[inline(always)]
pub(crate) fn now(gate: &mut Gate) -> u64 {
    // SAFETY: takes nothing, returns a number.
    let tick = unsafe { bpf_jiffies64() };
    if gate.tick != tick {
        gate.tick = tick;
        // SAFETY: as above.
        gate.now = unsafe { bpf_ktime_get_ns() };
    }
    gate.now
}

/// No hash is that: see [`mix`].
pub(crate) const NOTHING_TO_TELL: u64 = 0;

/// Adds to what is pending of a source; to do so for one that is not, displaces another into `strangers`. Returns the
/// source's hash if an event is due.
#[inline(always)]
pub(crate) fn suspend(gate: &mut Gate, key: SourceKey, more: SourceCounters) -> u64 {
    let hash = mix(&key);
    let pending = &mut gate.pending[hash as usize & (PENDING_SLOTS - 1)];
    if pending.key.is(&key) {
        pending.counters.counter.packets += more.counter.packets;
        pending.counters.counter.bytes += more.counter.bytes;
        pending.counters.last_seen = more.last_seen;
        if more.last_seen.wrapping_sub(pending.event_due) < EVENT_INTERVAL { NOTHING_TO_TELL } else { hash }
    } else if admits(gate, hash, more.last_seen) {
        displace(gate, hash, more.last_seen);
        gate.stays += 1;
        let stay = gate.stays;
        gate.pending[hash as usize & (PENDING_SLOTS - 1)] =
            Pending { key, counters: more, event_due: 0, told: 0, stay };
        hash
    } else {
        gate.events_lost += 1;
        NOTHING_TO_TELL
    }
}

/// Adds what is pending in a slot to `strangers`.
#[inline(always)]
fn displace(gate: &mut Gate, hash: u64, now: u64) {
    let pending = &gate.pending[hash as usize & (PENDING_SLOTS - 1)];
    if pending.key.family != 0 {
        let untold = pending.told != 0 && pending.told != pending.counters.counter.packets;
        let new = attribute(&STRANGERS, &pending.key, &pending.counters);
        gate.entered += u64::from(new);
        if untold {
            events::tell_rest(hash, now);
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
    if now.wrapping_sub(gate.window) > GATE_WINDOW {
        gate.window = now;
        gate.admitted = 0;
    }
    let admitted = gate.admitted < GATE_BUDGET;
    gate.admitted += u64::from(admitted);
    admitted
}

/// A seeded hash whose low and high bits depend on the whole key; never zero.
#[inline(always)]
fn mix(key: &SourceKey) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let [a, b, c, d] = key.address;
    let outer = u64::from(rule!(seed)) ^ u64::from(key.interface);
    let prefix = (u64::from(a) << 32 | u64::from(b)) ^ outer;
    let host = u64::from(c) << 32 | u64::from(d);
    let hash = (prefix.wrapping_mul(ODD) ^ host).wrapping_mul(ODD);
    (hash ^ hash >> 29) | 1 << 20
}
