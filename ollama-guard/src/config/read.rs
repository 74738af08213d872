//! The file's top level: every key that stands before the first section, and who reads the sections.

use super::section::{Field, Section};
use super::{allows, defaults, interfaces, limits, metrics, paths, services};
use crate::policy::{Attach, Forwarded, Mode, Policy, Profile};

const PROFILES: [(&str, Profile); 3] = [("local", Profile::Local), ("vpn", Profile::Vpn), ("lan", Profile::Lan)];
const MODES: [(&str, Mode); 2] = [("enforce", Mode::Enforce), ("observe", Mode::Observe)];
const FORWARDED: [(&str, Forwarded); 2] = [("drop", Forwarded::Drop), ("pass", Forwarded::Pass)];
pub(super) const ATTACH: [(&str, Attach); 5] = [
    ("auto", Attach::Auto),
    ("xdp", Attach::Xdp),
    ("xdp-generic", Attach::XdpGeneric),
    ("tc", Attach::Tc),
    ("clsact", Attach::Clsact),
];

/// Reads everything. Where a key has a fault its default stands in, so that the faults after it are found too;
/// the caller throws such a policy away.
pub(super) fn policy(mut root: Section<'_, '_>) -> Policy {
    let profile = root.take("profile").and_then(|field| field.choice(&PROFILES)).unwrap_or_default();
    let mut policy = defaults::policy(profile);
    root.set("mode", &mut policy.mode, |field| field.choice(&MODES));
    root.set("attach", &mut policy.attach.default, |field| field.choice(&ATTACH));
    root.set("forwarded", &mut policy.forwarded, |field| field.choice(&FORWARDED));
    root.set("wall", &mut policy.layers.wall, Field::boolean);
    root.set("seatbelt", &mut policy.layers.seatbelt, Field::boolean);

    let ollama = root.take("ollama");
    policy.ollama = ollama.as_ref().and_then(Field::boolean).unwrap_or(true);
    let services = services::read(root.take("service").as_ref(), ollama.as_ref(), policy.ollama);
    policy.services = services.list;
    section(&mut root, "interfaces", |section| interfaces::read(section, &mut policy));
    if let Some(field) = root.take("allow") {
        // By name as written: a service with a fault of its own must not make its allows faulty too.
        policy.allow.extend(allows::read(&field, &services.names));
    }
    section(&mut root, "sources", |section| limits::read(section, &mut policy.sources));
    section(&mut root, "metrics", |section| metrics::read(section, &mut policy));
    section(&mut root, "paths", |section| paths::read(section, &mut policy.paths));
    root.finish();
    policy
}

fn section<'a, 'i>(root: &mut Section<'a, 'i>, key: &'static str, read: impl FnOnce(Section<'a, 'i>)) {
    if let Some(section) = root.take(key).and_then(|field| field.table()) {
        read(section);
    }
}
