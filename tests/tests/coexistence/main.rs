//! Promise 6, and the second half of promise 1: other firewalls, the real ones, beside the guard. What they open, the guard
//! closes; their rules stay as they are, whatever the guard does; and whatever they do, the guard holds.

mod firewalld;
mod iptables;
mod nftables;
mod saved;
mod ufw;

use anyhow::{Context, Result, ensure};
use tests::claims::{answers, attempts, silent};
use tests::guard::Guard;
use tests::hammer::Hammer;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::netns::Netns;
use tests::topology::World;
use tests::{probe, rules};

/// The guarded port: the other firewall is told to let everybody in.
const PORT: u16 = 11434;
/// Open to everybody, with the guard and without.
const OTHER: u16 = 8080;
/// The other firewall keeps it closed.
const CLOSED: u16 = 8081;
const TRUSTED: &str = "[interfaces]\ntrusted = [\"lo\", \"lan0\"]";
/// A second policy, to reload to.
const ALSO: &str = "[[service]]\nname = \"also\"\nports = [11434, 3000]";

/// The other firewall, set up by its own tools: [`PORT`] and [`OTHER`] are open, everything else is closed. Called, it
/// loads its rules anew, as its users do after a change.
type Reload<'a> = Box<dyn Fn() -> Result<()> + 'a>;

/// Both layers, and the nftables layer by itself: it is the one that others' tools can reach.
macro_rules! beside {
    ($($test:ident),+ $(,)?) => {
        tests::arrangement!(both, Both, $($test),+);
        tests::arrangement!(seatbelt, Seatbelt, $($test),+);
    };
}
use beside;

fn coexist<'a>(layers: Layers, world: &'a World, set_up: impl FnOnce(&'a Netns) -> Result<Reload<'a>>) -> Result<()> {
    let host = &world.guard;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let listener = Listener::http(host, PORT)?;
    let _others = [Listener::http(host, OTHER)?, Listener::http(host, CLOSED)?, Listener::http(&internet.ns, OTHER)?];
    let (strangers, friends) = (attempts([&internet]), attempts([&lan]));
    let knock = || Hammer::start(&internet.ns, internet.guard.both().map(|address| (address, PORT)));
    let unharmed = || {
        answers(OTHER, &[&strangers[..], &friends].concat()).context("another port")?;
        answers(OTHER, &internet.own.both().map(|address| (host, address))).context("outwards")
    };
    let shut = || {
        let shut = probe::tcp(&internet.ns, internet.guard.v4, CLOSED)?;
        ensure!(!shut.is_open(), "their rules are without effect: {shut:?}");
        Ok(())
    };

    answers(CLOSED, &strangers).context("no firewall")?;
    let reload = set_up(host)?;
    answers(PORT, &strangers).context("their rules let everybody in")?;
    unharmed().and(shut()).context("before the guard")?;
    let knocking = knock()?;
    reload()?;
    ensure!(knocking.opened() > 0, "nobody is let in while they reload");
    drop(knocking);

    let mut theirs = rules::of_others(host)?;
    let untouched = |theirs: &str, when: &str| {
        let now = rules::of_others(host)?;
        ensure!(now == theirs, "their rules {when}:\n{now}\n\nbefore:\n{theirs}");
        Ok(())
    };
    let mut guard = Guard::start(host, &layers.policy(TRUSTED))?;
    let holds = || {
        silent(&listener, PORT, &strangers)?;
        answers(PORT, &friends).context("friends")?;
        unharmed()
    };
    holds().context("with the guard")?;
    untouched(&theirs, "after the guard's start")?;
    for (policy, ports) in [(format!("{ALSO}\n{TRUSTED}"), 2), (TRUSTED.to_owned(), 1)] {
        guard.reload(&layers.policy(&policy))?;
        guard.status_when("the new policy", |status| {
            status["services"][0]["ports"].as_array().is_some_and(|now| now.len() == ports)
        })?;
        untouched(&theirs, "after the guard's reload")?;
    }

    let knocking = knock()?;
    reload()?;
    guard.status_when("an intact table", |status| {
        status["enforcing"] == true && status["seatbelt"]["state"] == "intact" && status["seatbelt"]["repairs"] == 0
    })?;
    answers(PORT, &friends).context("after their reload")?;
    let kept_out = |when: &str| {
        ensure!(knocking.opened() == 0, "{} of {} got in {when}", knocking.opened(), knocking.tried());
        Ok(())
    };
    kept_out("while they reloaded")?;
    // Once the daemon is dead its table is anybody's to flush; the programs are not.
    guard.kill()?;
    reload()?;
    if layers.counts() {
        kept_out("while they reloaded and the daemon was dead")?;
    }
    drop(knocking);
    theirs = rules::of_others(host)?;
    guard.run()?;
    guard.enforces()?;
    holds().context("with a new daemon")?;
    untouched(&theirs, "after the daemon's return")?;

    guard.stop()?;
    guard.down()?;
    untouched(&theirs, "after down")?;
    ensure!(!host.run("nft", &["list", "tables"])?.contains("ollama_guard"), "down has left the table");
    let links = host.run("ip", &["-details", "link"])? + &host.run("tc", &["qdisc"])?;
    ensure!(!links.contains("xdp") && !links.contains("clsact"), "down has left {links}");
    ensure!(!guard.pins().exists(), "down has left its pins");
    answers(PORT, &strangers).and(unharmed()).and(shut()).context("after down")
}
