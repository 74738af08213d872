//! ufw, Ubuntu's firewall, in one namespace, with files of its own in place of this machine's.

use std::fs;
use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

use crate::leftovers;
use crate::netns::{Netns, run};

const WITH_OWN_FILES: &str = r#"mount --bind "$0/etc" /etc/ufw && mount --bind "$0/default" /etc/default/ufw &&
    mount --bind "$0/run" /run && exec "$@""#;

/// ufw as its package installs it, enabled.
#[derive(Debug)]
pub struct Ufw<'a> {
    host: &'a Netns,
    folder: TempDir,
}

impl<'a> Ufw<'a> {
    /// Copies its files and enables it.
    pub fn enable(host: &'a Netns) -> Result<Self> {
        let folder = leftovers::folder()?;
        let at = |name: &str| folder.path().join(name);
        run(Command::new("cp").arg("-a").arg("/etc/ufw").arg(at("etc")))?;
        fs::copy("/etc/default/ufw", at("default"))?;
        fs::create_dir(at("run"))?;
        let ufw = Self { host, folder };
        ufw.run(&["--force", "enable"])?;
        Ok(ufw)
    }

    /// Runs one of its commands.
    pub fn run(&self, arguments: &[&str]) -> Result<()> {
        let folder = self.folder.path().display().to_string();
        let own = ["--mount", "--propagation", "private", "sh", "-c", WITH_OWN_FILES, &folder, "ufw"];
        self.host.run("unshare", &[&own[..], arguments].concat()).map(drop)
    }
}
