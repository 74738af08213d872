//! Installs packages with the system's package manager, without questions and without hanging.

use crate::{need::Packages, sh};
use anyhow::{Context as _, Result, bail};
use std::{process::Command, time::Duration};

/// Long enough for a slow line, short enough not to look like a hang for ever.
const LIMIT: Duration = Duration::from_secs(1800);

/// Waits for another apt to finish, but not for a network that is not there.
const APT: [&str; 9] = [
    "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=10", "-o", "Acquire::https::Timeout=10",
    "-o", "DPkg::Lock::Timeout=300", "--quiet=2",
];

/// A package manager that this program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manager {
    /// Debian, Ubuntu.
    Apt,
    /// Fedora.
    Dnf,
    /// Arch.
    Pacman,
}

impl Manager {
    /// The one this system has.
    pub(crate) fn find() -> Option<Self> {
        let known = [("apt-get", Self::Apt), ("dnf", Self::Dnf), ("pacman", Self::Pacman)];
        known.into_iter().find(|(program, _)| sh::find_program(program).is_some()).map(|(_, manager)| manager)
    }

    /// The names it has for a need.
    pub(crate) fn names(self, packages: &Packages) -> impl Iterator<Item = &'static str> {
        let names = match self {
            Self::Apt => packages.apt,
            Self::Dnf => packages.dnf,
            Self::Pacman => packages.pacman,
        };
        names.split_whitespace()
    }

    fn install(self, names: &[&str]) -> Result<()> {
        match self {
            // The package lists are fetched only if what is there does not do: on a fresh machine, or when stale.
            Self::Apt => apt(&["--yes", "--no-install-recommends", "install"], names).or_else(|_| {
                eprintln!("fetching the package lists and trying once more");
                apt(&["update"], &[])?;
                apt(&["--yes", "--no-install-recommends", "install"], names)
            }),
            Self::Dnf => run(sh::root("dnf").args(["--assumeyes", "--setopt=timeout=10", "--setopt=retries=1", "install"]), names),
            Self::Pacman => run(sh::root("pacman").args(["--sync", "--needed", "--noconfirm"]), names),
        }
    }
}

/// Installs the packages, or says which ones a person has to.
pub(crate) fn install(names: &[&str]) -> Result<()> {
    if names.is_empty() {
        bail!("this distribution has no package for it; install it by hand");
    }
    let list = names.join(" ");
    let manager = Manager::find()
        .with_context(|| format!("none of apt-get, dnf and pacman is here; install by hand what Debian calls: {list}"))?;
    manager
        .install(names)
        .with_context(|| format!("could not install: {list}; is the network up? Or install them by hand"))
}

fn apt(action: &[&str], names: &[&str]) -> Result<()> {
    // Through env, because sudo may drop the variable.
    let mut command = sh::root("env");
    run(command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(APT).args(action), names)
}

fn run(command: &mut Command, names: &[&str]) -> Result<()> {
    sh::run_within(LIMIT, command.args(names).stdin(std::process::Stdio::null()))
}
