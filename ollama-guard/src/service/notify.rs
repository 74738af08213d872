//! What the service manager is told: readiness, state in words, and that the loop is alive.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::observe::text::services;
use crate::policy::{Mode, Policy};
use crate::reconcile::Pass;

/// The line of systemd. All of it does nothing where systemd did not start us.
#[derive(Debug)]
pub(super) struct Manager {
    /// Of the watchdog, if there is one.
    period: Option<Duration>,
    fed: Instant,
    /// What was last said, so that it is said once.
    told: Option<String>,
}

impl Manager {
    pub(super) fn new() -> Self {
        // Three times as often as asked for: a late beat does not matter.
        let period = sd_notify::watchdog_enabled().map(|limit| limit / 3);
        Self { period, fed: Instant::now(), told: None }
    }

    /// A pass is done: enforcement is as `words` say.
    pub(super) fn passed(&mut self, words: String) {
        if self.told.as_ref() != Some(&words) {
            notify(&[NotifyState::Status(&words)]);
            self.told = Some(words);
        }
        self.alive();
    }

    /// Feeds the watchdog, if it was not fed just now. Only the loop does so, between its waits.
    pub(super) fn alive(&mut self) {
        if self.period.is_some_and(|period| self.fed.elapsed() > period / 2) {
            notify(&[NotifyState::Watchdog]);
            self.fed = Instant::now();
        }
    }

    /// Waits until the watchdog wants to be fed; without one, for ever. Cancel safe.
    pub(super) async fn hungry(&self) {
        match self.period {
            Some(period) => sleep_until(self.fed + period).await,
            None => std::future::pending().await,
        }
    }
}

/// Everything that was asked for is done.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// A reload begins; [`ready`] ends it.
pub(super) fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now().ok());
    notify(&states);
}

/// The daemon ends.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// What a pass amounts to, for `systemctl status`.
pub(super) fn words(policy: &Policy, pass: &Pass) -> String {
    if !policy.layers.wall && !policy.layers.seatbelt {
        return "NOTHING IS GUARDED: wall = false and seatbelt = false; set one of them to true, then reload"
            .to_owned();
    }
    let what = services(&policy.services);
    let mut words = match policy.mode {
        Mode::Enforce if pass.is_complete() => format!("enforcing {what} {}", reach(policy, pass)),
        Mode::Enforce => format!("PARTLY enforcing {what} {}", reach(policy, pass)),
        Mode::Observe => format!("OBSERVING {what} {}: nothing is dropped", reach(policy, pass)),
    };
    if pass.failed > 0 {
        words = format!("{words}; {} interfaces have no program", pass.failed);
    }
    if let Some(why) = &pass.wall_failed {
        words = format!("{words}; the eBPF layer is not in place: {why}");
    }
    if let Some(why) = &pass.seatbelt_failed {
        words = format!("{words}; the nftables layer is not in place: {why}");
    }
    words
}

/// The last line of the log. Whoever ends the daemon may be about to remove everything, so it promises nothing.
pub(super) fn farewell(policy: &Policy) -> &'static str {
    match policy.mode {
        _ if !policy.layers.wall && !policy.layers.seatbelt => "stopped; nothing was guarded",
        Mode::Observe => "stopped watching; what is in the kernel goes on counting, and drops nothing",
        Mode::Enforce => "stopped watching; what is in the kernel stays in force until: ollama-guard down",
    }
}

/// How far enforcement reaches, in words.
fn reach(policy: &Policy, pass: &Pass) -> String {
    match pass.attached {
        _ if !policy.layers.wall || pass.wall_failed.is_some() => "by nftables alone".to_owned(),
        1 => "on 1 interface".to_owned(),
        attached => format!("on {attached} interfaces"),
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("cannot tell systemd our state: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::built_in;

    #[test]
    fn what_is_degraded_is_in_the_words() {
        let sound = Pass { attached: 3, ..Pass::default() };
        assert_eq!(words(&built_in(), &sound), "enforcing ollama (tcp 11434) on 3 interfaces");
        let degraded = Pass { attached: 1, failed: 2, seatbelt_failed: Some("no module".into()), ..Pass::default() };
        let said = words(&built_in(), &degraded);
        assert!(
            said.ends_with(
                "on 1 interface; 2 interfaces have no program; the nftables layer is not in place: no module"
            ),
            "{said}"
        );
        let alone = words(&built_in(), &Pass { wall_failed: Some("no BPF".into()), ..Pass::default() });
        assert!(
            alone.starts_with("PARTLY enforcing") && alone.ends_with("eBPF layer is not in place: no BPF"),
            "{alone}"
        );
        let mut off = built_in();
        (off.layers.wall, off.layers.seatbelt) = (false, false);
        assert!(words(&off, &sound).starts_with("NOTHING IS GUARDED"));
        assert!(farewell(&built_in()).contains("stays in force until: ollama-guard down"));
        assert_eq!(farewell(&off), "stopped; nothing was guarded");
        let observed = Policy { mode: Mode::Observe, ..built_in() };
        assert!(farewell(&observed).ends_with("drops nothing") && !farewell(&observed).contains("in force"));
        let observing = words(&Policy { mode: Mode::Observe, ..built_in() }, &sound);
        assert!(observing.starts_with("OBSERVING") && observing.ends_with("nothing is dropped"), "{observing}");
    }
}
