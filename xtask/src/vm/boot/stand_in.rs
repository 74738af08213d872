//! Both ends of the test: what stands in for Ollama inside the machine, and the neighbor's hand on the door outside.

use anyhow::{Context as _, Result};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Ollama's port.
pub(super) const GUARDED: u16 = 11434;
/// A port that nobody guards: the neighbor gets through there, or the test would see nothing.
pub(super) const OPEN: u16 = 11435;
/// Between two knocks at one address.
const PAUSE: Duration = Duration::from_millis(10);
/// No answer: the machine is on the same wire.
const PATIENCE: Duration = Duration::from_millis(250);
/// Knocks at a time and address, so that some are always on their way.
const HANDS: usize = 4;

/// Listens on both ports, v4 and v6, and says on standard output who came: `<port> <address>`.
pub(crate) fn listen() -> Result<()> {
    let mut threads = Vec::new();
    for port in [GUARDED, OPEN] {
        // On Linux, [::] takes IPv4 as well.
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).context("cannot listen")?;
        threads.push(thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let from = stream.peer_addr().map_or(Ipv6Addr::UNSPECIFIED.into(), |from| from.ip().to_canonical());
                println!("{port} {from}");
                let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                // All of the request: what is left unread would make the end of the connection a reset.
                let mut request = Vec::new();
                let mut buffer = [0; 256];
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(length) if length > 0 => request.extend_from_slice(&buffer[..length]),
                        _ => break,
                    }
                }
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 17\r\n\r\nOllama is running");
            }
        }));
    }
    println!("listening");
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

/// Knocks until it is ended. Says `<milliseconds> <port> <outcome>` for every answer, and counts on standard error.
pub(crate) fn knock(addresses: &[IpAddr]) {
    let ends = addresses.iter().flat_map(|address| [(*address, GUARDED, HANDS), (*address, OPEN, 1)]);
    let hands = ends.flat_map(|(address, port, hands)| (0..hands).map(move |_| SocketAddr::new(address, port)));
    let threads: Vec<_> = hands.map(|door| thread::spawn(move || knock_at(door))).collect();
    for thread in threads {
        let _ = thread.join();
    }
}

fn knock_at(door: SocketAddr) {
    loop {
        let outcome = match TcpStream::connect_timeout(&door, PATIENCE) {
            Ok(_) => "connected",
            // A refusal is an answer: the packet reached TCP.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => "refused",
            Err(_) => "silence",
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        println!("{now} {} {outcome}", door.port());
        thread::sleep(PAUSE);
    }
}

/// The machine's addresses, and the neighbor's.
pub(super) const MACHINE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2)), IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2))];
