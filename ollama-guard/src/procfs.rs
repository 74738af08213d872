//! What `/proc` says of this host's processes: how they were started, and whose a socket is. [`mod@format`] is pure, [`read`]
//! is thin and bounded: others decide how many processes there are and what they say. Somebody who may not see everything
//! gets what they may see.

mod format;
mod read;

pub(crate) use format::Status;
pub use read::owners;
pub(crate) use read::{here, is_here, processes, read_file, sockets, status};

/// A running program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its id.
    pub(crate) id: u32,
    /// What the kernel calls it, cut to 15 bytes.
    pub(crate) name: String,
    /// The user it is: real, effective, saved and for files.
    pub(crate) user: u32,
    /// It is in no inner namespace of process ids, as what is in a container is.
    pub(crate) outermost: bool,
    /// It is in our network namespace.
    pub(crate) here: bool,
    /// How it was started, the program first; cut where it is too long.
    pub(crate) arguments: Vec<String>,
}

/// For the fuzzer: a file of `/proc` with anything in it; a process writes its own title.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    crate::sockets::fuzz(bytes);
    let text = String::from_utf8_lossy(bytes);
    let (name, title) = text.split_once('\n').unwrap_or((&text, ""));
    format::process_name(name, title);
    format::status(&text);
    format::arguments(bytes);
}
