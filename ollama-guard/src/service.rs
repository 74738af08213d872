//! The daemon: takes the lock, enforces, says so, and then only reacts.

mod findings;
mod notify;
mod source;

use std::future::pending;
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::Context;
use notify::{Manager, words};
use source::Source;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use crate::backoff::Backoff;
use crate::clock;
use crate::config;
use crate::control::Control;
use crate::datapath::PinWatch;
use crate::events::Events;
use crate::exit::in_words;
use crate::exporter::{Exporter, Settings};
use crate::links::LinkEvents;
use crate::observe::collect::collect;
use crate::observe::metrics::Reload;
use crate::policy::{Mode, Policy};
use crate::reconcile::{InstanceLock, Pass, Reconciler};
use crate::seatbelt::{Author, Monitor, TABLE, Touched};

/// Catches whatever an event missed.
const FULL_PASS: Duration = Duration::from_secs(30);

/// Enforces the policy until told to stop. Enforcement stays when this returns. `config` is the file it
/// came from; `sockets` are those that systemd opened for the metrics.
pub async fn run(policy: Policy, mut config: config::File, sockets: Vec<OwnedFd>) -> anyhow::Result<()> {
    let _lock = InstanceLock::take(&policy.paths.run)?;
    let links = LinkEvents::open().context("cannot listen for interface changes")?;
    let mut links = Source::opened("interface changes", links);
    let mut signals = Signals::listen()?;
    let mut manager = Manager::new();
    let mut reconciler = Reconciler::new(policy).await?;
    let pass = reconciler.pass()?;
    announce(reconciler.policy(), &pass);
    manager.passed(words(reconciler.policy(), &pass));
    let (paths, file) = (reconciler.policy().paths.clone(), config.path().to_owned());
    let _control = Control::start(&reconciler.policy().paths.run, Box::new(move || collect(&paths, &file)));
    notify::ready();
    findings::tell(reconciler.policy());
    let reloaded = Reload { successful: true, last_success: clock::boot() };
    let exporter = Exporter::start(Settings::new(reconciler.policy(), config.path().to_owned(), reloaded), sockets);
    let events = Events::start(reconciler.policy().paths.clone(), reconciler.services().clone());
    let mut rules = Source::new("changes of the nftables rules");
    let mut pins = Source::new("removed pins");
    let root = reconciler.policy().paths.bpf.clone();
    let mut unfinished = Unfinished::new();
    let mut due = unfinished.next(Some(&pass));
    loop {
        let mut reloading = false;
        let (own, has_pins) = (reconciler.seatbelt_port(), reconciler.pins());
        tokio::select! {
            _ = links.news(LinkEvents::open, LinkEvents::changed) => {}
            () = sleep_until(due) => {}
            changed = reconciler.proxies_changed() => changed?,
            () = touched(&mut rules, own) => {}
            _ = pins.news(|| PinWatch::open(&root), PinWatch::removed), if has_pins => {}
            () = manager.hungry() => {
                manager.alive();
                continue;
            }
            _ = signals.hangup.recv() => {
                reloading = true;
                notify::reloading();
                apply(&mut reconciler, &mut config, &exporter).await;
                events.change(reconciler.services());
            }
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
        let done = reconciler.pass();
        match &done {
            Ok(pass) => manager.passed(words(reconciler.policy(), pass)),
            Err(error) => {
                let error = in_words(error);
                unfinished.tell(&error);
                manager.passed(format!("what stood stays in force, but a pass failed: {error}"));
            }
        }
        if reloading {
            notify::ready();
            findings::tell(reconciler.policy());
        }
        due = unfinished.next(done.as_ref().ok());
    }
    notify::stopping();
    info!("{}", notify::farewell(reconciler.policy()));
    Ok(())
}

/// What a pass could not do is tried again soon, then ever less often.
struct Unfinished {
    backoff: Backoff,
    /// The failure last told, so that it is told once.
    told: Option<String>,
}

impl Unfinished {
    fn new() -> Self {
        Self { backoff: Backoff::up_to(FULL_PASS), told: None }
    }

    fn tell(&mut self, error: &str) {
        if self.told.as_deref() != Some(error) {
            error!("{error}; what stands stays in force, and this is tried again, at the latest after 30 s");
            self.told = Some(error.to_owned());
        }
    }

    /// When to look again, if nothing happens. `None`: the pass failed.
    fn next(&mut self, pass: Option<&Pass>) -> Instant {
        let now = Instant::now();
        if pass.is_some() {
            self.told = None;
        }
        if let Some(retry) = pass.and_then(|pass| pass.retry) {
            return now + retry.min(FULL_PASS);
        }
        if pass.is_some_and(Pass::is_complete) {
            return now + FULL_PASS;
        }
        let pause = self.backoff.wait(now.into_std()).unwrap_or(Duration::ZERO);
        self.backoff.record(now.into_std());
        now + pause
    }
}

/// Puts a changed configuration in force; a faulty one changes nothing.
async fn apply(reconciler: &mut Reconciler, config: &mut config::File, exporter: &Exporter) {
    let applied = match config.news() {
        Err(error) => Err(format!("the old one stays in force: {error}")),
        Ok(None) => {
            reconciler.forgive();
            Ok(())
        }
        Ok(Some(policy)) => {
            let applied = reconciler.set_policy(policy).await;
            applied.inspect_err(|_| config.forget()).map_err(|error| in_words(&error))
        }
    };
    match applied {
        Ok(()) => {
            info!("configuration reloaded");
            let reloaded = Reload { successful: true, last_success: clock::boot() };
            exporter.change(|settings| {
                *settings = Settings::new(reconciler.policy(), std::mem::take(&mut settings.config), reloaded);
            });
        }
        Err(why) => {
            error!("the configuration was not reloaded: {why}");
            exporter.change(|settings| settings.reload.successful = false);
        }
    }
}

fn announce(policy: &Policy, pass: &Pass) {
    let words = words(policy, pass);
    match policy.mode {
        _ if !policy.layers.wall && !policy.layers.seatbelt => warn!("{words}"),
        Mode::Enforce => info!("{words}"),
        Mode::Observe => warn!("{words}"),
    }
    if pass.failed > 0 || pass.seatbelt_failed {
        warn!("not everything is in place; see: ollama-guard status");
    }
}

/// Hears when another program touches the table; never without a table of ours.
async fn touched(rules: &mut Source<Monitor>, own: Option<u32>) {
    let Some(own) = own else { return pending().await };
    if let Some(Touched::By(Author { process, name })) = rules.news(|| Monitor::open(TABLE, own), Monitor::next).await {
        info!(
            "nftables: the table inet {TABLE} was touched by {} (process {})",
            name.as_deref().unwrap_or("somebody"),
            process.map_or_else(|| "unknown".to_owned(), |id| id.to_string()),
        );
    }
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }
}
