//! What a service manager is told over its socket (`sd_notify(3)`).

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

const PATIENCE: Duration = Duration::from_secs(30);

/// Listens to a daemon as the service manager that started it would.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    /// What was said so far.
    pub heard: Vec<String>,
}

impl Manager {
    /// Listens at a path.
    pub fn listen(path: &Path) -> Result<Self> {
        let socket = UnixDatagram::bind(path).with_context(|| format!("listening at {}", path.display()))?;
        Ok(Self { socket, path: path.to_owned(), heard: Vec::new() })
    }

    /// Where it listens: the value of `NOTIFY_SOCKET`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the daemon says something that begins so. What came before is in `heard`.
    pub fn hears(&mut self, what: &str) -> Result<String> {
        let start = Instant::now();
        loop {
            let left = PATIENCE.checked_sub(start.elapsed()).filter(|left| !left.is_zero());
            let nothing = || format!("no {what} in {:#?}", self.heard);
            self.socket.set_read_timeout(Some(left.with_context(nothing)?))?;
            let message = self.next().with_context(nothing)?;
            let found = message.lines().find(|line| line.starts_with(what)).map(str::to_owned);
            self.heard.push(message);
            if let Some(line) = found {
                return Ok(line);
            }
        }
    }

    /// Leaves out what was said up to now and not heard.
    pub fn skip(&mut self) -> Result<()> {
        self.socket.set_nonblocking(true)?;
        while self.next().is_ok() {}
        Ok(self.socket.set_nonblocking(false)?)
    }

    /// Sees that for so long nothing is said.
    pub fn hears_nothing(&self, time: Duration) -> Result<bool> {
        self.socket.set_read_timeout(Some(time))?;
        Ok(self.next().is_err())
    }

    fn next(&self) -> std::io::Result<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }
}
