//! What a service manager is told over its socket (`sd_notify(3)`).

use std::net::Shutdown;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

const PATIENCE: Duration = Duration::from_secs(30);

/// Listens to a daemon as the service manager that started it would: all the time, or the daemon would have to wait until
/// there is room for what it says.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    said: Receiver<String>,
    /// What was heard so far.
    pub heard: Vec<String>,
}

impl Manager {
    /// Listens at a path.
    pub fn listen(path: &Path) -> Result<Self> {
        let socket = UnixDatagram::bind(path).with_context(|| format!("listening at {}", path.display()))?;
        let (listening, (hear, said)) = (socket.try_clone()?, channel());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Empty once it is shut down.
            while let Ok(length @ 1..) = listening.recv(&mut buffer) {
                let _ = hear.send(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
        });
        Ok(Self { socket, path: path.to_owned(), said, heard: Vec::new() })
    }

    /// Where it listens: the value of `NOTIFY_SOCKET`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the daemon says something that begins so. What came before is in `heard`.
    pub fn hears(&mut self, what: &str) -> Result<String> {
        let start = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(start.elapsed());
            let message = self.said.recv_timeout(left).with_context(|| format!("no {what} in {:#?}", self.heard))?;
            let found = message.lines().find(|line| line.starts_with(what)).map(str::to_owned);
            self.heard.push(message);
            if let Some(line) = found {
                return Ok(line);
            }
        }
    }

    /// Leaves out what was said up to now and not heard.
    pub fn skip(&mut self) {
        while self.said.try_recv().is_ok() {}
    }

    /// Sees that for so long nothing is said.
    pub fn hears_nothing(&self, time: Duration) -> bool {
        self.said.recv_timeout(time).is_err()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}
