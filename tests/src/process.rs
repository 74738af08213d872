//! A long-lived process of a test: logged to a file, and gone when the test is.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::wait;

/// A process, with what it printed. Dropping it kills it and its process group.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: File,
}

impl Process {
    /// Starts `command`, in a process group of its own.
    ///
    /// The kernel kills it too when the *thread* that started it ends, so that nothing outlives a test that was killed.
    /// `setpriv` asks for that and then becomes the program, so the pid is the program's.
    pub fn spawn(command: &Command, name: &str) -> Result<Self> {
        let log = tempfile::tempfile().context("making a log file")?;
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            wrapped.current_dir(folder);
        }
        let child = wrapped
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            .spawn()
            .with_context(|| format!("starting {name}: {wrapped:?}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory in MiB.
    pub fn resident(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    }

    /// Processor time of all its threads, to the nanosecond: by the scheduler's account.
    pub fn busy(&self) -> Result<Duration> {
        let mut sum = Duration::ZERO;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            let account = fs::read_to_string(task?.path().join("schedstat"))?;
            sum += Duration::from_nanos(account.split(' ').next().context("no schedstat")?.parse()?);
        }
        Ok(sum)
    }

    /// What it printed up to now, both streams.
    pub fn log(&self) -> String {
        // A second opening of the same file: the process writes at the position of the first.
        let mut text = String::new();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&self.log));
        if let Ok(mut file) = File::open(path) {
            let _ = file.rewind();
            let _ = file.read_to_string(&mut text);
        }
        text
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal to it alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.as_pid(), signal).with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// Kills it and nothing else, as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end and waits until it has.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.exited(limit)
    }

    /// Waits until it has ended by itself.
    pub fn exited(&mut self, limit: Duration) -> Result<ExitStatus> {
        let waited = wait::value(format!("{} to end", self.name), limit, || self.child.try_wait().transpose());
        Ok(waited.with_context(|| self.log())??)
    }

    /// Waits until its log contains `text`.
    pub fn logged(&mut self, text: &str, limit: Duration) -> Result<()> {
        wait::until(format!("{} to log {text:?}", self.name), limit, || self.log().contains(text))
            .with_context(|| self.log())
    }

    fn as_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group holds what it started itself, as Ollama its runners. Until it is reaped, its id is nobody else's;
        // an emptied group's id cannot be reused while a member lives.
        if self.is_running() {
            let _ = killpg(self.as_pid(), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}
