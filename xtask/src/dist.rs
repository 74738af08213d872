//! `cargo xtask dist`: the packages, in `target/dist`.

mod assets;

use crate::{compile, setup, sh};
use anyhow::{Context as _, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const CARGO_DEB: &str = "3.8.0";
/// What goes into the archive from `dist`, besides what is made.
const SHIPPED: [&str; 4] = ["config.toml", "sysusers.d", "prometheus", "fail2ban"];

/// The packages.
pub(crate) struct Packages {
    /// For Debian and Ubuntu.
    pub(crate) deb: PathBuf,
    /// For others.
    pub(crate) archive: PathBuf,
}

/// Builds both packages of the optimised program.
pub(crate) fn dist() -> Result<Packages> {
    let binary = compile::compile(true)?;
    let folder = sh::target_dir()?.join("dist");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Below the program, where cargo-deb looks for what is built.
    let made = binary.with_file_name("assets");
    assets::write(&made)?;
    let packages = Packages { deb: deb(&folder)?, archive: archive(&folder, &binary, &made)? };
    eprintln!("packages: {}\n          {}", packages.deb.display(), packages.archive.display());
    Ok(packages)
}

/// What it holds stands in `ollama-guard/Cargo.toml`.
fn deb(folder: &Path) -> Result<PathBuf> {
    if sh::find_program("cargo-deb").is_none() {
        setup::say("cargo-deb", "makes the Debian package");
        setup::cargo_install("cargo-deb", CARGO_DEB)?;
    }
    let file = folder.join(format!("ollama-guard_{}_{}.deb", env!("CARGO_PKG_VERSION"), debian_architecture()));
    // cargo-deb finds the program in the folder that cargo builds into.
    let mut cargo = sh::cargo("deb");
    cargo.args(["--package=ollama-guard", "--locked", "--no-build", "--quiet"]);
    sh::run(cargo.arg("--output").arg(&file).env("CARGO_TARGET_DIR", sh::target_dir()?))?;
    Ok(file)
}

fn debian_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn archive(folder: &Path, binary: &Path, made: &Path) -> Result<PathBuf> {
    let name = format!("ollama-guard-{}-{}-linux", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let inside = folder.join(&name);
    let _ = fs::remove_dir_all(&inside);
    fs::create_dir_all(&inside)?;
    let (root, dist) = (sh::workspace(), sh::workspace().join("dist"));
    let mut copy = Command::new("cp");
    copy.args(["--recursive", "--target-directory"]).arg(&inside).arg(binary);
    copy.args(["man", "completions"].map(|part| made.join(part)));
    copy.args(SHIPPED.map(|part| dist.join(part))).args([dist.join("systemd"), dist.join("tarball/install.sh")]);
    copy.args(["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"].map(|file| root.join(file)));
    sh::run(&mut copy)?;
    let file = folder.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--gzip", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u+w,go-w"]);
    sh::run(tar.arg("--file").arg(&file).arg("--directory").arg(folder).arg(&name))?;
    fs::remove_dir_all(&inside)?;
    Ok(file)
}
