//! The layout of everything the kernel programs and the loader exchange. Change anything here and bump
//! [`ABI_VERSION`]: pins of another version are never opened.

use zerocopy::{FromBytes, Immutable, IntoBytes, transmute};

use crate::Outcome;

/// Part of the pin directory's name.
pub const ABI_VERSION: u32 = 3;
/// Most services of one policy: an index takes four bits, zero meaning none.
pub const MAX_SERVICES: usize = 15;

/// The class of an interface as a program instance holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum InterfaceClass {
    /// Everything is refused unless allowed. Zero, so that a program whose constants were never set fails closed.
    Guarded = 0,
    /// A container bridge.
    Container = 1,
    /// Everything passes.
    Trusted = 2,
}

/// What a guarded interface does with packets that the kernel would route to another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Onward {
    /// They are dropped. Zero, as for [`InterfaceClass`].
    Drop = 0,
    /// They pass: `forwarded = "pass"`.
    Pass = 1,
    /// They pass if they would leave by the interface they came in on: they are for an ipvlan child in another namespace,
    /// which takes them before they are routed, or for another machine on the same wire.
    PassBack = 2,
}

/// A service, 1 to [`MAX_SERVICES`], or 0 where the port cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct ServiceIndex(u8);

impl ServiceIndex {
    /// The port could not be read.
    pub const UNKNOWN: Self = Self(0);
    /// Number of indices, the unknown one included.
    pub const COUNT: usize = MAX_SERVICES + 1;

    /// The low four bits of `index`.
    #[inline(always)]
    pub const fn new(index: u8) -> Self {
        Self(index & 0x0f)
    }

    /// 0 to 15.
    #[inline(always)]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The bit that stands for this service in a [`ServiceSet`].
    #[inline(always)]
    pub const fn bit(self) -> ServiceSet {
        1 << self.0
    }
}

/// A set of services, one bit each; the value of an allow-list entry.
pub type ServiceSet = u32;

/// Words of a bitmap with a bit for each port.
pub const PORT_WORDS: usize = 1 << 10;

/// The policy of one program instance: read-only data, so that the verifier prunes what it switches off.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C, align(8))]
pub struct Rules {
    /// [`InterfaceClass`].
    pub class: u8,
    /// 1: `mode = "observe"`.
    pub observe: u8,
    /// 1: `container_access = "allow"`.
    pub containers_may_enter: u8,
    /// What becomes of packets that are routed onward: [`Onward`].
    pub forward: u8,
    /// 1: some TCP port is guarded.
    pub guards_tcp: u8,
    /// 1: some UDP port is guarded.
    pub guards_udp: u8,
    /// 1: the IPv4 allow-list is not empty.
    pub allows_v4: u8,
    /// 1: the IPv6 allow-list is not empty.
    pub allows_v6: u8,
    /// 1: every packet to a guarded port is refused, because nobody is named, the interface is a guarded one, nothing
    /// passes onward, and no port is a proxied one.
    pub refuses_all: u8,
    /// 1: some of these ports are proxied ones, which the map `proxied` tells of.
    pub proxies: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// Random: makes the source gate's slots unpredictable to those who flood it.
    pub seed: u32,
    /// Guarded TCP ports: bit `port % 64` of word `port / 64`. A bitmap keeps the look-up of other ports in few
    /// cache lines.
    pub tcp: [u64; PORT_WORDS],
    /// Guarded UDP ports.
    pub udp: [u64; PORT_WORDS],
    /// The service of a guarded port: low four bits for TCP, high for UDP.
    pub services: [u8; 1 << 16],
}

impl Rules {
    /// Guards nothing, for the most suspicious class.
    #[expect(clippy::large_stack_arrays, reason = "a constant: it becomes read-only data")]
    pub const EMPTY: Self = Self {
        class: InterfaceClass::Guarded as u8,
        observe: 0,
        containers_may_enter: 0,
        forward: 0,
        guards_tcp: 0,
        guards_udp: 0,
        allows_v4: 0,
        allows_v6: 0,
        refuses_all: 0,
        proxies: 0,
        reserved: [0; 2],
        seed: 0,
        tcp: [0; PORT_WORDS],
        udp: [0; PORT_WORDS],
        services: [0; 1 << 16],
    };
}

/// Packets and bytes. A GRO aggregate counts as the packets it was merged from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, with the link header where the device has one.
    pub bytes: u64,
}

/// Seats of the map `interfaces`; a power of two. An interface's own seat is its index modulo this: finding it costs no
/// call. Where that is taken, the interface counts in the map `interfaces_unseated`, whose key is its index.
pub const SEATS: u32 = 1 << 6;

/// Everything counted on one interface by one CPU: the value of the maps `interfaces` and `interfaces_unseated`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct InterfaceCounters {
    /// By [`ServiceIndex`], then by [`Outcome`].
    pub counters: [[Counter; Outcome::COUNT]; ServiceIndex::COUNT],
    /// The newest refused packet of a source that was not [`Pending`].
    pub last_drop: LastDrop,
    /// Index of the interface; 0: nobody's.
    pub interface: u32,
    /// Zero.
    pub reserved: u32,
}

/// A refused packet on an interface, as one CPU saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct LastDrop {
    /// `CLOCK_BOOTTIME`, nanoseconds; 0: none yet.
    pub at: u64,
    /// [`crate::Address`]'s words, of its source.
    pub source: [u32; 4],
    /// 4, 6, or 0 where the packet named no source.
    pub family: u32,
    /// Zero.
    pub reserved: u32,
}

/// Key of the maps `clients` (what passed) and `strangers` (what was refused).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SourceKey {
    /// [`crate::Address`]'s words.
    pub address: [u32; 4],
    /// Index of the interface it arrived on.
    pub interface: u32,
    /// 4 or 6.
    pub family: u8,
    /// [`ServiceIndex`].
    pub service: u8,
    /// [`crate::Fate`].
    pub fate: u8,
    /// Zero.
    pub reserved: u8,
}

impl SourceKey {
    /// Are they the same? Three words at a time: for the derived comparison the compiler calls its `memcmp`, which in a
    /// kernel program goes byte by byte.
    #[inline(always)]
    pub fn is(&self, other: &Self) -> bool {
        let ([a, b, c], [x, y, z]): ([u64; 3], [u64; 3]) = (transmute!(*self), transmute!(*other));
        (a ^ x) | (b ^ y) | (c ^ z) == 0
    }
}

/// Value of the maps `clients` and `strangers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SourceCounters {
    /// Packets and bytes.
    pub counter: Counter,
    /// `CLOCK_BOOTTIME` of the newest, nanoseconds.
    pub last_seen: u64,
}

/// What a CPU has counted of a source and not yet added to `strangers`: a source that keeps sending costs no look-up
/// there and no atomic addition. Readers add it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Pending {
    /// Whose; family 0: nobody's.
    pub key: SourceKey,
    /// How much.
    pub counters: SourceCounters,
    /// When the last [`Event`] of this source was due, `CLOCK_BOOTTIME` nanoseconds.
    pub event_due: u64,
    /// How many of these packets events have told of.
    pub told: u64,
    /// Which of the CPU's sources this is: counts from 1, never used again.
    pub stay: u64,
}

/// Slots of pending sources; a power of two.
pub const PENDING_SLOTS: usize = 1 << 6;
/// Slots of the source gate; a power of two.
pub const GATE_SLOTS: usize = 1 << 12;

/// The gate in front of `strangers`, one per CPU: under a flood of spoofed sources a source must be seen twice
/// before its look-up is paid for.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Gate {
    /// The kernel's tick when `now` was read.
    pub tick: u64,
    /// `CLOCK_BOOTTIME` in nanoseconds, read once a tick: reading it costs more than all the counting.
    pub now: u64,
    /// When the current window began, `CLOCK_BOOTTIME` nanoseconds.
    pub window: u64,
    /// Sources admitted at first sight, less those that windows gave back.
    pub admitted: u64,
    /// Events that were due and not sent, since the map was made.
    pub events_lost: u64,
    /// When the current second of the events' budget began, `CLOCK_BOOTTIME` nanoseconds.
    pub second: u64,
    /// Events sent in this second.
    pub events: u64,
    /// Sources admitted, since the map was made.
    pub stays: u64,
    /// Sources entered into `strangers` and `clients`, since the maps were made.
    pub entered: u64,
    /// The tick in which this CPU last woke the daemon, which then looks again until there is nothing new for longer than
    /// a tick.
    pub woken: u64,
    /// Sources that were admitted and not yet displaced.
    pub pending: [Pending; PENDING_SLOTS],
    /// The newest source of each slot, as a hash.
    pub tags: [u32; GATE_SLOTS],
}

/// Length of the gate's window in nanoseconds: one tick of the slowest common kernel (250 Hz).
pub const GATE_WINDOW: u64 = 4_000_000;
/// Sources admitted at first sight at once, by each CPU: far above what is not a flood.
pub const GATE_BURST: u64 = 256;
/// And in each window after those: a thousand a second. Admitting one costs as much as dropping some dozens.
pub const GATE_REFILL: u64 = 4;

/// A refused packet, and how many like it there were: an entry of the ring `events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Event {
    /// Who sent it, where it arrived, for which service, what became of it.
    pub key: SourceKey,
    /// When, `CLOCK_BOOTTIME` nanoseconds.
    pub at: u64,
    /// Packets of this source that this CPU has not told of before.
    pub count: u64,
    /// [`Pending::stay`].
    pub stay: u64,
    /// Packets that this CPU counted during this stay.
    pub seen: u64,
    /// [`crate::Address`]'s words, of its destination.
    pub destination: [u32; 4],
    /// Which CPU.
    pub cpu: u32,
    /// Destination port; 0 where it cannot be read.
    pub port: u16,
    /// Which slot of the CPU's [`Gate::pending`].
    pub slot: u16,
    /// IP protocol number; 0 where it cannot be read.
    pub protocol: u8,
    /// 4, 6, or 0: a source made room for another, and this is what was left to tell of it.
    pub destination_family: u8,
    /// [`Outcome`].
    pub outcome: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

/// Shortest time between two events of a source on a CPU, in nanoseconds.
pub const EVENT_INTERVAL: u64 = 1_000_000_000;
/// Events a CPU sends in a second: far above what is not a flood, and in a flood far below what a packet costs.
pub const EVENT_BUDGET: u64 = 1024;
/// Of these, for sources at first sight; the rest is for those that keep sending.
pub const EVENT_BUDGET_NEW: u64 = 768;
/// Bytes of the ring `events`: a power of two, a multiple of every page size.
pub const EVENT_RING: u32 = 1 << 18;

/// Key of the allow-list trie `allow_v4`: `BPF_MAP_TYPE_LPM_TRIE` wants the prefix length, then the address in
/// network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct AllowKeyV4 {
    /// Prefix length in bits; a look-up uses the full one.
    pub prefix: u32,
    /// The address.
    pub address: [u8; 4],
}

/// Key of the allow-list trie `allow_v6`; see [`AllowKeyV4`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct AllowKeyV6 {
    /// Prefix length in bits.
    pub prefix: u32,
    /// The address.
    pub address: [u8; 16],
}

/// Entries of the map `began`; the oldest make room.
pub const CONVERSATIONS: u32 = 1 << 12;
/// How long a conversation is known after its last packet, in nanoseconds: a day.
pub const CONVERSATION_AGE: u64 = 86_400_000_000_000;

/// Key of the map `proxied`: where the proxy of a port listens. Two addresses are none: the unspecified one of a family
/// stands for all of this host's, and the one of family 0 says that the port is a proxied one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ProxiedKey {
    /// [`crate::Address`]'s words.
    pub address: [u32; 4],
    /// The port.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// 4, 6 or 0.
    pub family: u8,
}

/// Value of the map `proxied`; it says nothing, the key does.
pub type Proxied = u32;

/// Bytes of the map `state`, in which the loader leaves word for `status` of what it enforces.
pub const STATE_SIZE: usize = 1 << 16;

const _: () = {
    assert!(size_of::<Rules>() == 16 + 2 * 8192 + 65536);
    assert!(size_of::<InterfaceCounters>() == 16 * 13 * 16 + 40);
    assert!(size_of::<SourceKey>() == 24);
    assert!(size_of::<SourceCounters>() == 24);
    assert!(size_of::<Pending>() == 72);
    assert!(size_of::<Gate>() == 80 + 72 * PENDING_SLOTS + 4 * GATE_SLOTS);
    assert!(size_of::<Event>() == 88);
    assert!(size_of::<crate::Conversation>() == 40);
    assert!(size_of::<AllowKeyV4>() == 8 && size_of::<AllowKeyV6>() == 20);
    assert!(size_of::<ProxiedKey>() == 20);
    // A per-CPU value may be 32 KiB at most (PCPU_MIN_UNIT_SIZE, include/linux/percpu.h).
    assert!(size_of::<Gate>() <= 32 << 10 && size_of::<InterfaceCounters>() <= 32 << 10);
};
