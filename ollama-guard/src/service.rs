//! The daemon: takes the lock, enforces, says so, and then only reacts. What it needs to react comes after enforcement, and
//! may be missing.

mod findings;
mod notify;
mod source;

use std::future::pending;
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, bail};
use notify::{Manager, words};
use source::Source;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use crate::backoff::Backoff;
use crate::clock;
use crate::config::{self, lockout};
use crate::control::Control;
use crate::datapath::PinWatch;
use crate::events::Events;
use crate::exit::in_words;
use crate::exporter::{Exporter, Settings};
use crate::links::LinkEvents;
use crate::observe::collect::collect;
use crate::observe::metrics::Reload;
use crate::policy::{Mode, Policy};
use crate::reconcile::{InstanceLock, LockError, Pass, Reconciler};
use crate::seatbelt::{Author, Monitor, TABLE, Touched};

/// Catches whatever an event missed.
const FULL_PASS: Duration = Duration::from_secs(30);

/// What stands before anything else is begun.
#[derive(Debug)]
pub struct Closed {
    /// None where there can be no lock: that keeps nobody from enforcing.
    _lock: Option<InstanceLock>,
    reconciler: Reconciler,
    pass: Option<Pass>,
}

/// Closes the ports in every layer that can be had. Fails if none can, or if another daemon does it already.
pub fn close(policy: Policy) -> anyhow::Result<Closed> {
    let lock = match InstanceLock::take(&policy.paths.run) {
        Err(held @ LockError::Held { .. }) => return Err(held.into()),
        Err(error) => {
            warn!("a second daemon would not be noticed, and status knows little of this one: {error}");
            None
        }
        Ok(lock) => Some(lock),
    };
    let mut reconciler = Reconciler::new(policy);
    let pass = match reconciler.pass() {
        Ok(pass) => {
            if let Some(why) = pass.nothing(reconciler.policy()) {
                bail!("NOTHING CAN BE ENFORCED, so the port may be open: {why}");
            }
            Some(pass)
        }
        Err(error) if !reconciler.stands() => {
            return Err(error).context("NOTHING CAN BE ENFORCED, so the port may be open");
        }
        Err(error) => {
            error!("not everything is in place, and is tried again: {}", in_words(&error));
            None
        }
    };
    Ok(Closed { _lock: lock, reconciler, pass })
}

/// Keeps the policy in force until told to stop. Enforcement stays when this returns. `config` is the file it came from;
/// `sockets` are those that systemd opened for the metrics. Of everything that is opened here nothing is needed to enforce.
pub async fn run(closed: Closed, mut config: config::File, sockets: Vec<OwnedFd>) {
    let Closed { _lock, mut reconciler, pass } = closed;
    let mut manager = Manager::new();
    if let Some(pass) = &pass {
        announce(reconciler.policy(), pass);
        manager.passed(words(reconciler.policy(), pass));
    }
    notify::ready();
    let mut signals = Signals::listen();
    let mut links = Source::new("interface changes");
    let (paths, file) = (reconciler.policy().paths.clone(), config.path().to_owned());
    let (ask, mut asked) = mpsc::channel(1);
    let (known, mut ways_in) = mpsc::unbounded_channel();
    lockout::look(&paths.run, known.clone());
    let _control = Control::start(&reconciler.policy().paths.run, Box::new(move || collect(&paths, &file)), ask);
    findings::tell(reconciler.wanted());
    let reloaded = Reload { successful: true, last_success: clock::boot() };
    let exporter = Exporter::start(Settings::new(reconciler.policy(), config.path().to_owned(), reloaded), sockets);
    let events = Events::start(reconciler.policy().paths.clone(), reconciler.services().clone());
    reconciler.watch_proxies();
    let mut rules = Source::new("changes of the nftables rules");
    let mut pins = Source::new("removed pins");
    let root = reconciler.policy().paths.bpf.clone();
    let mut unfinished = Unfinished::new();
    let mut due = unfinished.next(pass.as_ref());
    loop {
        let mut reload: Option<Asked> = None;
        let (own, has_pins) = (reconciler.seatbelt_port(), reconciler.pins());
        tokio::select! {
            _ = links.news(LinkEvents::open, LinkEvents::changed) => {}
            () = sleep_until(due) => {}
            () = reconciler.proxies_changed() => {}
            () = touched(&mut rules, own) => {}
            _ = pins.news(|| PinWatch::open(&root), PinWatch::removed), if has_pins => {}
            () = manager.hungry() => {
                manager.alive();
                continue;
            }
            () = heard(&mut signals.hangup) => reload = Some(None),
            Some(answer) = asked.recv() => reload = Some(Some(answer)),
            Some(listeners) = ways_in.recv() => if let Err(error) = reconciler.know(listeners) {
                warn!("a port by which people get in may be guarded: {}", in_words(&error));
            },
            () = heard(&mut signals.terminate) => break,
            () = heard(&mut signals.interrupt) => break,
        }
        let mut applied = Ok(());
        if reload.is_some() {
            notify::reloading();
            applied = apply(&mut reconciler, &mut config, &exporter);
            events.change(reconciler.services());
            lockout::look(&reconciler.policy().paths.run, known.clone());
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
        if let Some(asked) = reload {
            notify::ready();
            // Whoever asked may be gone.
            let _ = asked.map(|answer| answer.send(applied.and_then(|()| in_force(done.as_ref()))));
            findings::tell(reconciler.wanted());
        }
        due = unfinished.next(done.as_ref().ok());
    }
    notify::stopping();
    info!("{}", notify::farewell(reconciler.policy()));
}

/// Who asked for a reload, if they wait for what comes of it.
type Asked = Option<oneshot::Sender<Result<(), String>>>;

/// Is the new policy in force in every layer it wants?
fn in_force(done: Result<&Pass, &anyhow::Error>) -> Result<(), String> {
    let pass = done.map_err(in_words)?;
    let missing: Vec<&str> =
        [&pass.wall_failed, &pass.seatbelt_failed].into_iter().flatten().map(String::as_str).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("it is in force only partly: {}", missing.join("; "))) }
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
fn apply(reconciler: &mut Reconciler, config: &mut config::File, exporter: &Exporter) -> Result<(), String> {
    let applied = match config.news() {
        Err(error) => Err(format!("the old one stays in force: {error}")),
        Ok(None) => {
            reconciler.forgive();
            Ok(())
        }
        Ok(Some(policy)) => {
            let applied = reconciler.set_policy(policy);
            let words = |error: anyhow::Error| format!("the old one stays in force: {}", in_words(&error));
            applied.inspect_err(|_| config.forget()).map_err(words)
        }
    };
    reconciler.reloaded(&applied);
    match &applied {
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
    applied
}

fn announce(policy: &Policy, pass: &Pass) {
    let words = words(policy, pass);
    match policy.mode {
        _ if !policy.layers.wall && !policy.layers.seatbelt => warn!("{words}"),
        Mode::Enforce => info!("{words}"),
        Mode::Observe => warn!("{words}"),
    }
    if !pass.is_complete() {
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

/// Waits for a signal; for ever, if it cannot be listened for: the kernel then ends the process by it.
async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}

struct Signals {
    hangup: Option<Signal>,
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl Signals {
    fn listen() -> Self {
        let listen = |kind| signal(kind).inspect_err(|error| warn!("cannot listen for signals: {error}")).ok();
        Self {
            hangup: listen(SignalKind::hangup()),
            terminate: listen(SignalKind::terminate()),
            interrupt: listen(SignalKind::interrupt()),
        }
    }
}
