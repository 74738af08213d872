//! What a guard holds in the kernel and in its process: what must not grow.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::guard::Guard;
use tests::netns::run;
use tests::wait;

/// How many of each, for a guard at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Objects {
    programs: usize,
    maps: usize,
    links: usize,
    descriptors: usize,
}

impl Objects {
    /// Waits until every program of this guard's that the kernel holds is pinned (it frees them a little later), and
    /// counts.
    pub(super) fn settled(guard: &mut Guard<'_>) -> Result<Self> {
        let mut last = String::new();
        let settled = wait::value("programs that nobody pins to be freed", Duration::from_secs(10), || {
            Self::look(guard).map_err(|error| last = format!("{error:#}")).ok()
        });
        settled.context(last)
    }

    /// Tells this guard's programs from others' by its shared maps: every one of them counts in some.
    fn look(guard: &mut Guard<'_>) -> Result<Self> {
        let shared = pinned(guard.pins(), "map", "maps")?;
        let pinned = pinned(guard.pins(), "prog", "programs")?;
        let (mut programs, mut maps) = (BTreeSet::new(), shared.clone());
        for program in rows(&["prog", "list"])? {
            let uses: BTreeSet<u64> =
                program["map_ids"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
            if !uses.is_disjoint(&shared) {
                programs.insert(program["id"].as_u64().context("a program without an id")?);
                maps.extend(uses);
            }
        }
        ensure!(programs == pinned, "the kernel holds the programs {programs:?}, pinned are {pinned:?}");
        let links = rows(&["link", "list"])?;
        let ours = |link: &&Value| link["prog_id"].as_u64().is_some_and(|id| programs.contains(&id));
        let descriptors = fs::read_dir(format!("/proc/{}/fd", guard.process()?.pid()))?.count();
        let links = links.iter().filter(ours).count();
        Ok(Self { programs: programs.len(), maps: maps.len(), links, descriptors })
    }
}

/// Ids of what is pinned in this part of a pin directory, whatever its version.
fn pinned(pins: &Path, kind: &str, part: &str) -> Result<BTreeSet<u64>> {
    let mut ids = BTreeSet::new();
    for version in fs::read_dir(pins)? {
        for pin in fs::read_dir(version?.path().join(part))? {
            let path = pin?.path();
            let row = bpftool(&[kind, "show", "pinned", path.to_str().context("a path that is not UTF-8")?])?;
            ids.insert(row["id"].as_u64().with_context(|| format!("no id of {}", path.display()))?);
        }
    }
    Ok(ids)
}

fn rows(arguments: &[&str]) -> Result<Vec<Value>> {
    Ok(bpftool(arguments)?.as_array().context("bpftool told no list")?.clone())
}

fn bpftool(arguments: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&run(Command::new("bpftool").arg("--json").args(arguments))?)?)
}
