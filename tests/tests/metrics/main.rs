//! The metrics of a real guard: what they say is what was sent, and asking for them does no harm.

mod counts;
mod crowd;
mod evictions;
mod prometheus;
mod reload;
mod traffic;
mod web;

use std::net::{Ipv4Addr, SocketAddr};

/// Where the guard serves its metrics, in its namespace.
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 19434);

/// Datagrams are guarded too, because every one that is sent is one packet, and lan0 is trusted.
const POLICY: &str = "\
[[service]]
name = \"ollama\"
ports = [11434]
protocols = [\"tcp\", \"udp\"]

[interfaces]
trusted = [\"lo\", \"lan0\"]
";
