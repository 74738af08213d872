//! Promise 1, attack by attack. Each file explains one attack, shows that an unguarded host falls to it (or that the
//! kernel itself refuses it), that each layer alone and both together hold, and that what resembles the attack and is
//! legitimate still passes: on another port, and from a trusted interface.
//!
//! `OLLAMA_GUARD_DISARM=1` switches both layers off in every arrangement: each audit must then fail, except `mapped` and
//! `truncated`, where the kernel itself refuses everything, and what shows that a layer cannot know.

mod harness;

mod addresses;
mod bridge;
mod broadcast;
mod established;
mod fast_open;
mod foreign_program;
mod fragments;
mod layer3;
mod link_local;
mod loopback;
mod macvlan;
mod mapped;
mod planted;
mod reused_index;
mod same_bridge;
mod scans;
mod segment_local;
mod segment_routing;
mod source_port;
mod spoofed;
mod syn;
mod tproxy;
mod trailers;
mod translation;
mod truncated;
mod tunnels;
mod v4_options;
mod v6_extensions;
mod vlan;
