//! What was put in force, written down for `status`: in a pinned map, which outlives everything but a reboot; where there
//! is no BPF, in a file of the run directory. The file, while it is there, is the newer of the two.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::account;
use crate::datapath::{PinDirectory, State, Wall};
use crate::policy::Paths;

/// In bytes. A record holds two policies at most.
const LONGEST: u64 = 4 << 20;

fn path(run: &Path) -> PathBuf {
    run.join("record.json")
}

/// Writes the record where it belongs.
pub(super) fn write(run: &Path, wall: Option<&Wall>, state: &State) -> anyhow::Result<()> {
    match wall {
        Some(wall) => {
            wall.set_state(state)?;
            Ok(remove(run)?)
        }
        None => Ok(write_file(run, state)?),
    }
}

fn write_file(run: &Path, state: &State) -> io::Result<()> {
    let fresh = run.join("record.json.new");
    DirBuilder::new().recursive(true).mode(0o755).create(run)?;
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(&serde_json::to_vec(state)?)?;
    fs::rename(&fresh, path(run))
}

/// Takes the file away, if there is one.
pub fn remove(run: &Path) -> io::Result<()> {
    // Looked for first: a file system that may only be read refuses to remove what is not there, too.
    if fs::symlink_metadata(path(run)).is_err() { Ok(()) } else { fs::remove_file(path(run)) }
}

/// The file's record, if there is one. A file that strangers made, or another version, says nothing.
pub fn read(run: &Path) -> io::Result<Option<State>> {
    let mut options = OpenOptions::new();
    let opened = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path(run));
    let file = match opened {
        // Whoever may not read it has to know; whatever else is there is no record.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
        Err(_) => return Ok(None),
        Ok(file) => file,
    };
    let found = file.metadata()?;
    if !found.is_file() || !account::is_trusted(found.uid()) {
        return Ok(None);
    }
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text).ok())
}

/// What an earlier run wrote down.
pub(super) fn earlier(paths: &Paths) -> Option<State> {
    let file = read(&paths.run).ok().flatten();
    let pinned =
        || Wall::open(PinDirectory::at(&paths.bpf)).and_then(|wall| wall.map_or(Ok(None), |wall| wall.state()));
    file.or_else(|| {
        pinned().unwrap_or_else(|error| {
            warn!("what an earlier run wrote down is lost, its service counters may be renamed: {error}");
            None
        })
    })
}
