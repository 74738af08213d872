//! A flood: the same few frames again and again, by whatever link has a name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::frames::Wire;
use crate::netns::Netns;
use crate::wait;

/// Rounds of all frames that are a good deal.
const ENOUGH: u64 = 40;

/// Floods until it is dropped. The link may go and come back meanwhile.
#[derive(Debug)]
pub struct Flood {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// Starts to send these frames by this interface of a namespace, from its first moment on; `pause` between rounds of
    /// all frames leaves others a share of the processors.
    pub fn start(ns: &Netns, interface: &str, frames: Vec<Vec<u8>>, pause: Duration) -> Result<Self> {
        let (sent, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counted, stopped, interface) = (Arc::clone(&sent), Arc::clone(&stop), interface.to_owned());
        // A thread inherits the namespace of the thread that starts it.
        let start = || thread::Builder::new().spawn(move || pour(&interface, &frames, pause, &counted, &stopped));
        Ok(Self { sent, stop, thread: Some(ns.enter(start)?.context("starting a thread")?) })
    }

    /// How often all frames were sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until a good deal more has been sent.
    pub fn flows(&self) -> Result<()> {
        let before = self.sent();
        wait::until("the flood to flow", Duration::from_secs(20), || self.sent() >= before + ENOUGH)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn pour(interface: &str, frames: &[Vec<u8>], pause: Duration, sent: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(wire) = Wire::here(interface) else {
            thread::yield_now(); // no link of that name yet
            continue;
        };
        while frames.iter().all(|frame| send(&wire, frame, stop)) {
            sent.fetch_add(1, Ordering::Relaxed);
            if !pause.is_zero() {
                thread::sleep(pause);
            }
        }
    }
}

/// Sends a frame as soon as there is room for it; false if the link is gone, or it is time to stop.
fn send(wire: &Wire, frame: &[u8], stop: &AtomicBool) -> bool {
    while !stop.load(Ordering::Relaxed) {
        match wire.offer(frame) {
            Ok(false) => thread::yield_now(),
            sent => return sent.is_ok(),
        }
    }
    false
}
