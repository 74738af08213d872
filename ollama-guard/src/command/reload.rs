//! `ollama-guard reload`: puts a changed configuration in force, and returns when it is.

use std::path::Path;

use nix::unistd::geteuid;

use super::output::print;
use super::prepare::tell_ways_in;
use super::{load, load_to_look};
use crate::control;
use crate::exit::Exit;

/// Checks the file first: what is wrong with it is shown here, not only in the daemon's log.
pub(super) fn reload(file: Option<&Path>) -> anyhow::Result<Exit> {
    if let Err(error) = load(file) {
        eprintln!("{error}\n\nnothing was changed: what was in force stays");
        return Ok(Exit::Usage);
    }
    let run = load_to_look(file).paths.run;
    if geteuid().is_root() {
        tell_ways_in(&run);
    }
    control::reload(&run)?;
    print("the configuration is in force\n")?;
    Ok(Exit::Fine)
}
