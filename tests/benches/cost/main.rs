//! What the guard costs, beside nothing at all and beside its peers, in one run on one machine.
//!
//! `cargo xtask bench` sets up and starts it. Absolute times mean little on a shared machine; the ratios are between
//! contenders that took turns.

mod arena;
mod attach;
mod bpf;
mod flood;
mod frames;
mod measure;
mod metrics;
mod one;
mod picture;
mod reload;
mod table;
mod traffic;
mod up;
mod vpn;

use anyhow::Result;
use tests::{require, requires};

type Rows = fn() -> Result<Vec<table::Row>>;

/// What may be asked for by name, the heading, and what measures it.
const TABLES: [(&str, &str, Rows); 7] = [
    ("one", "one packet", one::rows),
    ("flood", "a flood over a veth, one processor", flood::rows),
    ("traffic", "traffic to another port", traffic::rows),
    ("vpn", "requests under a flood", vpn::rows),
    ("reload", "reload with an allow-list of 100 000 networks", reload::rows),
    ("attach", "a gap, and how long", attach::rows),
    ("metrics", "reading the counters", metrics::rows),
];

fn main() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    require!(requires::tool("xdp-filter"), requires::tool("ethtool"), requires::tool("unshare"));
    require!(requires::tool("ufw"), requires::wireguard());
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for (name, heading, rows) in TABLES {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            let rows = rows()?;
            table::print(heading, &rows);
            table::write(name, &rows)?;
        }
    }
    Ok(())
}
