//! A neighbor who never stops trying: connections to a port, begun one after another as fast as a scanner would.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

use crate::netns::Netns;

/// Between two tries at one address. Each try sends one SYN: it is given up before the kernel would send another.
const PAUSE: Duration = Duration::from_millis(2);
/// How long a try may take: far more than an answer over a veth does.
const PATIENCE: Duration = Duration::from_millis(300);

/// Tries until it is dropped.
#[derive(Debug)]
pub struct Hammer {
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    tried: AtomicU64,
    opened: AtomicU64,
    stop: AtomicBool,
}

impl Hammer {
    /// Starts to hammer at these addresses from a namespace, each from a thread of its own.
    pub fn start(from: &Netns, targets: impl IntoIterator<Item = (IpAddr, u16)>) -> Result<Self> {
        let mut hammer = Self { counts: Arc::default(), threads: Vec::new() };
        for (address, port) in targets {
            let counts = Arc::clone(&hammer.counts);
            // Threads inherit the namespace of the thread that starts them.
            let target = SocketAddr::new(address, port);
            let thread = from.enter(|| thread::Builder::new().spawn(move || swing(target, &counts)))?;
            hammer.threads.push(thread.context("starting a thread")?);
        }
        Ok(hammer)
    }

    /// Connections begun so far.
    pub fn tried(&self) -> u64 {
        self.counts.tried.load(Ordering::Relaxed)
    }

    /// Connections that somebody accepted so far.
    pub fn opened(&self) -> u64 {
        self.counts.opened.load(Ordering::Relaxed)
    }
}

impl Drop for Hammer {
    fn drop(&mut self) {
        self.counts.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn swing(target: SocketAddr, counts: &Counts) {
    let mut pending: VecDeque<(Instant, Socket)> = VecDeque::new();
    while !counts.stop.load(Ordering::Relaxed) {
        if let Ok(socket) = begin(target) {
            counts.tried.fetch_add(1, Ordering::Relaxed);
            pending.push_back((Instant::now(), socket));
        }
        pending.retain(|(begun, socket)| {
            // A connection has a peer, a try has none.
            let open = socket.peer_addr().is_ok();
            counts.opened.fetch_add(open.into(), Ordering::Relaxed);
            !open && begun.elapsed() < PATIENCE && matches!(socket.take_error(), Ok(None))
        });
        thread::sleep(PAUSE);
    }
}

/// Sends a SYN and does not wait.
fn begin(target: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Ends with a reset: no port is kept in TIME_WAIT.
    socket.set_linger(Some(Duration::ZERO))?;
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}
