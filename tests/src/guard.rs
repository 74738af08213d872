//! The real program, run as a user would run it, in a namespace of a test.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::leftovers::{self, BPFFS};
use crate::manager::Manager;
use crate::netns::Netns;
use crate::process::Process;
use crate::wait;

/// How long the guard may take to enforce, on a machine that runs everything else at the same time: creating and
/// removing network namespaces elsewhere holds locks that attaching needs.
const START: Duration = Duration::from_secs(30);

/// A policy for counting. Datagrams are guarded too, because every one that is sent is one packet, and lan0 is trusted.
pub const DATAGRAMS_TOO: &str = "\
[[service]]
name = \"ollama\"
ports = [11434]
protocols = [\"tcp\", \"udp\"]

[interfaces]
trusted = [\"lo\", \"lan0\"]
";

/// The program under test: `OLLAMA_GUARD_BIN`, else the one that was built beside this test.
pub fn binary() -> PathBuf {
    if let Some(path) = env::var_os("OLLAMA_GUARD_BIN") {
        return path.into();
    }
    let test = env::current_exe().unwrap_or_default();
    // target/debug/deps/<test> → target/debug/ollama-guard
    test.ancestors().nth(2).map(|folder| folder.join("ollama-guard")).unwrap_or_default()
}

/// A guard with pins, run directory and configuration of its own. Dropping it leaves nothing of it behind.
#[derive(Debug)]
pub struct Guard<'a> {
    ns: &'a Netns,
    folder: TempDir,
    pins: PathBuf,
    /// What is run: [`binary`], or another build of it.
    program: PathBuf,
    /// A program and its arguments that starts the guard in its own way.
    wrapper: Vec<String>,
    manager: Option<Manager>,
    process: Option<Process>,
}

impl<'a> Guard<'a> {
    /// Starts it with this policy (a configuration without `[paths]`) and waits until it enforces.
    pub fn start(ns: &'a Netns, policy: &str) -> Result<Self> {
        let mut guard = Self::prepare(ns, policy)?;
        guard.run()?;
        guard.enforces()?;
        Ok(guard)
    }

    /// Writes its configuration and starts nothing.
    pub fn prepare(ns: &'a Netns, policy: &str) -> Result<Self> {
        let folder = leftovers::folder()?;
        let pins = PathBuf::from(BPFFS).join(leftovers::unique_name("pins"));
        let guard = Self { ns, folder, pins, program: binary(), wrapper: Vec::new(), manager: None, process: None };
        guard.configure(policy)?;
        Ok(guard)
    }

    /// Starts it as a service manager would: told when it is ready, rather than asking again and again.
    pub fn managed(ns: &'a Netns, policy: &str) -> Result<Self> {
        let mut guard = Self::prepare(ns, policy)?;
        guard.manager = Some(Manager::listen(&guard.folder.path().join("notify"))?);
        guard.run()?;
        guard.enforces()?;
        Ok(guard)
    }

    /// Runs another build of the program from the next start on.
    pub fn install(&mut self, program: PathBuf) {
        self.program = program;
    }

    /// Starts the program, and every command of it, by another one that is given its command line.
    pub fn wrap(&mut self, wrapper: &[&str]) {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
    }

    /// A command line of the program: what to start, and its arguments.
    fn command_line(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let own = [utf8(&self.program)?].into_iter().chain(arguments.iter().copied()).map(str::to_owned);
        Ok(self.wrapper.iter().cloned().chain(own).collect())
    }

    /// Replaces its configuration file; a running guard does not notice before [`Self::reload`].
    pub fn configure(&self, policy: &str) -> Result<()> {
        let (pins, run) = (self.pins.display(), self.folder.path().join("run"));
        let paths = format!("\n[paths]\nbpf = \"{pins}\"\nrun = \"{}\"\n", run.display());
        fs::write(self.config(), format!("{policy}\n{paths}")).context("writing the configuration")
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    /// Where it runs.
    pub fn namespace(&self) -> &'a Netns {
        self.ns
    }

    /// The directory of its pins.
    pub fn pins(&self) -> &PathBuf {
        &self.pins
    }

    /// Starts the daemon (again), with whatever an earlier one left, and does not wait.
    pub fn run(&mut self) -> Result<()> {
        let config = self.config();
        let line = self.command_line(&["run", "--config", utf8(&config)?])?;
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let mut command = self.ns.command(line[0], &line[1..]);
        if let Some(manager) = &mut self.manager {
            manager.skip();
            command.env("NOTIFY_SOCKET", manager.path());
        }
        self.process = Some(Process::spawn(&command, line[0])?);
        Ok(())
    }

    /// Waits until the service manager is told so or, without one, `status --quiet` says that enforcement is complete; a
    /// failure shows the log.
    pub fn enforces(&mut self) -> Result<()> {
        if self.manager.is_some() {
            return self.told("READY=1");
        }
        let mut ended = false;
        let waited = wait::until("ollama-guard status to say that it enforces", START, || {
            ended = !self.process.as_mut().is_some_and(Process::is_running);
            // The log first: asking the program again and again would take the time it needs.
            let log = self.log();
            let said = log.contains(" enforcing ") || log.contains("configuration reloaded");
            ended || said && self.command(&["status", "--quiet"]).is_ok_and(|output| output.status.success())
        });
        if let Err(error) = waited {
            let status = self.command(&["status"])?;
            let status = String::from_utf8_lossy(&status.stdout).into_owned();
            bail!("{error}\nstatus: {status}\nlog: {}", self.log());
        }
        ensure!(!ended, "ollama-guard ended: {}", self.log());
        Ok(())
    }

    /// The daemon's process, as long as it runs.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the guard's daemon is not running")
    }

    /// What the last daemon logged.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// `kill -9`: the daemon is gone, what it put into the kernel stays.
    pub fn kill(&mut self) -> Result<()> {
        self.process()?.kill()
    }

    /// Asks the daemon to end, as a service manager does; enforcement stays.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.process()?.terminate(START)?;
        ensure!(status.success(), "ollama-guard ended with {status}: {}", self.log());
        Ok(())
    }

    /// Starts a new daemon over what the dead one left, and waits until it has adopted that.
    pub fn restart(&mut self) -> Result<()> {
        if self.process.as_mut().is_some_and(Process::is_running) {
            self.stop()?;
        }
        self.run()?;
        self.enforces()
    }

    /// Writes a new configuration and sends SIGHUP. It is in force when [`Self::status_when`] sees its effect.
    pub fn reload(&mut self, policy: &str) -> Result<()> {
        self.configure(policy)?;
        self.process()?.signal(Signal::SIGHUP)
    }

    /// Reloads, and waits until the service manager is told that the new policy is in force.
    pub fn reload_managed(&mut self, policy: &str) -> Result<()> {
        self.configure(policy)?;
        self.reread_managed()
    }

    /// Has it read its configuration again, and waits until the service manager is told that this is in force.
    pub fn reread_managed(&mut self) -> Result<()> {
        self.process()?.signal(Signal::SIGHUP)?;
        self.told("RELOADING=1")?;
        self.told("READY=1")
    }

    /// Waits until the service manager is told something that begins so.
    fn told(&mut self, what: &str) -> Result<()> {
        let manager = self.manager.as_mut().context("nobody manages this guard")?;
        let heard = manager.hears(what).map(drop);
        heard.with_context(|| self.log())
    }

    /// Runs a command of the program with this guard's configuration, to its end.
    pub fn command(&self, arguments: &[&str]) -> Result<Output> {
        let config = self.config();
        let line = self.command_line(&[arguments, &["--config", utf8(&config)?]].concat())?;
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        self.ns.output(line[0], &line[1..])
    }

    /// `status --json`, whatever its exit code.
    pub fn status(&self) -> Result<Value> {
        let output = self.command(&["status", "--json"])?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!("reading status --json ({}): {}", output.status, String::from_utf8_lossy(&output.stderr))
        })
    }

    /// Waits until `status --json` is as `condition` says; returns it.
    pub fn status_when(&self, what: &str, mut condition: impl FnMut(&Value) -> bool) -> Result<Value> {
        let mut last = Value::Null;
        wait::value(what, START, || {
            last = self.status().ok()?;
            condition(&last).then(|| last.clone())
        })
        .with_context(|| format!("the last status: {last:#}\nlog: {}", self.log()))
    }

    /// The row of one interface in `status --json`.
    pub fn interface(&self, name: &str) -> Result<Value> {
        let status = self.status()?;
        let rows = status["interfaces"].as_array().context("status has no interfaces")?;
        let row = rows.iter().find(|row| row["name"] == name);
        row.cloned().with_context(|| format!("no interface {name} in {status:#}"))
    }

    /// Waits until an interface's row is as `condition` says; [`Value::Null`] stands for no row.
    pub fn interface_when(&self, name: &str, what: &str, mut condition: impl FnMut(&Value) -> bool) -> Result<Value> {
        let row = |status: &Value| {
            let rows = status["interfaces"].as_array();
            rows.and_then(|rows| rows.iter().find(|row| row["name"] == name)).cloned().unwrap_or_default()
        };
        self.status_when(&format!("{name} to be {what}"), |status| condition(&row(status))).map(|status| row(&status))
    }

    /// Waits until an interface is in a class, with a program of that class.
    pub fn attached_as(&self, name: &str, class: &str) -> Result<Value> {
        self.interface_when(name, class, |row| {
            row["class"] == class && row["hook"].as_str().is_some_and(|h| h != "none")
        })
    }

    /// `ollama-guard down`: nothing is enforced afterwards.
    pub fn down(&mut self) -> Result<()> {
        let output = self.command(&["down"])?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ollama-guard down: {}: {error}\n{}", output.status, self.log());
        Ok(())
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // The daemon first, or it would pin again. The links go with their pins; the nft table with the namespace.
        drop(self.process.take());
        let _ = fs::remove_dir_all(&self.pins);
    }
}

fn utf8(path: &std::path::Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}
