//! The one exit: counts a packet, says who sent it, and returns the verdict.

use core::arch::asm;
use core::ptr::addr_of_mut;

use aya_ebpf::helpers::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};
use aya_ebpf::maps::LruHashMap;
use ollama_guard_common::abi::{
    Counter, EVENT_INTERVAL, GATE_BUDGET, GATE_SLOTS, GATE_WINDOW, Gate, LastDrop, PENDING_SLOTS, Pending,
    SourceCounters, SourceKey,
};
use ollama_guard_common::{Decision, Fate, Packet, Suspect, Verdict};

use crate::bounds::opaque;
use crate::events;
use crate::maps::{CLIENTS, GATE, INTERFACES, STRANGERS};
use crate::rules::rule;

/// `BPF_NOEXIST`, `include/uapi/linux/bpf.h`.
const NO_EXIST: u64 = 1;

/// What was judged.
pub(crate) struct Seen<'a, P> {
    /// Its bytes.
    pub(crate) packet: &'a P,
    /// What the first look found.
    pub(crate) suspect: Suspect,
    /// What it counts for.
    pub(crate) size: Counter,
}

/// Counts what was decided and gives the verdict.
#[inline(always)]
pub(crate) fn conclude<P: Packet>(decision: Decision, interface: u32, seen: &Seen<'_, P>) -> Verdict {
    let Decision { outcome, service, source } = decision;
    let size = seen.size;
    let now = now();
    let refused = !matches!(outcome.fate(), Fate::Passed);
    // Totals before sources, so that a reader who takes them in the other order never finds a negative rest.
    if let Some(counters) = INTERFACES.get_ptr_mut(interface) {
        // SAFETY: the entry is this CPU's own, and map entries live as long as the program runs.
        let outcomes = unsafe { &mut (*counters).counters[usize::from(service.get())] };
        let Some(slot) = outcomes.get_mut(opaque(outcome as usize)) else { return decision.verdict() };
        slot.packets += size.packets;
        slot.bytes += size.bytes;
        if refused {
            let last = LastDrop { at: now, source: source.words, family: source.family, reserved: 0 };
            // SAFETY: as above.
            unsafe { (*counters).last_drop = last };
        }
    }
    if source.family != 0 {
        let counters = SourceCounters { counter: size, last_seen: now };
        if refused {
            let hash = suspend(key(&decision, interface), counters);
            if hash != NOTHING_TO_TELL {
                events::tell(hash, outcome, seen.packet, seen.suspect);
            }
        } else if attribute(&CLIENTS, &key(&decision, interface), &counters) {
            if let Some(gate) = GATE.get_ptr_mut(0) {
                // SAFETY: the gate is this CPU's own, and map entries live as long as the program runs.
                unsafe { (*gate).entered += 1 };
            }
        }
    }
    decision.verdict()
}

/// Made where it is needed: as long as nobody takes its address it lives in registers.
#[inline(always)]
fn key(decision: &Decision, interface: u32) -> SourceKey {
    SourceKey {
        address: decision.source.words,
        interface,
        family: decision.source.family as u8,
        service: decision.service.get(),
        fate: decision.outcome.fate() as u8,
        reserved: 0,
    }
}

/// Adds to a source's counters. A source evicted meanwhile loses this packet to "unattributed", which is the total
/// less the sum over sources, so that the sums still hold. True if the source is new.
#[inline(always)]
fn attribute(sources: &LruHashMap<SourceKey, SourceCounters>, key: &SourceKey, more: &SourceCounters) -> bool {
    if let Some(counters) = sources.get_ptr_mut(key) {
        // SAFETY: pointers into a live map entry; other CPUs add to it too, hence the atomics. The time stamp may
        // be written by several at once: each writes a right one.
        unsafe {
            add(addr_of_mut!((*counters).counter.packets), more.counter.packets);
            add(addr_of_mut!((*counters).counter.bytes), more.counter.bytes);
            addr_of_mut!((*counters).last_seen).write(more.last_seen);
        }
        return false;
    }
    // Another CPU may insert the same source first: then these packets stay unattributed.
    sources.insert(key, more, NO_EXIST).is_ok()
}

/// No hash is that: see [`mix`].
const NOTHING_TO_TELL: u64 = 0;

/// Adds to what is pending of a source; to do so for one that is not, displaces another into `strangers`. Returns the
/// source's hash if an event is due.
#[inline(always)]
fn suspend(key: SourceKey, more: SourceCounters) -> u64 {
    let Some(gate) = GATE.get_ptr_mut(0) else { return NOTHING_TO_TELL };
    // SAFETY: the gate is this CPU's own, and map entries live as long as the program runs.
    let gate = unsafe { &mut *gate };
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

/// Adds atomically without fetching: `BPF_XADD`, which every kernel has. Rust offers no atomic addition on this
/// target, and the fetching kind needs kernel 5.12.
///
/// # Safety
///
/// `to` points to a live, aligned counter.
#[inline(always)]
unsafe fn add(to: *mut u64, value: u64) {
    // SAFETY: the caller's; the instruction touches nothing else.
    unsafe { asm!("lock *(u64 *)({to} + 0) += {value}", to = in(reg) to, value = in(reg) value, options(nostack)) }
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

/// `CLOCK_MONOTONIC` in nanoseconds, to the tick where the kernel can: that is several times cheaper.
#[inline(always)]
fn now() -> u64 {
    if rule!(coarse_clock) != 0 {
        // SAFETY: takes nothing, returns a number.
        unsafe { bpf_ktime_get_coarse_ns() }
    } else {
        // SAFETY: as above.
        unsafe { bpf_ktime_get_ns() }
    }
}
