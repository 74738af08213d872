//! How the program ends: the exit codes that scripts and units rely on.

use std::io;
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

/// An error and its causes in one line, each said once: many of our messages hold their cause already.
pub fn in_words(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |words, cause| match (words.as_str(), cause.to_string()) {
        ("", cause) => cause,
        (said, cause) if said.contains(&cause) => words,
        (said, cause) => format!("{said}: {cause}"),
    })
}

/// The next step after an error of the system, if that is to be root; for the end of a message.
pub fn as_root(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied { "; run it as root (sudo)" } else { "" }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    /// Units and people's scripts rely on them.
    #[test]
    fn an_exit_has_the_code_that_is_documented() {
        for (exit, code) in [(Exit::Fine, 0), (Exit::Failed, 1), (Exit::Usage, 2), (Exit::NotEnforcing, 3)] {
            assert_eq!((exit.code(), ExitCode::from(exit)), (code, ExitCode::from(code)));
        }
    }

    #[test]
    fn only_a_lack_of_permission_is_a_reason_to_be_root() {
        assert_eq!(as_root(&io::Error::from_raw_os_error(13)), "; run it as root (sudo)");
        assert_eq!(as_root(&io::Error::from_raw_os_error(2)), "");
    }

    #[test]
    fn a_cause_is_said_once() {
        let cause = || io::Error::from_raw_os_error(2);
        let told: Result<(), _> = Err(cause()).context("cannot open x: No such file or directory (os error 2)");
        assert_eq!(in_words(&told.unwrap_err()), "cannot open x: No such file or directory (os error 2)");
        let untold: Result<(), _> = Err(cause()).context("cannot open x");
        assert_eq!(in_words(&untold.unwrap_err()), "cannot open x: No such file or directory (os error 2)");
    }
}
