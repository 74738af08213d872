//! **The plain connection.** Somebody on the internet opens a TCP connection to the port, as `curl` does, or sends the
//! first packet of one and looks whether an answer comes, as `nmap -sS` and the crawlers of search engines do (RFC 9293
//! §3.5). Ollama asks no password (ollama/ollama#849), so whoever is answered may run, delete and pull models. Scans of the
//! internet find many thousands of such hosts.

use anyhow::Result;
use tests::claims::attempts;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::topology::World;
use tests::{require, requires};

use crate::harness::frames::{Frames, Variant};
use crate::harness::streams::Streams;
use crate::harness::{PORT, audits};

audits!(syn, http);

fn syn(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    Frames::new(vec![
        Variant::new("a SYN by IPv4", |aim| vec![aim.v4().bytes()]),
        Variant::new("a SYN by IPv6", |aim| vec![aim.v6().bytes()]),
        Variant::new("a SYN with ECN flags", |aim| vec![aim.v4().flags(0xc2).bytes()]),
        Variant::new("the same SYN twice", |aim| vec![aim.v6().bytes(); 2]),
    ])
    .run(layers)
}

fn http(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let listener = Listener::http(&world.guard, PORT)?;
    Streams {
        host: &world.guard,
        listener: &listener,
        port: PORT,
        strangers: attempts([&internet]),
        friends: attempts([&lan]),
        blind: &[],
    }
    .run(layers)
    .map(drop)
}
