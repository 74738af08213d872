//! Fills a [`Snapshot`] from the kernel: pins, interfaces and the nftables table. Needs no daemon.

mod derived;
mod findings;
mod interfaces;
mod seatbelt;
mod sources;

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub use findings::findings;

use super::enforcement::enforcement;
use super::snapshot::{LastRepair, Problem, Seatbelt, SeatbeltState, Severity, Snapshot};
use crate::clock;
use crate::config::lockout::{self, Spared};
use crate::datapath::{Event, PinDirectory, State, Wall};
use crate::findings::Weight;
use crate::init::Init;
use crate::links::Links;
use crate::observe::text::ago;
use crate::plan::class::Placements;
use crate::policy::{ContainerAccess, Layers, Mode, Paths};
use crate::reconcile::{Holder, fingerprint, record};

/// How long a change that the daemon is about may take before it is told as a fault.
const SETTLING: Duration = Duration::from_secs(2);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(20);

/// Reads everything that is enforced under these paths. `config` is the file to name in advice.
///
/// What is seen in the middle of a change is looked at again: a policy that comes into force meanwhile, and an interface
/// that the living daemon has not dealt with yet, are no faults before [`SETTLING`] is over.
pub fn collect(paths: &Paths, config: &Path) -> anyhow::Result<Snapshot> {
    let start = Instant::now();
    loop {
        let (snapshot, is_settled) = look(paths, config)?;
        if is_settled || start.elapsed() >= SETTLING {
            return Ok(snapshot);
        }
        sleep(PAUSE);
    }
}

/// Looks once; false if it saw a change happen, and something is missing that this may explain.
fn look(paths: &Paths, config: &Path) -> anyhow::Result<(Snapshot, bool)> {
    let file = record::read(&paths.run)?;
    let pins = PinDirectory::at(&paths.bpf);
    let opened = pins.versions().and_then(|versions| Ok((versions.others, Wall::open(pins)?)));
    let (others, wall) = match opened {
        Err(error) if file.is_none() => return Err(error.into()),
        opened => opened.unwrap_or_default(),
    };
    let state = match (file, &wall) {
        (None, Some(wall)) => wall.state()?,
        (file, _) => file,
    };
    let mut snapshot = absent(paths, config);
    snapshot.problems.extend(others.iter().map(|other| other_version(paths, other)));
    let Some(state) = state else { return Ok((snapshot, true)) };
    let mut reading = wall.as_ref().map(Wall::reading).transpose()?.unwrap_or_default();
    let links = Links::read()?;
    let placements = Placements::new(&state.policy, &links);
    let standing = wall.as_ref().map(Wall::standing).transpose()?.unwrap_or_default();
    let seen = interfaces::Seen {
        state: &state,
        links: &links,
        placements: &placements,
        attachments: &standing.attachments,
        elsewhere: &standing.elsewhere,
        reading: &reading,
    };
    snapshot.interfaces = interfaces::collect(&seen);
    snapshot.problems.extend(interfaces::notices(&seen));
    seatbelt::collect(&mut snapshot, &seen);
    snapshot.problems.extend(derived::problems(&state));
    snapshot.problems.extend(state.spared.iter().map(spared));
    let found = findings::on_host(&state.policy, &links, &placements, Some(&reading));
    let found: Vec<_> = state.findings.iter().cloned().chain(found).collect();
    snapshot.opened = found.iter().any(|one| one.weight == Weight::Opens);
    snapshot.problems.extend(found.into_iter().map(Problem::from));
    snapshot.turned_away = findings::turned_away(&state, &links, &placements, &reading);
    sources::collect(&mut snapshot, &mut reading, &state, &links);
    describe(&mut snapshot, &state);
    let now = match (record::read(&paths.run)?, &wall) {
        (None, Some(wall)) => wall.state()?,
        (file, _) => file,
    };
    let was_quiet = now.as_ref() == Some(&state);
    let dealt_with = !snapshot.daemon || state.seen == fingerprint(&links);
    let is_settled = enforcement(&snapshot).is_full() || was_quiet && dealt_with;
    Ok((snapshot, is_settled))
}

/// What there is to say while nothing is enforced.
fn absent(paths: &Paths, config: &Path) -> Snapshot {
    Snapshot {
        version: env!("CARGO_PKG_VERSION"),
        mode: Mode::Enforce,
        layers: Layers { wall: true, seatbelt: true },
        container_access: ContainerAccess::Deny,
        allowed: Some(0),
        opened: false,
        services: Vec::new(),
        derived: Vec::new(),
        up: None,
        daemon: Holder::find(&paths.run).is_some(),
        reloading: false,
        wall_failure: None,
        init: Init::here(),
        turned_away: None,
        config: config.to_owned(),
        interfaces: Vec::new(),
        seatbelt: Seatbelt { state: SeatbeltState::Missing, dropped: Vec::new(), repairs: 0, owned: false },
        sources: Vec::new(),
        sources_tracked: 0,
        unattributed_packets: 0,
        unattributed_for: None,
        source_evictions: 0,
        events_lost: 0,
        hook_repairs: 0,
        last_repair: None,
        problems: Vec::new(),
    }
}

fn describe(snapshot: &mut Snapshot, state: &State) {
    snapshot.up = Some(age(state.since));
    snapshot.hook_repairs = state.hook_repairs;
    snapshot.last_repair =
        state.last_repair.as_ref().map(|last| LastRepair { what: last.what.clone(), age: age(last.at) });
    snapshot.problems.extend(state.reload_failure.as_ref().map(|failure| not_reloaded(snapshot, failure)));
    snapshot.mode = state.policy.mode;
    snapshot.layers = state.policy.layers;
    snapshot.container_access = state.policy.container_access;
    snapshot.allowed = (!state.allow_elided).then_some(state.policy.allow.len());
    snapshot.services.clone_from(&state.policy.services);
    snapshot.derived.clone_from(&state.derived);
    snapshot.reloading = snapshot.daemon && state.coming.is_some();
    snapshot.wall_failure = state.wall_failure.clone().filter(|_| snapshot.daemon);
}

/// Of something that happened so many seconds after boot.
fn age(at: u64) -> Duration {
    clock::age(Duration::from_secs(at))
}

fn not_reloaded(snapshot: &Snapshot, failure: &Event) -> Problem {
    Problem {
        severity: Severity::Warning,
        subject: "configuration".to_owned(),
        problem: format!("the last reload failed {}: {}", ago(age(failure.at)), failure.what),
        next_step: format!("change {} and reload: ollama-guard reload", snapshot.config.display()),
    }
}

fn spared(spared: &Spared) -> Problem {
    Problem {
        severity: Severity::Gap,
        subject: "configuration".to_owned(),
        problem: spared.to_string(),
        next_step: lockout::INSIST.to_owned(),
    }
}

fn other_version(paths: &Paths, name: &str) -> Problem {
    Problem {
        severity: Severity::Warning,
        subject: "pins".to_owned(),
        problem: format!("{} holds pins of another version of ollama-guard ({name})", paths.bpf.display()),
        next_step: "restart the daemon: it removes them once it enforces everywhere itself".to_owned(),
    }
}
