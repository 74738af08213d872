//! The account of the service: a user without a shell, and the group of those who may ask the daemon.

use nix::unistd::{Group, User, geteuid};

/// Name of both; made by the package (`dist/sysusers.d/ollama-guard.conf`).
pub const NAME: &str = "ollama-guard";

/// The user's id; none where the package is not installed.
pub fn user() -> Option<u32> {
    User::from_name(NAME).ok().flatten().map(|user| user.uid.as_raw())
}

/// The group's id, likewise.
pub fn group() -> Option<u32> {
    Group::from_name(NAME).ok().flatten().map(|group| group.gid.as_raw())
}

/// How a user comes to ask the daemon on this host.
pub fn join() -> &'static str {
    match group() {
        Some(_) => "use sudo, or join the group ollama-guard (sudo usermod -aG ollama-guard $USER, then log in again)",
        None => "use sudo (the group ollama-guard, created by the package, does not exist here)",
    }
}

/// Is what this user made to be believed? Our own and root's is; to root, also the service's.
pub fn is_trusted(owner: u32) -> bool {
    let us = geteuid().as_raw();
    owner == us || owner == 0 || us == 0 && user() == Some(owner)
}
