//! What a client sees of a port: it answers, it refuses, or there is silence.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::Result;

use crate::netns::Netns;

/// How long a client waits before it calls it silence. Two SYNs of the kernel's (at 0 and 1 s) fit.
pub const PATIENCE: Duration = Duration::from_millis(1500);

/// How a port looked from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It answered; with this.
    Open(String),
    /// It said that nobody listens: a reset, or port unreachable.
    Refused,
    /// Nothing came back.
    Silent,
    /// The network itself said no, as "no route to host".
    Unreachable(String),
}

impl Outcome {
    /// The port answered.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }
}

/// Connects by TCP from a namespace, sends nothing, hangs up.
pub fn tcp(from: &Netns, address: impl Into<IpAddr>, port: u16) -> Result<Outcome> {
    let target = SocketAddr::new(address.into(), port);
    from.enter(|| match TcpStream::connect_timeout(&target, PATIENCE) {
        Ok(_) => Outcome::Open(String::new()),
        Err(error) => failed(&error),
    })
}

/// Asks by HTTP from a namespace. [`Outcome::Open`] holds the whole answer, head and body.
pub fn http(from: &Netns, address: impl Into<IpAddr>, port: u16) -> Result<Outcome> {
    let target = SocketAddr::new(address.into(), port);
    from.enter(|| get(target).map_or_else(|error| failed(&error), Outcome::Open))
}

/// Sends a datagram from a namespace and waits for one back.
pub fn udp(from: &Netns, address: impl Into<IpAddr>, port: u16) -> Result<Outcome> {
    let target = SocketAddr::new(address.into(), port);
    from.enter(|| echo(target).map_or_else(|error| failed(&error), Outcome::Open))
}

/// Opens a TCP connection in a namespace, for a test that keeps it.
pub fn connect(from: &Netns, address: impl Into<IpAddr>, port: u16) -> Result<TcpStream> {
    let target = SocketAddr::new(address.into(), port);
    Ok(from.enter(|| TcpStream::connect_timeout(&target, PATIENCE))??)
}

/// Asks by HTTP on this thread; the whole answer.
pub fn get(target: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn echo(target: SocketAddr) -> std::io::Result<String> {
    let any: IpAddr = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(b"hello")?;
    let mut answer = [0; 64];
    let length = loop {
        match socket.recv(&mut answer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => break received?,
        }
    };
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn failed(error: &std::io::Error) -> Outcome {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Outcome::Refused,
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Outcome::Silent,
        _ => Outcome::Unreachable(error.to_string()),
    }
}
