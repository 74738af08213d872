//! The daemon: takes the lock, enforces, says so, and then only reacts.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Context;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use crate::config::ConfigError;
use crate::links::LinkEvents;
use crate::observe::text::services;
use crate::policy::{Mode, Policy};
use crate::reconcile::{InstanceLock, Pass, Reconciler};

/// Catches whatever an event missed.
const FULL_PASS: Duration = Duration::from_secs(30);

/// Logs to stderr, which is the journal under systemd; there without time and colour of our own.
pub fn init_logs() {
    let filter = EnvFilter::try_from_env("OLLAMA_GUARD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if journal { logs.without_time().init() } else { logs.init() }
}

/// Enforces the policy until told to stop. Enforcement stays when this returns.
pub async fn run(policy: Policy, reload: &dyn Fn() -> Result<Policy, ConfigError>) -> anyhow::Result<()> {
    let _lock = InstanceLock::take(&policy.paths.run)?;
    let mut events = LinkEvents::open().context("cannot listen for interface changes")?;
    let mut signals = Signals::listen()?;
    let mut reconciler = Reconciler::new(policy)?;
    let pass = reconciler.pass()?;
    announce(reconciler.policy(), &pass);
    let mut full_pass = interval(FULL_PASS);
    full_pass.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = events.changed() => changed?,
            _ = full_pass.tick() => {}
            _ = signals.hangup.recv() => apply(&mut reconciler, reload),
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
        if let Err(error) = reconciler.pass() {
            error!("{error:#}; what stands stays in force, and this is tried again within 30 s");
        }
    }
    notify(&[NotifyState::Stopping]);
    info!("stopped watching; the port STAYS closed (open it again: ollama-guard down)");
    Ok(())
}

/// Puts a changed configuration in force; a faulty one changes nothing.
fn apply(reconciler: &mut Reconciler, reload: &dyn Fn() -> Result<Policy, ConfigError>) {
    match reload() {
        Err(error) => error!("the configuration was not reloaded, the old one stays in force: {error}"),
        Ok(policy) => match reconciler.set_policy(policy) {
            Ok(()) => info!("configuration reloaded"),
            Err(error) => error!("the configuration was not reloaded: {error:#}"),
        },
    }
}

fn announce(policy: &Policy, pass: &Pass) {
    let what = services(&policy.services);
    match policy.mode {
        Mode::Enforce => info!("enforcing {what} on {} interfaces", pass.attached),
        Mode::Observe => warn!("OBSERVING {what} on {} interfaces: nothing is dropped", pass.attached),
    }
    if pass.failed > 0 {
        warn!("{} interfaces have no program; see: ollama-guard status", pass.failed);
    }
    notify(&[NotifyState::Ready]);
}

/// Tells systemd, if it started us.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!("cannot tell systemd our state: {error}");
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
