//! Promise 1, attack by attack. Each file explains one attack, shows that an unguarded host falls to it (or that the
//! kernel itself refuses it), that each layer alone and both together hold, and that what resembles the attack and is
//! legitimate still passes: on another port, and from a trusted interface.
//!
//! `OLLAMA_GUARD_DISARM=1` switches both layers off in every arrangement: each audit must then fail.

mod harness;

mod addresses;
mod broadcast;
mod fragments;
mod loopback;
mod mapped;
mod scans;
mod segment_routing;
mod spoofed;
mod syn;
mod truncated;
mod v4_options;
mod v6_extensions;
mod vlan;
