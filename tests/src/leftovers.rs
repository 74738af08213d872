//! What a crashed run leaves behind, and how the next one knows it: every name holds the pid of its maker.

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::process;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::netns;

/// Where pinned programs and maps live.
pub const BPFFS: &str = "/sys/fs/bpf";

/// A name nobody else uses: `og-<pid>-<n>-<role>`.
pub fn unique_name(role: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("og-{}-{}-{role}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A temporary folder that is removed on drop, and after a crash by the next run.
pub fn folder() -> io::Result<TempDir> {
    sweep();
    tempfile::Builder::new().prefix(&unique_name("")).tempdir()
}

/// Removes, once per process, the namespaces, pins and folders of test processes that no longer live.
pub fn sweep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(sweep_now);
}

/// The same, now.
pub fn sweep_now() {
    for name in orphans(Path::new(netns::DIRECTORY)) {
        netns::destroy(&name);
    }
    for folder in [Path::new(BPFFS), &env::temp_dir()] {
        for name in orphans(folder) {
            let _ = fs::remove_dir_all(folder.join(name));
        }
    }
}

/// The entries of a folder that were made by test processes which are gone.
fn orphans(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| maker(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()))
        .collect()
}

/// The pid in a name that [`unique_name`] gave.
fn maker(name: &str) -> Option<u32> {
    name.strip_prefix("og-")?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_maker() {
        assert_eq!(maker(&unique_name("guard")), Some(process::id()));
        assert_ne!(unique_name("guard"), unique_name("guard"));
        for foreign in ["guard", "og-", "og-x-1-guard", "og-12", "my-og-12-1-guard"] {
            assert_eq!(maker(foreign), None, "{foreign}");
        }
    }
}
