//! Reads `/proc`. The thin, impure part.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Process, format};

/// Socket inode → name of a process that holds it, for the processes whose descriptors we may see.
pub fn owners() -> HashMap<u64, String> {
    let mut owners = HashMap::new();
    for (_, directory) in directories() {
        let inodes = socket_inodes(&directory);
        if !inodes.is_empty() {
            let read = |file| String::from_utf8_lossy(&fs::read(directory.join(file)).unwrap_or_default()).into_owned();
            let name = format::process_name(&read("comm"), &read("cmdline"));
            owners.extend(inodes.into_iter().map(|inode| (inode, name.clone())));
        }
    }
    owners
}

/// The processes whose name (`comm`) is wanted. Those that end meanwhile are left out.
pub fn processes(wanted: impl Fn(&str) -> bool) -> Vec<Process> {
    let process = |(id, directory): (u32, PathBuf)| {
        let name = fs::read_to_string(directory.join("comm")).ok()?.trim_end().to_owned();
        wanted(&name).then_some(())?;
        let user = format::user(&fs::read_to_string(directory.join("status")).ok()?)?;
        let namespace = fs::metadata(directory.join("ns/net")).map(|link| link.ino()).ok();
        let arguments = format::arguments(&fs::read(directory.join("cmdline")).ok()?);
        Some(Process { id, name, user, namespace, arguments })
    };
    directories().filter_map(process).collect()
}

/// This thread's network namespace, as [`Process::namespace`] has it.
pub fn own_namespace() -> Option<u64> {
    fs::metadata("/proc/thread-self/ns/net").map(|link| link.ino()).ok()
}

fn directories() -> impl Iterator<Item = (u32, PathBuf)> {
    let process = |entry: fs::DirEntry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()));
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(process)
}

fn socket_inodes(process: &Path) -> Vec<u64> {
    let inode = |descriptor: fs::DirEntry| {
        let target = fs::read_link(descriptor.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    fs::read_dir(process.join("fd")).into_iter().flatten().flatten().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::policy::Protocol;
    use crate::sockets;

    #[test]
    fn finds_a_socket_of_this_very_process() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = sockets::listening(&[Protocol::Tcp].into())
            .into_iter()
            .find(|socket| socket.port == port)
            .expect("the socket is listed");
        assert_eq!(found.protocol, Protocol::Tcp);
        assert!(owners().contains_key(&found.inode));
    }

    #[test]
    fn finds_this_very_process() {
        let id = std::process::id();
        let found = processes(|_| true).into_iter().find(|process| process.id == id).expect("the process is listed");
        assert_eq!(found.namespace, own_namespace());
        assert_eq!(found.arguments, std::env::args().collect::<Vec<_>>());
    }
}
