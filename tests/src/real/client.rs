//! A generation that streams while a test does something to the host.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::Process;
use crate::wait;

/// For the last generation, on a busy machine.
const LIMIT: Duration = Duration::from_mins(2);

/// The official client, streaming. It fails by itself if a stream breaks off or stalls.
#[derive(Debug)]
pub struct Stream {
    process: Process,
}

impl Stream {
    pub(super) fn new(process: Process) -> Self {
        Self { process }
    }

    /// How many tokens have arrived.
    pub fn tokens(&self) -> usize {
        self.process.log().lines().filter(|line| line.starts_with("token")).count()
    }

    /// Waits for more tokens than have arrived up to now: the stream flows.
    pub fn flows(&mut self) -> Result<()> {
        let before = self.tokens();
        wait::until("the next token", Duration::from_secs(20), || {
            self.tokens() > before || !self.process.is_running()
        })?;
        ensure!(self.tokens() > before, "the stream ended: {}", self.tail());
        Ok(())
    }

    /// Lets the present generation end; returns how many tokens came in all.
    pub fn finish(mut self) -> Result<usize> {
        self.flows()?;
        let status = self.process.terminate(LIMIT)?;
        ensure!(status.success(), "the client ended with {status}: {}", self.tail());
        self.process.log().lines().last().filter(|line| *line == "done").context("the client did not say done")?;
        Ok(self.tokens())
    }

    /// The end of what the client printed: the reason, not a thousand tokens.
    fn tail(&self) -> String {
        let log = self.process.log();
        let lines: Vec<_> = log.lines().filter(|line| !line.starts_with("token")).collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}
