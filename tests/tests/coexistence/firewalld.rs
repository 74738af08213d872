//! firewalld, Fedora's firewall: its daemon, with a message bus of its own, told to let everybody to the port, reloaded.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tests::layers::Layers;
use tests::netns::{Netns, run};
use tests::process::Process;
use tests::topology::World;
use tests::{leftovers, require, requires, wait};

use crate::{OTHER, PORT, Reload, beside, coexist};

beside!(with_firewalld);

/// A message bus on which root may do everything.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=SOCKET</listen>
  <policy context="default"><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>"#;

fn with_firewalld(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("nft"));
    require!(requires::tool("firewalld"), requires::tool("firewall-cmd"), requires::tool("dbus-daemon"));
    coexist(layers, &World::new()?, start)
}

fn start(host: &Netns) -> Result<Reload<'_>> {
    let folder = leftovers::folder()?;
    let at = |name: &str| folder.path().join(name);
    let socket = at("bus");
    fs::write(at("bus.conf"), BUS.replace("SOCKET", &socket.display().to_string()))?;
    run(std::process::Command::new("cp").arg("-a").arg("/etc/firewalld").arg(at("etc")))?;

    let configuration = format!("--config-file={}", at("bus.conf").display());
    let bus = host.spawn("dbus-daemon", &["--nofork", "--nopidfile", &configuration])?;
    wait::until("the message bus", Duration::from_secs(20), || socket.exists()).with_context(|| bus.log())?;
    let system = at("etc").display().to_string();
    let options = ["--nofork", "--nopid", "--log-target", "console", "--system-config", &system];
    let mut daemon = Process::spawn(host.command("firewalld", &options).env(ADDRESS, address(&socket)), "firewalld")?;

    let tell =
        move |arguments: &[&str]| run(host.command("firewall-cmd", arguments).env(ADDRESS, address(&socket))).map(drop);
    let started =
        wait::until("firewalld", Duration::from_mins(1), || !daemon.is_running() || tell(&["--state"]).is_ok());
    started.with_context(|| daemon.log())?;
    let ports = [PORT, OTHER].map(|port| format!("--add-port={port}/tcp"));
    tell(&["--permanent", &ports[0], &ports[1]]).with_context(|| daemon.log())?;
    tell(&["--reload"])?;
    Ok(Box::new(move || {
        // They live as long as it can be told something.
        let _parts = (&folder, &bus, &daemon);
        tell(&["--reload"])
    }))
}

/// Where programs look for the system's message bus.
const ADDRESS: &str = "DBUS_SYSTEM_BUS_ADDRESS";

fn address(socket: &Path) -> String {
    format!("unix:path={}", socket.display())
}
