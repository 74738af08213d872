//! `cargo xtask run`: builds as whoever calls, then starts the guard as root.

use crate::{compile, sh};
use anyhow::{Context as _, Result};
use std::{env, ffi::OsString};

/// Sets up, builds for release, and hands over to `start` with root's rights.
pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    let binary = compile::compile(true)?;
    if sh::is_root() {
        return crate::daemon::start(&binary, arguments);
    }
    eprintln!("starting the guard needs root; asking sudo");
    let own = env::current_exe().context("cannot tell where this program lies")?;
    sh::run(sh::root(own).arg("start").arg(&binary).arg("--").args(arguments))
}
