//! A flowtable carries packets of known connections past prerouting and forward. A connection from before the guard, to a
//! published port, would go on for ever: the eBPF programs see the port before it is translated. It ends, and those of
//! friends do not, in whatever way the port becomes guarded.
//!
//! Many kernels are built without flowtables; those of the virtual machines have them: `cargo xtask test --vm`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::conntrack::connections;
use tests::echo::{Kept, serve};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::netns::Netns;
use tests::topology::{Side, World};
use tests::{require, requires, wait};

const PORT: u16 = 11434;
/// The flowtable is emptied once a second; the rest is for emulated machines.
const LIMIT: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(1);

macro_rules! with_a_flowtable {
    ($module:ident, $layers:ident, $($test:ident),+ $(,)?) => {
        mod $module {
            $(#[test]
            #[ignore = "needs a flowtable, which this kernel may lack: cargo xtask test --vm"]
            fn $test() -> anyhow::Result<()> {
                super::$test(tests::layers::Layers::$layers)
            })+
        }
    };
}

with_a_flowtable!(
    seatbelt,
    Seatbelt,
    flows_end_at_a_start,
    flows_end_when_a_reload_adds_the_port,
    flows_end_when_a_reload_takes_trust_away,
    flows_end_of_the_port_itself
);
with_a_flowtable!(
    both,
    Both,
    flows_end_at_a_start,
    flows_end_when_a_reload_adds_the_port,
    flows_end_when_a_reload_takes_trust_away,
    flows_end_of_the_port_itself
);

fn policy(layers: Layers, port: u16, trusted: &[&str]) -> String {
    let service = format!("[[service]]\nname = \"ollama\"\nports = [{port}]\n");
    layers.policy(&format!("[interfaces]\ntrusted = {trusted:?}\n[metrics]\nlisten = \"\"\n{service}"))
}

/// Both sides' connections through the flowtable.
struct Carried<'a> {
    host: &'a Netns,
    _sides: [Side; 3],
    strangers: Vec<Kept>,
    friends: Vec<Kept>,
}

impl<'a> Carried<'a> {
    /// Connections to a published port of a container.
    fn new(world: &'a World, published: u16) -> Result<Self> {
        let (internet, lan, container) = (world.internet()?, world.lan()?, world.container()?);
        serve(&container.ns, PORT)?;
        world.guard.nft(&format!(
            "table inet other {{
                flowtable fast {{ hook ingress priority 0; devices = {{ inet0, lan0, docker0 }}; }}
                chain nat {{
                    type nat hook prerouting priority dstnat;
                    fib daddr type local meta nfproto ipv4 tcp dport {published} dnat ip to {}:{PORT}
                    fib daddr type local meta nfproto ipv6 tcp dport {published} dnat ip6 to [{}]:{PORT}
                }}
                chain forward {{ type filter hook forward priority filter; meta l4proto tcp flow add @fast; }}
            }}",
            container.own.v4, container.own.v6
        ))?;
        let begin = |side: &Side| -> Result<Vec<Kept>> {
            side.guard.both().into_iter().map(|address| Kept::begin(&side.ns, address, published)).collect()
        };
        let (strangers, friends) = (begin(&internet)?, begin(&lan)?);
        let mut carried = Self { host: &world.guard, _sides: [internet, lan, container], strangers, friends };
        for _ in 0..3 {
            for kept in carried.strangers.iter_mut().chain(&mut carried.friends) {
                ensure!(kept.goes_on(LIMIT)?, "an unguarded host");
            }
        }
        carried.offloaded(4).context("an unguarded host")?;
        Ok(carried)
    }

    fn offloaded(&self, expected: usize) -> Result<()> {
        let known = connections(self.host, PORT)?;
        ensure!(known.iter().filter(|line| line.contains("OFFLOAD")).count() == expected, "not {expected}: {known:#?}");
        Ok(())
    }

    /// The strangers' connections end and never come back; the friends' go on in the flowtable.
    fn only_friends_remain(&mut self) -> Result<()> {
        for (index, kept) in self.strangers.iter_mut().enumerate() {
            let ended = || kept.goes_on(PATIENCE).is_ok_and(|answered| !answered);
            wait::until(format!("stranger {index} to hear nothing"), LIMIT, ended)?;
        }
        for _ in 0..3 {
            for kept in &mut self.friends {
                ensure!(kept.goes_on(LIMIT)?, "a friend's connection ended");
            }
            for kept in &mut self.strangers {
                ensure!(!kept.goes_on(PATIENCE)?, "a stranger is answered again");
            }
        }
        self.offloaded(2).context("the friends' alone")
    }
}

fn start(layers: Layers, published: u16) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let mut carried = Carried::new(&world, published)?;
    let _guard = Guard::start(&world.guard, &policy(layers, PORT, &["lo", "lan0"]))?;
    carried.only_friends_remain()
}

fn flows_end_at_a_start(layers: Layers) -> Result<()> {
    start(layers, 8082)
}

/// The eBPF programs see this one before the flowtable does; nftables does not.
fn flows_end_of_the_port_itself(layers: Layers) -> Result<()> {
    start(layers, PORT)
}

fn reload(layers: Layers, before: &str) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let mut carried = Carried::new(&world, 8082)?;
    let mut guard = Guard::managed(&world.guard, before)?;
    for _ in 0..3 {
        for kept in carried.strangers.iter_mut().chain(&mut carried.friends) {
            ensure!(kept.goes_on(LIMIT)?, "a policy that lets them");
        }
    }
    carried.offloaded(4).context("a policy that lets them")?;
    guard.reload_managed(&policy(layers, PORT, &["lo", "lan0"]))?;
    carried.only_friends_remain()
}

fn flows_end_when_a_reload_adds_the_port(layers: Layers) -> Result<()> {
    reload(layers, &policy(layers, 4321, &["lo"]))
}

fn flows_end_when_a_reload_takes_trust_away(layers: Layers) -> Result<()> {
    reload(layers, &policy(layers, PORT, &["lo", "lan0", "inet0"]))
}
