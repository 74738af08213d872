//! What a packet costs, in counts that do not jitter: instructions and calls of its way through the kernel programs, and
//! how large these are. None may be above what `cost.toml` says. Times are for `cargo xtask bench`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ollama_guard::class::Class;
use ollama_guard::config;
use ollama_guard::plan::rules::KernelRules;
use ollama_guard::plan::services::ServiceTable;
use tests::packet::{Extension, Packet};
use tests::stand::{Stand, Way};
use tests::walk::{Steps, Walk};
use tests::{require, requires};
use toml::Table;

const LIMITS: &str = include_str!("cost.toml");
/// The defaults: TCP to Ollama's port.
const POLICY: &str = "";

/// A packet, and on what kind of interface it arrives how often.
struct Case {
    name: String,
    class: Class,
    frame: Vec<u8>,
    times: usize,
}

/// Every way that is worth a limit.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, class, packet: &Packet, times| {
        cases.push(Case { name, class, frame: packet.bytes(), times });
    };
    for (family, packet) in [("v4", Packet::v4 as fn(u16) -> Packet), ("v6", Packet::v6)] {
        add(format!("unrelated TCP {family}"), Class::Guarded, &packet(443), 1);
        add(format!("unrelated UDP {family}"), Class::Guarded, &packet(443).udp(), 1);
        add(format!("refused {family}, a new source"), Class::Guarded, &packet(11434), 1);
        add(format!("refused {family}, once more"), Class::Guarded, &packet(11434), 2);
        add(format!("accepted {family}, a new source"), Class::Trusted, &packet(11434), 1);
        add(format!("accepted {family}, once more"), Class::Trusted, &packet(11434), 2);
    }
    add("unrelated, v4 options".into(), Class::Guarded, &Packet::v4(443).with_v4(|header| header.options = 3), 1);
    let chain = [Extension::HopByHop(0), Extension::Destination(0)];
    add("unrelated, two v6 extensions".into(), Class::Guarded, &Packet::v6(443).behind(&chain), 1);
    add("refused, two v6 extensions".into(), Class::Guarded, &Packet::v6(11434).behind(&chain), 2);
    cases
}

/// The last of the case's frames.
fn walk(case: &Case, way: Way) -> Result<Steps> {
    let policy = config::parse(Path::new("test.toml"), POLICY)?;
    let services = ServiceTable::default().update(&policy).0;
    let rules = KernelRules::lower(&policy, &services, &BTreeSet::new(), case.class, &"eth0".parse()?);
    let mut walk = Walk::new(way, &rules.constants(0))?;
    let mut steps = None;
    for _ in 0..case.times {
        steps = Some(walk.frame(&case.frame).with_context(|| format!("{}, {way:?}", case.name))?);
    }
    steps.context("no frame")
}

const WAYS: [(Way, &str); 3] = [(Way::Xdp, "xdp"), (Way::Tc, "tc"), (Way::TcLayer3, "tc-l3")];

/// Figures by what they are of, held against a table of the file.
fn compare(figures: &BTreeMap<String, Vec<u32>>, table: &str, units: &[&str]) -> Result<()> {
    let limits: Table = LIMITS.parse()?;
    let limits = limits[table].as_table().with_context(|| format!("cost.toml has no table {table}"))?;
    let mut above = Vec::new();
    for (name, figures) in figures {
        println!("{table}: {name}: {figures:?}");
        let Some(limits) = limits.get(name).and_then(|row| row.as_array()) else {
            above.push(format!("cost.toml: [{table}] lacks \"{name}\" = {figures:?} # {}", units.join(", ")));
            continue;
        };
        for ((figure, limit), unit) in figures.iter().zip(limits).zip(units) {
            if limit.as_integer().is_none_or(|limit| i64::from(*figure) > limit) {
                above.push(format!("{table}, {name}: {figure} {unit}, the limit is {limit}"));
            }
        }
    }
    if let Some(stale) = limits.keys().find(|name| !figures.contains_key(*name)) {
        above.push(format!("cost.toml: [{table}] \"{stale}\" is nothing that is counted"));
    }
    ensure!(
        above.is_empty(),
        "{}\nMake it cheaper, or raise the limit in tests/tests/cost.toml and say why in the commit.",
        above.join("\n")
    );
    Ok(())
}

#[test]
fn no_way_through_the_programs_got_longer() -> Result<()> {
    for (way, table) in WAYS {
        let mut figures = BTreeMap::new();
        for case in cases() {
            let Steps { instructions, calls, .. } = walk(&case, way)?;
            figures.insert(case.name, vec![instructions, calls]);
        }
        compare(&figures, table, &["instructions executed", "calls"])?;
    }
    Ok(())
}

/// On a port of a bridge nearly all frames are others' affair: they are out after one look, whatever they hold.
#[test]
fn a_member_s_frames_are_out_after_one_look() -> Result<()> {
    let policy = config::parse(Path::new("test.toml"), POLICY)?;
    let services = ServiceTable::default().update(&policy).0;
    let rules = KernelRules::lower(&policy, &services, &BTreeSet::new(), Class::Guarded, &"eth0".parse()?);
    let mut figures = BTreeMap::new();
    for (name, packet) in [("bridged, unrelated", Packet::v4(443)), ("bridged, guarded", Packet::v6(11434))] {
        let Steps { answer, instructions, calls } = Walk::member(&rules.constants(0))?.frame(&packet.bytes())?;
        ensure!(answer == u32::MAX, "{name}: {answer}");
        figures.insert(name.to_owned(), vec![instructions, calls]);
    }
    let drops = Packet { to: [0x01, 0x80, 0xc2, 0, 0, 0x0e], ..Packet::v4(11434) };
    let steps = Walk::member(&rules.constants(0))?.frame(&drops.bytes())?;
    ensure!(steps.answer == 2, "to a link-local address: {steps:?}");
    compare(&figures, "tc-member", &["instructions executed", "calls"])
}

#[test]
fn the_walks_end_where_the_kernel_s_do() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    [Class::Guarded, Class::Trusted].into_iter().try_for_each(|class| {
        Stand::run(|stand| {
            let mut loaded = stand.load(POLICY, class)?;
            for case in cases().into_iter().filter(|case| case.class == class) {
                for (way, name) in WAYS {
                    let (passed, _) = loaded.meet(way, &case.frame)?;
                    let pass = if way == Way::Xdp { 2 } else { u32::MAX };
                    let Steps { answer, .. } = walk(&case, way)?;
                    ensure!((answer == pass) == passed, "{}, {name}: {answer}, the kernel passed: {passed}", case.name);
                }
            }
            Ok(())
        })
    })
}

#[test]
fn the_programs_did_not_grow() -> Result<()> {
    require!(requires::root(), requires::bpffs());
    let figures = Stand::run(|stand| {
        let loaded = stand.load(POLICY, Class::Guarded)?;
        let mut figures = BTreeMap::new();
        for (way, name) in WAYS {
            let size = loaded.size(way)?;
            ensure!(size.instructions > 100, "{name}: {size:?}");
            figures.insert(name.to_owned(), vec![size.instructions, size.verified]);
        }
        Ok(figures)
    })?;
    compare(&figures, "size", &["instructions", "instructions verified"])
}
