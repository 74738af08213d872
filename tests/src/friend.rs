//! A friend who uses the service without a pause, by TCP and by UDP, and remembers what failed.
//!
//! TCP makes good a packet that is lost on the way. For a datagram that does not come back the friend sends another, as
//! whoever uses UDP does, and notes that one was lost.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::listener::GREETING;
use crate::netns::Netns;
use crate::probe;

/// Between two requests, so that others have a share of the processors.
const PAUSE: Duration = Duration::from_millis(2);
/// How long a request may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// After so many datagrams the request has failed.
const DATAGRAMS: u64 = 3;

/// Asks until it is dropped.
#[derive(Debug)]
pub struct Friend {
    diary: Arc<Mutex<Diary>>,
    thread: Option<JoinHandle<()>>,
}

/// How it went.
#[derive(Debug, Clone, Default)]
pub struct Diary {
    /// Requests that were answered.
    pub answered: u64,
    /// Those that were not, and why.
    pub failed: Vec<String>,
    /// Datagrams that were lost.
    pub lost: u64,
    /// What the slowest answer took.
    pub slowest: Duration,
    stop: bool,
}

impl Friend {
    /// Starts to ask at these addresses in turn, from a namespace.
    pub fn start(from: &Netns, addresses: [IpAddr; 2], port: u16) -> Result<Self> {
        let diary = Arc::<Mutex<Diary>>::default();
        let kept = Arc::clone(&diary);
        let targets = addresses.map(|address| SocketAddr::new(address, port));
        // A thread inherits the namespace of the thread that starts it.
        let start = || thread::Builder::new().spawn(move || ask(targets, &kept));
        Ok(Self { diary, thread: Some(from.enter(start)?.context("starting a thread")?) })
    }

    /// How it has gone so far.
    pub fn diary(&self) -> Diary {
        self.diary.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Friend {
    fn drop(&mut self) {
        self.diary.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ask(targets: [SocketAddr; 2], diary: &Mutex<Diary>) {
    for (target, by_udp) in targets.into_iter().flat_map(|target| [(target, false), (target, true)]).cycle() {
        let start = Instant::now();
        let asked = if by_udp { datagrams(target) } else { request(target).map(|()| 0) };
        let took = start.elapsed();
        let mut diary = diary.lock().unwrap_or_else(PoisonError::into_inner);
        match asked {
            Ok(lost) => {
                diary.answered += 1;
                diary.lost += lost;
            }
            Err(error) => {
                let how = if by_udp { "a datagram" } else { "a request" };
                diary.failed.push(format!("{how} to {target}: {error:#} after {took:?}"));
            }
        }
        diary.slowest = diary.slowest.max(took);
        if diary.stop {
            return;
        }
        drop(diary);
        thread::sleep(PAUSE);
    }
}

fn request(target: SocketAddr) -> Result<()> {
    let answer = probe::get(target, PATIENCE)?;
    ensure!(answer.ends_with(GREETING), "answered {answer:?}");
    Ok(())
}

/// How many were lost before one came back.
fn datagrams(target: SocketAddr) -> Result<u64> {
    let mut lost = 0;
    loop {
        match probe::echo(target, PATIENCE) {
            Ok(answer) => {
                ensure!(answer == "hello", "answered {answer:?}");
                return Ok(lost);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && lost < DATAGRAMS => lost += 1,
            Err(error) => return Err(error.into()),
        }
    }
}
