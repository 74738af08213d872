//! Drops as they happen: in the log, on `events.sock`, and to the programs that people point at them.

mod faces;
mod fail2ban;
mod flood;
mod journal;
mod readers;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tests::guard::{DATAGRAMS_TOO as POLICY, Guard};
use tests::netns::Netns;
use tests::process::Process;
use tests::wait;

/// Beyond any second that a line may be held.
const SOON: Duration = Duration::from_secs(10);

/// Sends datagrams to the guarded port.
fn send(ns: &Netns, from: IpAddr, to: IpAddr, datagrams: u64) -> Result<()> {
    ns.enter(|| -> Result<()> {
        let socket = UdpSocket::bind(SocketAddr::new(from, 0))?;
        for _ in 0..datagrams {
            socket.send_to(b"hello", SocketAddr::new(to, 11434))?;
        }
        Ok(())
    })?
}

/// Whoever reads `events.sock`, in a process of its own.
struct Reader(Process);

impl Reader {
    /// Starts one and waits until the daemon has it.
    fn start(ns: &Netns, guard: &Guard<'_>, arguments: &[&str]) -> Result<Self> {
        let before = connections(ns, guard)?;
        let (binary, config) = (tests::guard::binary(), guard.config());
        let binary = binary.to_str().context("path")?;
        let arguments = [&["events", "--config", config.to_str().context("path")?], arguments].concat();
        let mut reader = Self(ns.spawn(binary, &arguments)?);
        wait::until("the daemon to accept the reader", SOON, || {
            connections(ns, guard).is_ok_and(|now| now > before) || !reader.0.is_running()
        })
        .with_context(|| reader.0.log())?;
        Ok(reader)
    }

    /// The documents it has printed.
    fn documents(&self) -> Vec<Value> {
        let log = self.0.log();
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or(Value::Null)).collect()
    }

    /// The packets that its documents tell of.
    fn packets(&self) -> u64 {
        self.documents().iter().filter_map(|line| line["count"].as_u64()).sum()
    }
}

/// How many readers the daemon has accepted: connected ends of its socket bear its path.
fn connections(ns: &Netns, guard: &Guard<'_>) -> Result<usize> {
    let path = guard.config().with_file_name("run").join("events.sock");
    let sockets = ns.run("ss", &["-xHn", "state", "established"])?;
    Ok(sockets.lines().filter(|line| line.contains(path.to_str().unwrap_or("?"))).count())
}
