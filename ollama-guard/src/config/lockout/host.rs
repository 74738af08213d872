//! Reads who listens. Bounded, and little of it is anything that a user without rights can make longer: of the processes only
//! root's with a known name are looked into.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use tokio::sync::mpsc;

use super::{Listener, PROCESSES};
use crate::policy::Protocol;
use crate::sockets;

/// Processes looked into, and descriptors of each.
const MOST_PROCESSES: usize = 64;
const MOST_DESCRIPTORS: usize = 1024;
/// In bytes, of what was handed over.
const LONGEST: u64 = 64 << 10;

/// The ways into this network namespace, as far as this process may see them.
pub fn listeners() -> Vec<Listener> {
    let owners: Vec<(u64, String)> =
        programs().take(MOST_PROCESSES).flat_map(|(name, process)| sockets_of(&process, &name)).collect();
    if owners.is_empty() {
        return Vec::new();
    }
    let sockets = sockets::listening(&[Protocol::Tcp, Protocol::Udp].into());
    let listener = |socket: sockets::Socket| {
        let (_, process) = owners.iter().find(|(inode, _)| *inode == socket.inode && socket.user == 0)?;
        let process = process.clone();
        Some(Listener { protocol: socket.protocol, address: socket.address, port: socket.port, process })
    };
    let found: BTreeSet<Listener> = sockets.into_iter().filter_map(listener).collect();
    found.into_iter().collect()
}

/// The same on a thread of its own, with what root handed over; nobody waits for it.
pub fn look(run: &Path, found: mpsc::UnboundedSender<Vec<Listener>>) {
    let run = run.to_owned();
    let work = move || {
        let mut all = listeners();
        all.extend(handed_over(&run).unwrap_or_default());
        // Whoever asked may be gone.
        let _ = found.send(all);
    };
    // Without the thread the well-known ports remain.
    let _ = thread::Builder::new().name("ways in".to_owned()).spawn(work);
}

fn path(run: &Path) -> PathBuf {
    run.join("ways-in.json")
}

/// Writes down what root sees, for the service, which may not look into root's processes.
pub fn hand_over(run: &Path) -> io::Result<()> {
    let fresh = run.join("ways-in.json.new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&fresh)?;
    file.write_all(&serde_json::to_vec(&listeners())?)?;
    fs::rename(&fresh, path(run))
}

/// Believed only from root.
fn handed_over(run: &Path) -> Option<Vec<Listener>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path(run)).ok()?;
    let found = file.metadata().ok()?;
    (found.is_file() && found.uid() == 0).then_some(())?;
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Root's programs by which somebody may get in.
fn programs() -> impl Iterator<Item = (String, PathBuf)> {
    let here = ["user", "pid", "mnt"].map(|kind| namespace(Path::new("/proc/self"), kind));
    let initial = ["user", "pid", "mnt"].map(|kind| namespace(Path::new("/proc/1"), kind));
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(move |entry| {
        let process = entry.path();
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        let name = fs::read_to_string(process.join("comm")).ok()?.trim_end().to_owned();
        PROCESSES.iter().any(|(known, ..)| *known == name).then_some(())?;
        let status = fs::read_to_string(process.join("status")).ok()?;
        let place = ["user", "pid", "mnt"].map(|kind| namespace(&process, kind));
        let is_here = place.iter().all(Option::is_some) && (place == here || place == initial);
        let is_one = is_here && is_roots(&status) && is_installed(&process) && !is_session(&name, &process);
        is_one.then_some((name, process))
    })
}

fn namespace(process: &Path, kind: &str) -> Option<u64> {
    fs::metadata(process.join("ns").join(kind)).map(|found| found.ino()).ok()
}

/// Real, effective and saved: a set-user-id program that a user started has another real one.
pub(super) fn is_roots(status: &str) -> bool {
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    let users: Vec<&str> = users.split_ascii_whitespace().collect();
    users.len() == 4 && users.iter().all(|user| *user == "0")
}

/// Nobody but root could have put the program, or anything above it, where it is. One that was replaced since by an upgrade
/// counts: its file is still root's.
fn is_installed(process: &Path) -> bool {
    let is_roots = |found: fs::Metadata| found.uid() == 0 && found.mode() & 0o022 == 0;
    let file = process.join("exe");
    let Ok(program) = fs::read_link(&file) else { return false };
    fs::metadata(&file).is_ok_and(is_roots)
        && program.ancestors().skip(1).all(|directory| fs::metadata(directory).is_ok_and(is_roots))
}

/// A session of sshd is not sshd: its sockets are somebody's port forwardings.
fn is_session(name: &str, process: &Path) -> bool {
    let title = fs::read(process.join("cmdline")).unwrap_or_default();
    let title = String::from_utf8_lossy(&title);
    name == "sshd" && title.starts_with("sshd: ") && !title.contains("[listener]")
}

fn sockets_of(process: &Path, name: &str) -> Vec<(u64, String)> {
    let inode = |descriptor: DirEntry| {
        let target = fs::read_link(descriptor.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
        Some((inode, name.to_owned()))
    };
    fs::read_dir(process.join("fd")).into_iter().flatten().flatten().take(MOST_DESCRIPTORS).filter_map(inode).collect()
}
