//! **A second interface on the same wire.** A macvlan child has a MAC and an IP address of its own, and the frames for it come
//! in by its parent (`Documentation/networking/ipvlan.rst` compares the kinds; `docker network create -d macvlan`). A guard
//! on the parent alone may miss it. One that looks at the parent's frames without asking for whom they are would in turn
//! close an Ollama that is none of this host's business, in a container with a child of its own: XDP cannot ask, so a parent
//! gets TC, even if the configuration says XDP.

use anyhow::{Context, Result};
use tests::claims::{answers, attempts};
use tests::layers::Layers;
use tests::listener::Listener;
use tests::netns::Netns;
use tests::topology::World;
use tests::{require, requires};

use crate::harness::streams::Streams;
use crate::harness::{PORT, audits};

audits!(macvlan);

fn macvlan(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let listener = Listener::http(&world.guard, PORT)?;
    world.guard.ip("link add mv0 link inet0 type macvlan mode bridge\n\
         link set mv0 up\n\
         address add 203.0.113.33/24 dev mv0\n\
         address add 2001:db8:1::33/64 dev mv0 nodad")?;
    let other = Netns::new("other")?;
    world
        .guard
        .ip(&format!("link add mv1 link inet0 type macvlan mode bridge\nlink set mv1 netns {}", other.name()))?;
    other.ip("link set mv1 up\naddress add 203.0.113.44/24 dev mv1\naddress add 2001:db8:1::44/64 dev mv1 nodad")?;
    let _theirs = Listener::http(&other, PORT)?;
    let theirs = [(&internet.ns, "203.0.113.44".parse()?), (&internet.ns, "2001:db8:1::44".parse()?)];
    answers(PORT, &theirs)?;

    let mut strangers = attempts([&internet]);
    strangers.extend([(&internet.ns, "203.0.113.33".parse()?), (&internet.ns, "2001:db8:1::33".parse()?)]);
    let friends = attempts([&lan]);
    let guard =
        Streams { host: &world.guard, listener: &listener, port: PORT, strangers, friends, blind: &[] }.run(layers)?;
    if layers.counts() {
        assert_eq!(guard.interface("inet0")?["hook"], "tcx");
    }
    answers(PORT, &theirs).context("another's Ollama on the same wire")
}
