//! How the program ends: the exit codes that scripts and units rely on.

use std::process::ExitCode;

/// The only place where an exit code has a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or everything is enforced.
    Fine,
    /// 1: something failed; stderr says what and what to do next.
    Failed,
    /// 2: wrong usage or a faulty configuration. clap exits with the same code.
    Usage,
    /// 3: `status` found enforcement absent or partial.
    NotEnforcing,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotEnforcing => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}
