//! `cargo xtask build`: sets up and compiles.

use crate::{setup, sh};
use anyhow::Result;
use std::path::PathBuf;

/// Builds the program; the answer is where it lies.
pub(crate) fn compile(release: bool) -> Result<PathBuf> {
    setup::build_needs()?;
    let mut cargo = sh::cargo("build");
    cargo.args(["--locked", "--package=ollama-guard"]);
    if release {
        cargo.arg("--release");
    }
    sh::run(&mut cargo)?;
    let binary = sh::target_dir()?.join(if release { "release" } else { "debug" }).join("ollama-guard");
    eprintln!("built: {}", binary.display());
    Ok(binary)
}
