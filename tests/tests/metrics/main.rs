//! The metrics of a real guard: what they say is what was sent, and asking for them does no harm.

mod counts;
mod crowd;
mod evictions;
mod prometheus;
mod reload;
mod traffic;
mod web;

use std::net::{Ipv4Addr, SocketAddr};

use tests::guard::DATAGRAMS_TOO as POLICY;

/// Where the guard serves its metrics, in its namespace.
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 19434);
