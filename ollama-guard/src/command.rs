//! The commands: thin, one file each. They print, and say how the program ends.

pub mod check;
pub mod output;

use anyhow::bail;

use crate::cli::{Cli, Command};
use crate::exit::Exit;

/// Does what the command line says.
pub fn run(cli: &Cli) -> anyhow::Result<Exit> {
    match &cli.command {
        Command::Check(args) => check::check(cli.config.as_deref(), args),
        _ => bail!("this build has no kernel side; only `ollama-guard check` works"),
    }
}
