//! A real `WireGuard` tunnel between two namespaces, by the userspace implementation (it needs no kernel module).

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::leftovers;
use crate::netns::{Netns, run};
use crate::process::Process;
use crate::wait;

/// The UDP port both ends listen on.
pub const PORT: u16 = 51820;

/// What one end of a tunnel is made of.
#[derive(Debug)]
pub struct TunnelEnd<'a> {
    /// Where it is.
    pub ns: &'a Netns,
    /// What its interface is called.
    pub interface: &'a str,
    /// Its addresses inside the tunnel: what the other end may send it.
    pub inside: [IpAddr; 2],
    /// The address at which the other end reaches it.
    pub outside: Ipv4Addr,
}

/// A tunnel, up as long as this value lives. The interfaces have no addresses yet.
#[derive(Debug)]
pub struct Tunnel {
    /// The two daemons, in the order the ends were given.
    pub daemons: [Process; 2],
    _runtime: [TempDir; 2],
}

impl Tunnel {
    /// Starts both ends and tells each the other's key and address.
    pub fn start(one: &TunnelEnd<'_>, other: &TunnelEnd<'_>) -> Result<Self> {
        let runtime = [leftovers::folder()?, leftovers::folder()?];
        let daemons = [daemon(one, runtime[0].path())?, daemon(other, runtime[1].path())?];
        let keys = [keys(one, runtime[0].path())?, keys(other, runtime[1].path())?];
        configure(one, runtime[0].path(), other, &keys[1])?;
        configure(other, runtime[1].path(), one, &keys[0])?;
        Ok(Self { daemons, _runtime: runtime })
    }

    /// The same by the kernel's own `WireGuard`: it lives as long as the namespaces.
    pub fn in_the_kernel(one: &TunnelEnd<'_>, other: &TunnelEnd<'_>) -> Result<()> {
        let folders = [leftovers::folder()?, leftovers::folder()?];
        for end in [one, other] {
            end.ns.ip(&format!("link add {} type wireguard", end.interface))?;
        }
        let keys = [keys(one, folders[0].path())?, keys(other, folders[1].path())?];
        configure(one, folders[0].path(), other, &keys[1])?;
        configure(other, folders[1].path(), one, &keys[0])
    }
}

/// Both programs meet at a socket in one fixed folder, which would make interface names global; here each end sees a
/// folder of its own there, in a mount namespace that nobody else is in.
const PRIVATE: &str = r#"mkdir -p /run/wireguard && mount --bind "$0" /run/wireguard && exec "$@""#;

/// The arguments to `unshare` that run a command with `folder` as its `/run/wireguard`.
fn private<'a>(folder: &'a str, command: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["--mount", "sh", "-c", PRIVATE, folder];
    arguments.extend(command);
    arguments
}

fn daemon(end: &TunnelEnd<'_>, folder: &Path) -> Result<Process> {
    let arguments = private(text(folder)?, &["wireguard-go", "--foreground", end.interface]);
    let mut daemon = end.ns.spawn("unshare", &arguments)?;
    let socket = folder.join(format!("{}.sock", end.interface));
    let running =
        wait::until("wireguard-go's socket", Duration::from_secs(10), || socket.exists() || !daemon.is_running());
    anyhow::ensure!(running.is_ok() && daemon.is_running(), "wireguard-go did not start: {}", daemon.log());
    Ok(daemon)
}

/// Makes a private key in `folder/key`; returns the public one.
fn keys(end: &TunnelEnd<'_>, folder: &Path) -> Result<String> {
    fs::write(folder.join("key"), run(&mut end.ns.command("wg", &["genkey"]))?)?;
    let pipe = format!("wg pubkey < {}", text(&folder.join("key"))?);
    Ok(end.ns.run("sh", &["-c", &pipe])?.trim().to_owned())
}

fn configure(end: &TunnelEnd<'_>, folder: &Path, peer: &TunnelEnd<'_>, key: &str) -> Result<()> {
    let port = PORT.to_string();
    let endpoint = format!("{}:{PORT}", peer.outside);
    let [v4, v6] = peer.inside;
    let inside = format!("{v4}/32,{v6}/128");
    let key_file = folder.join("key");
    let set = [
        "wg",
        "set",
        end.interface,
        "listen-port",
        &port,
        "private-key",
        text(&key_file)?, //
        "peer",
        key,
        "endpoint",
        &endpoint,
        "allowed-ips",
        &inside,
    ];
    end.ns.run("unshare", &private(text(folder)?, &set))?;
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}
