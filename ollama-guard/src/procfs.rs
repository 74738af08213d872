//! What `/proc` says of this host's processes: how they were started, and whose a socket is. [`mod@format`] is pure, [`read`]
//! is thin. Somebody who may not see everything gets what they may see.

mod format;
mod read;

pub use read::{own_namespace, owners, processes};

/// A running program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub id: u32,
    /// What the kernel calls it, cut to 15 bytes.
    pub name: String,
    /// The user it runs as.
    pub user: u32,
    /// Its network namespace; none where we may not look.
    pub namespace: Option<u64>,
    /// How it was started, the program first.
    pub arguments: Vec<String>,
}

/// For the fuzzer: a file of `/proc` with anything in it; a process writes its own title.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    crate::sockets::fuzz(bytes);
    let text = String::from_utf8_lossy(bytes);
    let (name, title) = text.split_once('\n').unwrap_or((&text, ""));
    format::process_name(name, title);
    format::user(&text);
}
