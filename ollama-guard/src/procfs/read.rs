//! Reads `/proc`. The thin, impure part.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{Mode, OFlags, open};

use super::{Process, Status, format};
use crate::quota::Quota;

/// Bytes of a process's arguments; a proxy's take some hundred, and pasta's for a hundred ports less than this.
const LONGEST_TITLE: u64 = 16 * 1024;
/// Bytes of a process's status: beyond a list of some hundred groups.
const LONGEST_STATUS: u64 = 16 * 1024;
/// Descriptors of one process that are looked at.
const MOST_DESCRIPTORS: usize = 16 * 1024;

/// Socket inode → name of a process that holds it, for the processes whose descriptors we may see.
pub fn owners() -> HashMap<u64, String> {
    let mut owners = HashMap::new();
    for (id, directory) in directories() {
        let inodes = sockets(id).unwrap_or_default();
        if !inodes.is_empty() {
            let read = |file| String::from_utf8_lossy(&title(&directory.join(file))).into_owned();
            let name = format::process_name(&read("comm"), &read("cmdline"));
            owners.extend(inodes.into_iter().map(|inode| (inode, name.clone())));
        }
    }
    owners
}

/// The processes whose name (`comm`) is wanted, as far as the quota goes; false with them if time was up before all were
/// read. Those that end meanwhile are left out, and those that are two users at once.
pub(crate) fn processes(wanted: impl Fn(&str) -> bool, quota: &mut Quota, until: Instant) -> (Vec<Process>, bool) {
    let (mut processes, here) = (Vec::new(), here());
    for (id, directory) in directories() {
        if Instant::now() >= until {
            return (processes, false);
        }
        let name = String::from_utf8_lossy(&title(&directory.join("comm"))).trim_end().to_owned();
        if !wanted(&name) {
            continue;
        }
        let Some(Status { user: Some(user), depth, .. }) = status(id) else { continue };
        if !quota.take(user) {
            continue;
        }
        let arguments = format::arguments(&title(&directory.join("cmdline")));
        processes.push(Process { id, name, user, outermost: depth == Some(1), here: is_here(id, here), arguments });
    }
    (processes, true)
}

/// Whose a process is.
pub(crate) fn status(id: u32) -> Option<Status> {
    let text = read_bounded(File::open(format!("/proc/{id}/status")).ok()?, LONGEST_STATUS).ok()?;
    format::status(&String::from_utf8_lossy(&text))
}

/// What tells our network namespace from others: a file of `/proc/net` is another one in each. Unlike `/proc/PID/ns`, any
/// user may look at these.
pub(crate) fn here() -> Option<u64> {
    fs::metadata("/proc/thread-self/net/dev").map(|file| file.ino()).ok()
}

/// Is a process in the network namespace of [`here`]?
pub(crate) fn is_here(id: u32, here: Option<u64>) -> bool {
    here.is_some() && fs::metadata(format!("/proc/{id}/net/dev")).map(|file| file.ino()).ok() == here
}

/// The sockets that a process holds, by inode; an error if we may not see them.
pub(crate) fn sockets(id: u32) -> io::Result<HashSet<u64>> {
    let mut sockets = HashSet::new();
    for descriptor in fs::read_dir(format!("/proc/{id}/fd"))?.take(MOST_DESCRIPTORS) {
        let target = match fs::read_link(descriptor?.path()) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            Err(_) => continue, // closed meanwhile
        };
        let inode = |target: &str| target.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok();
        sockets.extend(target.to_str().and_then(inode));
    }
    Ok(sockets)
}

/// Reads a file of root's that others may have a hand in: never waits for a writer, follows no link at its end, and takes
/// regular files only, up to this many bytes.
pub(crate) fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY;
    let file = File::from(open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.uid() != 0 || metadata.len() > most {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    read_bounded(file, most)
}

fn read_bounded(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn title(path: &Path) -> Vec<u8> {
    File::open(path).and_then(|file| read_bounded(file, LONGEST_TITLE)).unwrap_or_default()
}

fn directories() -> impl Iterator<Item = (u32, PathBuf)> {
    let process = |entry: fs::DirEntry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()));
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(process)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::policy::Protocol;

    #[test]
    fn finds_a_socket_of_this_very_process() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = crate::sockets::listening(&[Protocol::Tcp].into())
            .into_iter()
            .find(|socket| socket.port == port)
            .expect("the socket is listed");
        assert_eq!(found.protocol, Protocol::Tcp);
        assert!(owners().contains_key(&found.inode));
        assert!(sockets(std::process::id()).unwrap().contains(&found.inode));
    }

    #[test]
    fn finds_this_very_process() {
        let id = std::process::id();
        let soon = Instant::now() + Duration::from_secs(60);
        let (found, all) = processes(|_| true, &mut Quota::new(100_000, 100_000, 100_000), soon);
        let found = found.into_iter().find(|process| process.id == id).expect("the process is listed");
        assert!(all && found.here);
        assert_eq!(found.arguments, std::env::args().collect::<Vec<_>>());
        let (none, all) = processes(|_| true, &mut Quota::new(9, 9, 9), Instant::now());
        assert!(none.is_empty() && !all, "time is up");
    }

    /// A container's folder is root's, but a FIFO in it would have the daemon wait for ever.
    #[test]
    fn only_what_is_a_file_is_read() {
        let folder = std::env::temp_dir().join(format!("ollama-guard-files-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let at = |name: &str| folder.join(name);
        fs::write(at("file"), "four").unwrap();
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        if nix::unistd::geteuid().is_root() {
            assert_eq!(read_file(&at("file"), 4).unwrap(), b"four");
        }
        for (name, most) in [("fifo", 4), ("link", 4), ("file", 3), (".", 4), ("nothing", 4)] {
            assert!(read_file(&at(name), most).is_err(), "{name}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
