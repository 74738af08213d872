//! Starts the built guard, detached; runs as root.

use crate::{
    bpffs,
    running::{Running, Verdict},
    sh,
};
use anyhow::{Context as _, Result, bail};
use std::{
    ffi::OsString,
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const LOG: &str = "/var/log/ollama-guard.log";
/// A unit name of its own: an installed `ollama-guard.service` is not ours to replace.
const UNIT: &str = "ollama-guard-xtask";
/// Loading takes well under a second; a slow machine with many interfaces may take several.
const READY_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// Starts the guard unless it runs already, waits until it enforces, and shows the status.
pub(crate) fn start(binary: &Path, arguments: &[OsString]) -> Result<()> {
    let _stays = bpffs::mount()?;
    if let Some(running) = Running::find()? {
        match running.compare(binary)? {
            Verdict::Same => {
                eprintln!("already running: process {}", running.pid);
                return show(binary);
            }
            Verdict::Installed(path) => {
                eprintln!("already running: process {} is the installed {}; left alone", running.pid, path.display());
                return show(&path);
            }
            Verdict::Older => {
                eprintln!("process {} runs an older build: replacing it; the kernel goes on enforcing", running.pid);
                running.stop()?;
            }
        }
    }
    let log_start = fs::metadata(LOG).map_or(0, |log| log.len());
    let mut service = Service::spawn(binary, arguments)?;
    wait_until_enforcing(binary, &mut service, log_start)?;
    show(binary)
}

/// The started guard, by systemd where it is in charge.
enum Service {
    Unit,
    Process(Child),
}

impl Service {
    fn spawn(binary: &Path, arguments: &[OsString]) -> Result<Self> {
        if Path::new("/run/systemd/system").is_dir() {
            // A unit that failed before keeps its name until it is reset.
            sh::succeeds(Command::new("systemctl").args(["reset-failed", UNIT]));
            let log = format!("append:{LOG}");
            let mut systemd = Command::new("systemd-run");
            systemd.args(["--quiet", "--collect", "--property=Restart=on-failure"]);
            systemd.arg(format!("--unit={UNIT}"));
            systemd.args([format!("--property=StandardOutput={log}"), format!("--property=StandardError={log}")]);
            sh::run(systemd.arg(binary).arg("run").args(arguments))?;
            return Ok(Self::Unit);
        }
        let log = File::options().create(true).append(true).open(LOG).with_context(|| format!("cannot write {LOG}"))?;
        // setsid: a session of its own, so that closing this terminal does not end it.
        let mut setsid = Command::new("setsid");
        setsid.arg(binary).arg("run").args(arguments);
        setsid.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir("/");
        let child = setsid.spawn().with_context(|| format!("cannot start {} through setsid", binary.display()))?;
        eprintln!("started: process {}, log in {LOG}", child.id());
        Ok(Self::Process(child))
    }

    fn ended(&mut self) -> Result<bool> {
        Ok(match self {
            Self::Unit => !sh::succeeds(Command::new("systemctl").args(["is-active", "--quiet", UNIT])),
            Self::Process(child) => child.try_wait()?.is_some(),
        })
    }
}

fn wait_until_enforcing(binary: &Path, service: &mut Service, log_start: u64) -> Result<()> {
    let started = Instant::now();
    loop {
        if service.ended()? {
            bail!("the guard ended at once; its log, {LOG}, says:\n{}", log_tail(log_start));
        }
        // Another guard's pins may answer before ours does: it must hold the lock, too.
        if Running::find()?.is_some() && sh::succeeds(Command::new(binary).args(["status", "--quiet"])) {
            return Ok(());
        }
        if started.elapsed() > READY_LIMIT {
            let _ = Command::new(binary).arg("status").status(); // says what is partial, where it can
            let seconds = READY_LIMIT.as_secs();
            bail!("the guard runs but does not enforce fully after {seconds} s; its log, {LOG}, says:\n{}", log_tail(log_start));
        }
        thread::sleep(POLL);
    }
}

/// The last lines that were logged since `start`.
fn log_tail(start: u64) -> String {
    let log = fs::read(LOG).unwrap_or_default();
    let fresh = log.get(usize::try_from(start).unwrap_or(0)..).unwrap_or(&log);
    let text = String::from_utf8_lossy(fresh);
    let lines: Vec<_> = text.lines().collect();
    if lines.is_empty() { "(nothing)".into() } else { lines[lines.len().saturating_sub(20)..].join("\n") }
}

/// The status table and the two commands to remember.
fn show(binary: &Path) -> Result<()> {
    // 3 is "enforcement is partial": the table says so itself, and this run started what it could.
    let status = Command::new(binary).arg("status").status().context("cannot run `ollama-guard status`")?;
    println!();
    println!("look again:  sudo {} status", binary.display());
    println!("undo:        sudo {} down", binary.display());
    if !status.success() {
        bail!("`ollama-guard status` says that enforcement is absent or partial ({status})");
    }
    Ok(())
}
