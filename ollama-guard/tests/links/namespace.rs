//! A network namespace for one test.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use ollama_guard::links::{Link, Links};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Deleted, with all that is in it, when dropped.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    /// A new one, which the calling thread enters: each test has a thread of its own. `None` where that takes
    /// more privilege than there is.
    pub(crate) fn enter() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            let why = "skipped: network namespaces require root";
            assert!(std::env::var_os("OLLAMA_GUARD_NO_SKIP").is_none_or(|set| set != "1"), "{why}");
            eprintln!("{why}");
            return None;
        }
        let namespace = Self::create();
        let file = File::open(format!("/run/netns/{}", namespace.name)).unwrap();
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        Some(namespace)
    }

    /// A new one beside the current.
    pub(crate) fn create() -> Self {
        let name = format!("og-links-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        ip(&format!("netns add {name}"));
        Self { name }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

/// Runs `ip` in the calling thread's namespace.
pub(crate) fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs many `ip` commands in one process.
pub(crate) fn ip_batch(lines: &str) {
    let file = std::env::temp_dir().join(format!("og-links-{}-{:?}", std::process::id(), std::thread::current().id()));
    std::fs::write(&file, lines).unwrap();
    ip(&format!("-batch {}", file.display()));
    std::fs::remove_file(file).unwrap();
}

pub(crate) fn by_name(name: &str) -> Link {
    let links = Links::read().unwrap();
    links.by_name(&name.parse().unwrap()).unwrap_or_else(|| panic!("{name} is not among {links:#?}")).clone()
}
