//! What stands in for Ollama: an HTTP server on all addresses of a namespace that remembers who came, and a UDP echo.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, SockRef, Socket, Type};

use crate::netns::Netns;
use crate::probe;
use crate::wait;
use crate::witness::Witness;

/// What the HTTP server answers, as Ollama does.
pub const GREETING: &str = "Ollama is running";

/// One accepted connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// Who connected.
    pub from: SocketAddr,
    /// To which of the host's addresses.
    pub to: SocketAddr,
}

/// An HTTP server on `0.0.0.0:port` and `[::]:port`, with a [`Witness`] of what reached the port at all.
#[derive(Debug)]
pub struct Listener {
    /// Every TCP segment that came through to the port.
    pub witness: Witness,
    accepted: Arc<Mutex<Vec<Connection>>>,
    sockets: Vec<TcpListener>,
    threads: Vec<JoinHandle<()>>,
}

impl Listener {
    /// Starts to listen; the port answers when this returns.
    pub fn http(ns: &Netns, port: u16) -> Result<Self> {
        let witness = Witness::tcp(ns, port)?;
        let bound = ns.enter(|| everywhere(port).map(bind_tcp))?;
        let mut listener = Self { witness, accepted: Arc::default(), sockets: Vec::new(), threads: Vec::new() };
        for socket in bound {
            let socket = socket.with_context(|| format!("listening on port {port}"))?;
            let (accepting, accepted) = (socket.try_clone()?, Arc::clone(&listener.accepted));
            listener.threads.push(thread::spawn(move || serve(&accepting, &accepted)));
            listener.sockets.push(socket);
        }
        Ok(listener)
    }

    /// Waits until the witness has read all that has arrived: when it has seen what the host now sends to itself.
    pub fn settle(&self, ns: &Netns) -> Result<()> {
        for socket in &self.sockets {
            let own = probe::connect(ns, loopback(socket.local_addr()?), socket.local_addr()?.port())?;
            seen(&self.witness, own.local_addr()?.port())?;
        }
        Ok(())
    }

    /// The connections accepted so far.
    pub fn accepted(&self) -> Vec<Connection> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for socket in &self.sockets {
            // On Linux this wakes the thread that is blocked in accept.
            let _ = SockRef::from(socket).shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A UDP server on all addresses that sends every datagram back.
#[derive(Debug)]
pub struct UdpEcho {
    /// Every datagram that came through to the port.
    pub witness: Witness,
    port: u16,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl UdpEcho {
    /// Starts to listen; the port answers when this returns.
    pub fn start(ns: &Netns, port: u16) -> Result<Self> {
        let witness = Witness::udp(ns, port)?;
        let bound = ns.enter(|| everywhere(port).map(|address| bind(address, Type::DGRAM)))?;
        let mut echo = Self { witness, port, stop: Arc::default(), threads: Vec::new() };
        for socket in bound {
            let socket = UdpSocket::from(socket.with_context(|| format!("binding UDP port {port}"))?);
            socket.set_read_timeout(Some(Duration::from_millis(50)))?;
            let stop = Arc::clone(&echo.stop);
            echo.threads.push(thread::spawn(move || send_back(&socket, &stop)));
        }
        Ok(echo)
    }

    /// Waits until the witness has read all that has arrived: when it has seen what the host now sends to itself.
    pub fn settle(&self, ns: &Netns) -> Result<()> {
        for any in everywhere(self.port) {
            let socket = ns.enter(|| UdpSocket::bind((any.ip(), 0)))??;
            socket.send_to(b"last", (loopback(any), self.port))?;
            seen(&self.witness, socket.local_addr()?.port())?;
        }
        Ok(())
    }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Waits until a witness has seen something from this port.
fn seen(witness: &Witness, port: u16) -> Result<()> {
    wait::until("what the host sends to itself", Duration::from_secs(5), || {
        witness.seen().iter().any(|packet| packet.ports[0] == port)
    })
}

fn loopback(family: SocketAddr) -> IpAddr {
    if family.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

fn everywhere(port: u16) -> [SocketAddr; 2] {
    [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()].map(|ip| SocketAddr::new(ip, port))
}

fn bind(address: SocketAddr, kind: Type) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bind_tcp(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = bind(address, Type::STREAM)?;
    socket.listen(1024)?;
    Ok(socket.into())
}

/// Accepts until the socket is shut down; each connection is answered on a thread of its own.
fn serve(socket: &TcpListener, accepted: &Mutex<Vec<Connection>>) {
    while let Ok((stream, from)) = socket.accept() {
        if let Ok(to) = stream.local_addr() {
            accepted.lock().unwrap_or_else(PoisonError::into_inner).push(Connection { from, to });
        }
        thread::spawn(move || answer(stream));
    }
}

/// Reads one request's head and answers it; errors are the client's affair.
fn answer(mut stream: TcpStream) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&buffer[..length]),
        }
    }
    let length = GREETING.len();
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{GREETING}");
}

fn send_back(socket: &UdpSocket, stop: &AtomicBool) {
    let mut datagram = vec![0; 65_535];
    while !stop.load(Ordering::Relaxed) {
        match socket.recv_from(&mut datagram) {
            Ok((length, from)) => drop(socket.send_to(&datagram[..length], from)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => return,
        }
    }
}
