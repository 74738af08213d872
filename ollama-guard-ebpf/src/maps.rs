//! The maps. All but the allow-lists and the proxied ports are pinned by the loader and shared by every program instance.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::LpmTrie;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap};
use ollama_guard_common::Conversation;
use ollama_guard_common::abi::{
    CONVERSATIONS, Gate, InterfaceCounters, Proxied, ProxiedKey, SEATS, STATE_SIZE, ServiceSet, SourceCounters,
    SourceKey,
};

/// Counters by interface. The loader gives an interface its seat before it attaches there, so the packet path only
/// looks up.
#[map(name = "interfaces")]
pub(crate) static INTERFACES: PerCpuArray<InterfaceCounters> = PerCpuArray::with_max_entries(SEATS, 0);

/// Counters of interfaces whose seat another one has, by index.
#[map(name = "interfaces_unseated")]
pub(crate) static INTERFACES_UNSEATED: PerCpuHashMap<u32, InterfaceCounters> =
    PerCpuHashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);

/// Sources of refused packets.
#[map(name = "strangers")]
pub(crate) static STRANGERS: LruHashMap<SourceKey, SourceCounters> = LruHashMap::with_max_entries(65536, 0);

/// Sources of passed packets; apart, so that no flood evicts them.
#[map(name = "clients")]
pub(crate) static CLIENTS: LruHashMap<SourceKey, SourceCounters> = LruHashMap::with_max_entries(8192, 0);

/// Connections that began on this side from a guarded port, and when they were last heard of.
#[map(name = "began")]
pub(crate) static BEGAN: LruHashMap<Conversation, u64> = LruHashMap::with_max_entries(CONVERSATIONS, 0);

/// The gate in front of `strangers`; one entry.
#[map(name = "gate")]
pub(crate) static GATE: PerCpuArray<Gate> = PerCpuArray::with_max_entries(1, 0);

/// Allowed IPv4 sources of this program instance and the services they may reach.
#[map(name = "allow_v4")]
pub(crate) static ALLOW_V4: LpmTrie<[u8; 4], ServiceSet> = LpmTrie::with_max_entries(1, 0);

/// Allowed IPv6 sources of this program instance and the services they may reach.
#[map(name = "allow_v6")]
pub(crate) static ALLOW_V6: LpmTrie<[u8; 16], ServiceSet> = LpmTrie::with_max_entries(1, 0);

/// Where the proxies of this program instance's proxied ports listen.
#[map(name = "proxied")]
pub(crate) static PROXIED: HashMap<ProxiedKey, Proxied> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

/// What the loader leaves for `status` to find while no loader runs; no program reads it.
#[map(name = "state")]
pub(crate) static STATE: Array<[u8; STATE_SIZE]> = Array::with_max_entries(1, 0);
