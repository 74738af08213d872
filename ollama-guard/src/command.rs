//! The commands: thin, one file each. They print, and say how the program ends.

pub mod check;
mod down;
mod events;
mod look;
mod metrics;
pub mod output;
mod prepare;
mod reload;
mod run;
mod sources;
mod status;

use std::path::{Path, PathBuf};

use crate::cli::{Cli, Command};
use crate::config::{self, ConfigError};
use crate::exit::Exit;
use crate::policy::Policy;

/// Does what the command line says.
pub fn run(cli: &Cli) -> anyhow::Result<Exit> {
    let file = cli.config.as_deref();
    match &cli.command {
        Command::Check(args) => check::check(file, args),
        Command::Run(_) => run::run(file),
        Command::Status(args) => status::status(file, args),
        Command::Sources(args) => sources::sources(file, args),
        Command::Events(args) => events::events(file, args),
        Command::Metrics(args) => metrics::metrics(file, args),
        Command::Down(_) => down::down(file),
        Command::Reload => reload::reload(file),
        Command::Prepare => Ok(prepare::prepare(file)),
    }
}

fn load(file: Option<&Path>) -> Result<Policy, ConfigError> {
    config::load(file)
}

/// For commands that look at what is in force, which a faulty file does not change: they go on, with the directories
/// it names as far as these can be read, and say so.
fn load_to_look(file: Option<&Path>) -> Policy {
    config::load(file).unwrap_or_else(|error| {
        let paths = config::paths(file);
        eprintln!("{error}\nshowing what is in force now (from {})\n", paths.bpf.display());
        Policy { paths, ..config::built_in() }
    })
}

/// The file to name in advice.
fn config_file(file: Option<&Path>) -> PathBuf {
    config::or_default(file).to_owned()
}
