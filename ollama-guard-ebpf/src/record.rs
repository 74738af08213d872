//! The one exit: counts a packet, says who sent it, and returns the verdict.

use core::arch::asm;
use core::ptr::addr_of_mut;

use aya_ebpf::maps::LruHashMap;
use ollama_guard_common::abi::{
    Counter, Gate, InterfaceCounters, LastDrop, SEATS, ServiceIndex, SourceCounters, SourceKey,
};
use ollama_guard_common::{Address, Decision, Fate, Packet, Policy, Suspect, Verdict, is_ours, judge};

use crate::bounds::opaque;
use crate::gate::{self, Met};
use crate::maps::{CLIENTS, GATE, INTERFACES, INTERFACES_UNSEATED};

/// `BPF_NOEXIST`, `include/uapi/linux/bpf.h`.
const NO_EXIST: u64 = 1;

/// Where a packet is counted. Opened before the packet is judged: what is known of it by then would have to be saved from
/// each call. No field is ever undefined, as fields of an absent structure would be: old verifiers follow the way on which
/// a map has no entry, and refuse to see such a register saved.
struct Books<'a> {
    gate: Option<&'a mut Gate>,
    interface: Option<&'a mut InterfaceCounters>,
    now: u64,
}

impl Books<'_> {
    #[inline(always)]
    fn open(interface: u32) -> Self {
        // SAFETY: both are this CPU's own, and map entries live as long as the program runs.
        let mut gate = GATE.get_ptr_mut(0).map(|gate| unsafe { &mut *gate });
        let now = gate.as_mut().map_or(0, |gate| gate::now(gate));
        // SAFETY: as above.
        Self { gate, interface: counters(interface).map(|counters| unsafe { &mut *counters }), now }
    }
}

/// What became of a packet, as a number that a function can return. What is left to do is done where it returns to: a
/// chain of calls has 512 bytes of stack.
#[derive(Clone, Copy)]
pub(crate) struct Conclusion(u64);

impl Conclusion {
    /// It passes, and nobody counts it.
    const NOT_OURS: Self = Self(0);
    const DROP: u64 = 1 << 0;
    const TELL: u64 = 1 << 1;
    const OUTCOME: u32 = 8;
    const BYTES: u32 = 32;

    #[inline(always)]
    fn new(decision: &Decision, tell: bool, size: Counter) -> Self {
        let drop = if decision.verdict() == Verdict::Drop { Self::DROP } else { 0 };
        let tell = if tell { Self::TELL } else { 0 };
        Self(drop | tell | (decision.outcome as u64) << Self::OUTCOME | size.bytes << Self::BYTES)
    }

    /// The number of [`Self::to_bits`].
    #[inline(always)]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// What a function returns.
    #[inline(always)]
    pub(crate) const fn to_bits(self) -> u64 {
        self.0
    }

    /// Does the packet end here?
    #[inline(always)]
    pub(crate) const fn drops(self) -> bool {
        self.0 & Self::DROP != 0
    }

    /// The outcome, if the source is new or an event of it is due: see [`crate::events::tell`].
    #[inline(always)]
    pub(crate) const fn to_tell(self) -> Option<u64> {
        if self.0 & Self::TELL == 0 { None } else { Some(self.0 >> Self::OUTCOME & 0xff) }
    }

    /// The packet's length.
    #[inline(always)]
    pub(crate) const fn bytes(self) -> u64 {
        self.0 >> Self::BYTES
    }
}

/// Judges a packet, which counts for `size`, and counts it.
#[inline(always)]
pub(crate) fn conclude<P: Packet, R: Policy>(
    packet: &P,
    rules: &R,
    suspect: Suspect,
    interface: u32,
    size: Counter,
) -> Conclusion {
    if !is_ours(rules, packet, suspect) {
        return Conclusion::NOT_OURS;
    }
    let books = Books::open(interface);
    let decision = judge(rules, packet, suspect);
    #[cfg(feature = "debug-log")]
    crate::debug::tell(&decision, interface);
    Conclusion::new(&decision, record(books, &decision, interface, size), size)
}

/// True if there is something to tell of its source.
#[inline(always)]
fn record(books: Books<'_>, decision: &Decision, interface: u32, size: Counter) -> bool {
    // The gate is always there, and the loader has made room for the interface; the verifier wants to see the questions.
    let Books { gate: Some(gate), interface: Some(counters), now } = books else { return false };
    let Decision { outcome, service, source } = *decision;
    // Totals before sources, so that a reader who takes them in the other order never finds a negative rest.
    let outcomes = &mut counters.counters[usize::from(service.get())];
    let Some(slot) = outcomes.get_mut(opaque(outcome as usize)) else { return false };
    slot.packets += size.packets;
    slot.bytes += size.bytes;
    let key = key(source, interface, service, outcome.fate());
    let more = SourceCounters { counter: size, last_seen: now };
    if matches!(outcome.fate(), Fate::Passed) {
        if source.family != 0 && attribute(&CLIENTS, &key, &more) {
            gate.entered += 1;
        }
        return false;
    }
    let met = if source.family == 0 { Met::Nobody } else { gate::meet(gate, &key, &more) };
    // When a known source was last seen tells when its last was refused. Of a flood, one a tick is enough.
    let is_told = met == Met::Known || met == Met::Stranger && counters.last_drop.at == now;
    if !is_told {
        counters.last_drop = LastDrop { at: now, source: source.words, family: source.family, reserved: 0 };
    }
    met == Met::Tell
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
pub(crate) fn key(source: Address, interface: u32, service: ServiceIndex, fate: Fate) -> SourceKey {
    SourceKey {
        address: source.words,
        interface,
        family: source.family as u8,
        service: service.get(),
        fate: fate as u8,
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
