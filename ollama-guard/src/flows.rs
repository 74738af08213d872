//! Connections from before: what connection tracking remembers of a port that has become guarded.
//!
//! Both layers judge packets, so nearly every old connection ends by itself. Not one that a flowtable carries: its packets
//! skip prerouting and forward (`net/netfilter/nf_flow_table_ip.c`), and the eBPF programs see the port before it is
//! translated. Such a flow lasts as long as its conntrack entry. So when the policy has become stricter, the entries of
//! connections that it refuses are deleted.
//!
//! [`entry`] reads what the kernel lists, [`judge`] says which of it the policy refuses; both are pure. [`kernel`] lists,
//! routes and deletes; [`sweep`] puts them together, on a thread of its own, after the policy is in force.

mod entry;
mod judge;
mod kernel;
mod sweep;

pub(crate) use judge::Ground;
pub(crate) use sweep::Sweeper;
