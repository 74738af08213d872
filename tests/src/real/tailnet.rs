//! A real tailnet: the coordination server with its relay, and `tailscaled` in namespaces.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::parts::{Parts, utf8};
use crate::leftovers;
use crate::netns::Netns;
use crate::process::Process;
use crate::topology::{Addresses, Side};
use crate::wait;

/// Each step takes a second or two on an idle machine.
const LIMIT: Duration = Duration::from_mins(1);

/// The interface every node has.
pub const INTERFACE: &str = "tailscale0";

/// The coordination server, reachable at an address of the internet side.
#[derive(Debug)]
pub struct Coordinator {
    /// The server's process.
    pub process: Process,
    address: Ipv4Addr,
}

impl Coordinator {
    /// Starts it; nodes can join when this returns.
    pub fn start(parts: &Parts, internet: &Side) -> Result<Self> {
        let address = internet.own.v4;
        let program = parts.program("control");
        let mut process = internet.ns.spawn(utf8(&program)?, &["-address", &address.to_string()])?;
        process.logged("ready", LIMIT)?;
        Ok(Self { process, address })
    }

    fn url(&self) -> String {
        format!("http://{}:8080", self.address)
    }
}

/// A member of the tailnet. Dropping it ends the daemon; the interface goes with it.
#[derive(Debug)]
pub struct Node {
    /// The daemon.
    pub daemon: Process,
    /// Its addresses in the tailnet.
    pub addresses: Addresses,
    /// The client program, which talks to the daemon by a socket, from anywhere.
    client: PathBuf,
    folder: TempDir,
}

/// The daemon must not find the host's message bus, by which it would change the host's name resolution.
const PRIVATE: &str = r#"{ test ! -d /run/dbus || mount -t tmpfs tmpfs /run/dbus; } && exec "$@""#;

impl Node {
    /// Starts Tailscale in a namespace and joins the tailnet, without touching name resolution.
    pub fn join(parts: &Parts, ns: &Netns, name: &str, coordinator: &Coordinator) -> Result<Self> {
        let folder = leftovers::folder()?;
        let program = parts.program("tailscaled");
        let state = format!("--statedir={}", folder.path().display());
        let socket = format!("--socket={}", folder.path().join("socket").display());
        let tun = format!("--tun={INTERFACE}");
        let arguments = ["--mount", "sh", "-c", PRIVATE, "sh", utf8(&program)?];
        let options = [tun.as_str(), &state, &socket, "--no-logs-no-support"];
        let daemon = ns.spawn("unshare", &[&arguments[..], &options[..]].concat())?;

        let nowhere = Addresses { v4: Ipv4Addr::UNSPECIFIED, v6: std::net::Ipv6Addr::UNSPECIFIED };
        let mut node = Self { daemon, addresses: nowhere, client: parts.program("tailscale"), folder };
        wait::until("tailscaled's socket", LIMIT, || node.folder.path().join("socket").exists())
            .with_context(|| node.daemon.log())?;
        let (server, host) = (format!("--login-server={}", coordinator.url()), format!("--hostname={name}"));
        node.tailscale(&["up", &server, &host, "--accept-dns=false", "--timeout=60s"])?;
        node.addresses = node.assigned()?;
        Ok(node)
    }

    /// Waits until a packet to another node comes back, through the relay or directly.
    pub fn ping(&self, other: &Self) -> Result<()> {
        let address = other.addresses.v4.to_string();
        wait::value(format!("a way through the tailnet to {address}"), LIMIT, || {
            self.tailscale(&["ping", "--c=1", "--timeout=2s", "--until-direct=false", &address]).ok()
        })
        .with_context(|| self.daemon.log())?;
        Ok(())
    }

    /// Runs the client program with this node's daemon.
    pub fn tailscale(&self, arguments: &[&str]) -> Result<String> {
        let socket = format!("--socket={}", self.folder.path().join("socket").display());
        let output = Command::new(&self.client).arg(socket).args(arguments).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "tailscale {arguments:?}: {}\n{}", error.trim(), self.daemon.log());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn assigned(&self) -> Result<Addresses> {
        let printed = self.tailscale(&["ip"])?;
        let mut lines = printed.lines().map(str::trim);
        let mut next = || lines.next().with_context(|| format!("tailscale ip printed {printed:?}"));
        Ok(Addresses { v4: next()?.parse()?, v6: next()?.parse()? })
    }
}
