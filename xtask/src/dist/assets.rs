//! Manual pages and shell completions, from the definitions of the command line.

use crate::sh;
use anyhow::{Context as _, Result};
use clap::ValueEnum as _;
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;
use std::{fs, path::Path, process::Command};

/// The program's own definitions. By path: this program has to build before the other one can.
#[path = "../../../ollama-guard/src/cli.rs"]
#[allow(dead_code, unreachable_pub, reason = "only the definitions are of interest here")]
mod cli;

/// Writes `man/*.8.gz` and `completions/*`.
pub(super) fn write(folder: &Path) -> Result<()> {
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    for folder in [&man, &completions] {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut command = cli::Cli::documented();
    for shell in Shell::value_variants().iter().filter(|shell| matches!(shell, Shell::Bash | Shell::Zsh | Shell::Fish))
    {
        generate_to(*shell, &mut command, "ollama-guard", &completions)?;
    }
    command.build();
    page(&command, "ollama-guard", &man)?;
    for command in command.get_subcommands() {
        page(command, &format!("ollama-guard-{}", command.get_name()), &man)?;
    }
    Ok(())
}

/// Section 8: the program is the administrator's.
fn page(command: &clap::Command, title: &str, folder: &Path) -> Result<()> {
    let mut text = Vec::new();
    let name: &'static str = String::leak(title.to_owned());
    Man::new(command.clone().name(name)).section("8").render(&mut text)?;
    let file = folder.join(format!("{title}.8"));
    fs::write(&file, text)?;
    // Without name and time inside, so that the same page is the same file.
    sh::run(Command::new("gzip").args(["--best", "--no-name"]).arg(file))
}
