//! The harness the suites share: hosts made of network namespaces, what listens and probes in them, and the guard itself.
//!
//! A suite starts with [`require!`], builds a [`topology::World`] with the sides it needs, first sees that the port
//! answers without a guard, then starts a [`guard::Guard`] and sees that it does not. Nothing is shared between tests,
//! so they run in parallel; everything is removed on drop, and what a crashed run left is removed by the next one.

pub mod bpf;
pub mod builds;
pub mod claims;
pub mod conntrack;
pub mod docker;
pub mod echo;
pub mod flood;
pub mod frames;
pub mod friend;
pub mod fuzz;
pub mod guard;
pub mod hammer;
pub mod layers;
pub mod leftovers;
pub mod listener;
pub mod manager;
pub mod netns;
pub mod packet;
pub mod ping;
pub mod podman;
pub mod pretend;
pub mod probe;
pub mod process;
pub mod prog_run;
pub mod real;
pub mod requires;
pub mod rules;
pub mod scrape;
pub mod siege;
pub mod stand;
pub mod topology;
pub mod tun;
pub mod ufw;
pub mod wait;
pub mod walk;
pub mod wireguard;
pub mod witness;
