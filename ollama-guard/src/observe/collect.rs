//! Fills a [`Snapshot`] from the kernel: pins, interfaces and the nftables table. Needs no daemon.

mod derived;
mod findings;
mod interfaces;
mod seatbelt;
mod sources;

use std::path::Path;
use std::time::Duration;

pub use findings::findings;

use super::snapshot::{Problem, Seatbelt, SeatbeltState, Severity, Snapshot};
use crate::clock;
use crate::datapath::{PinDirectory, State, Wall};
use crate::links::Links;
use crate::plan::class::Placements;
use crate::policy::{ContainerAccess, Layers, Mode, Paths};
use crate::reconcile::Holder;

/// Reads everything that is enforced under these paths. `config` is the file to name in advice.
pub fn collect(paths: &Paths, config: &Path) -> anyhow::Result<Snapshot> {
    let pins = PinDirectory::at(&paths.bpf);
    let versions = pins.versions()?;
    let wall = Wall::open(pins)?;
    let state = match &wall {
        Some(wall) => wall.state()?,
        None => None,
    };
    let mut snapshot = absent(paths, config);
    for other in versions.others {
        snapshot.problems.push(other_version(paths, &other));
    }
    let (Some(wall), Some(state)) = (wall, state) else { return Ok(snapshot) };
    let mut reading = wall.reading()?;
    let links = Links::read()?;
    let placements = Placements::new(&state.policy, &links);
    let seen = interfaces::Seen {
        state: &state,
        links: &links,
        placements: &placements,
        attachments: &wall.standing()?.attachments,
        reading: &reading,
    };
    snapshot.interfaces = interfaces::collect(&seen);
    snapshot.problems.extend(interfaces::notices(&seen));
    seatbelt::collect(&mut snapshot, &seen);
    snapshot.problems.extend(derived::problems(&state));
    let found = findings::on_host(&state.policy, &links, &placements, Some(&reading));
    snapshot.problems.extend(state.findings.iter().cloned().chain(found).map(Problem::from));
    sources::collect(&mut snapshot, &mut reading, &state, &links);
    describe(&mut snapshot, state);
    Ok(snapshot)
}

/// What there is to say while nothing is enforced.
fn absent(paths: &Paths, config: &Path) -> Snapshot {
    Snapshot {
        version: env!("CARGO_PKG_VERSION"),
        mode: Mode::Enforce,
        layers: Layers { wall: true, seatbelt: true },
        container_access: ContainerAccess::Deny,
        services: Vec::new(),
        derived: Vec::new(),
        up: None,
        daemon: Holder::find(&paths.run).is_some(),
        config: config.to_owned(),
        interfaces: Vec::new(),
        seatbelt: Seatbelt { state: SeatbeltState::Missing, dropped: Vec::new(), repairs: 0 },
        sources: Vec::new(),
        sources_tracked: 0,
        unattributed_packets: 0,
        unattributed_for: None,
        source_evictions: 0,
        events_lost: 0,
        problems: Vec::new(),
    }
}

fn describe(snapshot: &mut Snapshot, state: State) {
    snapshot.up = Some(clock::age(Duration::from_secs(state.since)));
    snapshot.mode = state.policy.mode;
    snapshot.layers = state.policy.layers;
    snapshot.container_access = state.policy.container_access;
    snapshot.services = state.policy.services;
    snapshot.derived = state.derived;
}

fn other_version(paths: &Paths, name: &str) -> Problem {
    Problem {
        severity: Severity::Warning,
        subject: "pins".to_owned(),
        problem: format!("{} holds pins of another version of ollama-guard ({name})", paths.bpf.display()),
        next_step: "restart the daemon: it removes them once it enforces everywhere itself".to_owned(),
    }
}
