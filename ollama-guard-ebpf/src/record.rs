//! The one exit: counts a packet, says who sent it, and returns the verdict.

use core::arch::asm;
use core::ptr::addr_of_mut;

use aya_ebpf::maps::LruHashMap;
use ollama_guard_common::abi::{Counter, InterfaceCounters, LastDrop, SEATS, SourceCounters, SourceKey};
use ollama_guard_common::{Decision, Fate, Verdict};

use crate::bounds::opaque;
use crate::gate;
use crate::maps::{CLIENTS, GATE, INTERFACES, INTERFACES_UNSEATED};

/// `BPF_NOEXIST`, `include/uapi/linux/bpf.h`.
const NO_EXIST: u64 = 1;

/// Counts what was decided about a packet, which counts for `size`, and gives the verdict. `tell` gets the source's hash and
/// the outcome if an event is due.
#[inline(always)]
pub(crate) fn conclude(
    decision: Decision,
    interface: u32,
    size: Counter,
    tell: impl FnOnce(u64, u64) -> u32,
) -> Verdict {
    let Decision { outcome, service, source } = decision;
    #[cfg(feature = "debug-log")]
    crate::debug::tell(&decision, interface);
    // An array of one entry always has it; the verifier wants to see the question.
    let Some(gate) = GATE.get_ptr_mut(0) else { return decision.verdict() };
    // SAFETY: the gate is this CPU's own, and map entries live as long as the program runs.
    let gate = unsafe { &mut *gate };
    let now = gate::now(gate);
    let refused = !matches!(outcome.fate(), Fate::Passed);
    // Totals before sources, so that a reader who takes them in the other order never finds a negative rest.
    if let Some(counters) = counters(interface) {
        // SAFETY: as above.
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
            let hash = gate::suspend(gate, key(&decision, interface), counters);
            if hash != gate::NOTHING_TO_TELL {
                tell(hash, outcome as u64);
            }
        } else if attribute(&CLIENTS, &key(&decision, interface), &counters) {
            gate.entered += 1;
        }
    }
    decision.verdict()
}

/// This CPU's counters of an interface: in its seat, else in the table for those whose seat is taken.
#[inline(always)]
fn counters(interface: u32) -> Option<*mut InterfaceCounters> {
    let seat = INTERFACES.get_ptr_mut(interface & (SEATS - 1))?;
    // SAFETY: as in `conclude`.
    if unsafe { (*seat).interface } == interface { Some(seat) } else { INTERFACES_UNSEATED.get_ptr_mut(interface) }
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
pub(crate) fn attribute(
    sources: &LruHashMap<SourceKey, SourceCounters>,
    key: &SourceKey,
    more: &SourceCounters,
) -> bool {
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
