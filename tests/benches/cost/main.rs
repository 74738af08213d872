//! What the guard costs, beside nothing at all and beside its peers, in one run on one machine.
//!
//! `cargo xtask bench` sets up and starts it. Absolute times mean little on a shared machine; the ratios are between
//! contenders that took turns.

mod arena;
mod bpf;
mod frames;
mod measure;
mod one;
mod table;

use std::path::Path;

use anyhow::Result;
use tests::{require, requires};

fn main() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    require!(requires::tool("xdp-filter"), requires::tool("ethtool"), requires::tool("unshare"));
    let rows = one::rows()?;
    table::print("one packet", &rows);
    table::write(&Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench").join("cost.json"), &rows)
}
