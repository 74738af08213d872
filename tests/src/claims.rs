//! What the suites claim of a port: it answers, or there is silence. Tried from all sides at once, since silence takes
//! as long as patience does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::listener::{GREETING, Listener};
use crate::netns::Netns;
use crate::probe::{self, Outcome};
use crate::topology::Side;
use crate::wait;

/// Somebody, and the address at which he tries.
pub type Attempt<'a> = (&'a Netns, IpAddr);

/// Both of the guarded host's addresses on each of these sides.
pub fn attempts<'a>(sides: impl IntoIterator<Item = &'a Side>) -> Vec<Attempt<'a>> {
    sides.into_iter().flat_map(|side| side.guard.both().map(|address| (&side.ns, address))).collect()
}

/// Everybody gets the whole answer by HTTP.
pub fn answers(port: u16, attempts: &[Attempt<'_>]) -> Result<()> {
    let open = |outcome: &Outcome| matches!(outcome, Outcome::Open(answer) if answer.ends_with(GREETING));
    for (who, outcome) in by_http(port, attempts)? {
        ensure!(open(&outcome), "port {port} does not answer {who}: {outcome:?}");
    }
    Ok(())
}

/// Nobody hears anything: no answer, no reset, no ICMP error. And nothing of what they sent reached TCP.
pub fn silent(listener: &Listener, port: u16, attempts: &[Attempt<'_>]) -> Result<()> {
    let (before, accepted) = (listener.witness.seen().len(), listener.accepted().len());
    let theirs = attempts.iter().map(|&attempt| source(attempt)).collect::<Result<Vec<_>>>()?;
    for (who, outcome) in by_http(port, attempts)? {
        ensure!(outcome == Outcome::Silent, "port {port} is not silent to {who}: {outcome:?}");
    }
    // What friends sent a moment ago may only now be seen.
    let mut seen = listener.witness.seen().split_off(before);
    seen.retain(|packet| theirs.contains(&packet.source));
    let accepted = &listener.accepted()[accepted..];
    ensure!(seen.is_empty(), "these packets reached TCP on port {port}: {seen:?}");
    ensure!(accepted.is_empty(), "the listener on port {port} accepted {accepted:?}");
    Ok(())
}

/// The port answers soon: for what a daemon has yet to notice.
pub fn answers_soon(port: u16, (from, address): Attempt<'_>) -> Result<()> {
    wait::until(format!("{address}:{port} to answer"), Duration::from_secs(10), || {
        probe::http(from, address, port).is_ok_and(|outcome| outcome.is_open())
    })
}

/// The port is silent soon.
pub fn silent_soon(port: u16, (from, address): Attempt<'_>) -> Result<()> {
    wait::until(format!("{address}:{port} to be silent"), Duration::from_secs(10), || {
        probe::http(from, address, port).is_ok_and(|outcome| outcome == Outcome::Silent)
    })
}

/// The address that the kernel gives a client as its own.
fn source((from, address): Attempt<'_>) -> Result<IpAddr> {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    Ok(from.enter(|| {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((address, 9))?;
        socket.local_addr().map(|own| own.ip())
    })??)
}

fn by_http(port: u16, attempts: &[Attempt<'_>]) -> Result<Vec<(String, Outcome)>> {
    thread::scope(|scope| {
        let tries: Vec<_> = attempts
            .iter()
            .map(|&(from, address)| {
                let who = format!("{} at {address}", from.name());
                scope.spawn(move || Ok((who, probe::http(from, address, port)?)))
            })
            .collect();
        tries.into_iter().map(|attempt| attempt.join().expect("a probe does not panic")).collect()
    })
}
