//! Tells the daemon of refused packets: of a source's first at once, then once a second.
//!
//! The packet path pays one comparison for it. What is told, and whether, is decided here, apart: by functions that are
//! called, so that they cost the way of the others neither registers nor stack.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::RingBuf;
use ollama_guard_common::abi::{
    Counter, EVENT_BUDGET, EVENT_BUDGET_NEW, EVENT_INTERVAL, EVENT_RING, Event, Gate, PENDING_SLOTS, SourceCounters,
};
use ollama_guard_common::{Address, Fate, Outcome, Packet, Protocol, Refusal, Suspect, destination, source};

use crate::gate;
use crate::maps::GATE;
use crate::record::key;
use crate::rules::rule;

/// `BPF_RB_NO_WAKEUP`, `include/uapi/linux/bpf.h`.
const NO_WAKE_UP: u64 = 1;

/// To the daemon. Full while there is none: then events are lost, and counted.
#[map(name = "events")]
static EVENTS: RingBuf = RingBuf::with_byte_size(EVENT_RING, 0);

/// What an event says besides who and how often.
struct Matter {
    destination: Address,
    port: u16,
    protocol: u8,
    outcome: u8,
}

/// Tells of a refused packet whose source is new, and admits that; or whose source is due, and has been counted already.
/// `suspect` is that of [`Suspect::to_bits`]. Returns nothing of interest; the verifier wants a number of a global function.
#[inline(always)]
pub(crate) fn tell<P: Packet>(packet: &P, interface: u32, suspect: u64, outcome: u64, size: Counter) -> u32 {
    let Some(gate) = GATE.get_ptr_mut(0) else { return 0 };
    // SAFETY: the gate is this CPU's own, and map entries live as long as the program runs.
    let gate = unsafe { &mut *gate };
    let suspect = Suspect::from_bits(suspect);
    let fate = if rule!(observe) == 0 { Fate::Dropped } else { Fate::WouldDrop };
    let key = key(source(packet, suspect), interface, suspect.service, fate);
    let slot = gate::admit(gate, key, SourceCounters { counter: size, last_seen: gate.now });
    let pending = &mut gate.pending[slot & (PENDING_SLOTS - 1)];
    let (now, new) = (pending.counters.last_seen, pending.event_due == 0);
    // Due again in a second, sent or not.
    pending.event_due = now;
    let matter = Matter {
        destination: destination(packet, suspect),
        port: suspect.port,
        protocol: suspect.protocol.map_or(0, Protocol::number),
        outcome: outcome as u8,
    };
    send(gate, slot, now, if new { EVENT_BUDGET_NEW } else { EVENT_BUDGET }, &matter);
    0
}

/// Tells what no event has told of a source that makes room for another.
#[inline(always)]
pub(crate) fn tell_rest(gate: &mut Gate, slot: usize, now: u64) {
    // Why each of them was refused is forgotten: the reader knows it of the one before.
    let observed = gate.pending[slot & (PENDING_SLOTS - 1)].key.fate == Fate::WouldDrop as u8;
    let outcome = Outcome::refused(Refusal::Untrusted, observed) as u8;
    send(gate, slot, now, EVENT_BUDGET, &Matter { destination: Address::UNKNOWN, port: 0, protocol: 0, outcome });
}

#[inline(always)]
fn send(gate: &mut Gate, slot: usize, now: u64, budget: u64, matter: &Matter) {
    if now.wrapping_sub(gate.second) >= EVENT_INTERVAL {
        gate.second = now;
        gate.events = 0;
    }
    let entry = if gate.events < budget { EVENTS.reserve::<Event>(0) } else { None };
    let Some(mut entry) = entry else {
        gate.events_lost += 1;
        return;
    };
    gate.events += 1;
    let pending = &mut gate.pending[slot & (PENDING_SLOTS - 1)];
    let seen = pending.counters.counter.packets;
    entry.write(Event {
        key: pending.key,
        at: pending.counters.last_seen,
        count: seen - pending.told,
        stay: pending.stay,
        seen,
        destination: matter.destination.words,
        // SAFETY: takes nothing, returns a number.
        cpu: unsafe { bpf_get_smp_processor_id() },
        port: matter.port,
        slot: slot as u16,
        protocol: matter.protocol,
        destination_family: matter.destination.family as u8,
        outcome: matter.outcome,
        reserved: [0; 5],
    });
    pending.told = seen;
    // Waking somebody costs more than dropping a hundred packets: once a tick is enough.
    entry.submit(if gate.woken == gate.tick { NO_WAKE_UP } else { 0 });
    gate.woken = gate.tick;
}
