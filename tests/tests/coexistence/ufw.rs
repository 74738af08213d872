//! ufw, Ubuntu's firewall: enabled, told to let everybody to the port, reloaded.

use std::fs;

use anyhow::Result;
use tests::layers::Layers;
use tests::netns::{Netns, run};
use tests::topology::World;
use tests::{leftovers, require, requires};

use crate::{OTHER, PORT, Reload, beside, coexist};

beside!(with_ufw);

/// Runs a program that has ufw's files for itself, in place of this machine's.
const WITH_OWN_FILES: &str = r#"mount --bind "$0/etc" /etc/ufw && mount --bind "$0/default" /etc/default/ufw &&
    mount --bind "$0/run" /run && exec "$@""#;

fn with_ufw(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("ufw"), requires::tool("nft"));
    coexist(layers, &World::new()?, start)
}

fn start(host: &Netns) -> Result<Reload<'_>> {
    let folder = leftovers::folder()?;
    let at = |name: &str| folder.path().join(name);
    run(std::process::Command::new("cp").arg("-a").arg("/etc/ufw").arg(at("etc")))?;
    fs::copy("/etc/default/ufw", at("default"))?;
    fs::create_dir(at("run"))?;
    let ufw = move |arguments: &[&str]| {
        let folder = folder.path().display().to_string();
        let own = ["--mount", "--propagation", "private", "sh", "-c", WITH_OWN_FILES, &folder, "ufw"];
        host.run("unshare", &[&own[..], arguments].concat()).map(drop)
    };
    ufw(&["--force", "enable"])?;
    for port in [PORT, OTHER] {
        ufw(&["allow", &port.to_string()])?;
    }
    Ok(Box::new(move || ufw(&["reload"])))
}
