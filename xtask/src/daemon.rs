//! Starts the built guard, detached; runs as root.

use crate::{
    bpffs,
    running::{Lock, Verdict},
    sh,
};
use anyhow::{Context as _, Result, bail};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    path::{self, Path, PathBuf},
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
///
/// `arguments` are options that every command takes (`--config FILE`).
pub(crate) fn start(binary: &Path, arguments: &[OsString]) -> Result<()> {
    let _stays = bpffs::mount()?;
    let binary = &path::absolute(binary)?; // it is started from another folder
    let lock = Lock::of(arguments);
    let guard = Guard { binary: binary.to_owned(), arguments, lock: &lock };
    if let Some(running) = lock.holder()? {
        match running.compare(binary)? {
            Verdict::Same => {
                eprintln!("already running: process {}", running.pid);
                return guard.show();
            }
            Verdict::Installed(path) => {
                eprintln!("already running: process {} is the installed {}; left alone", running.pid, path.display());
                return Guard { binary: path, ..guard }.show();
            }
            Verdict::Older => {
                eprintln!("process {} runs an older build: replacing it; the kernel goes on enforcing", running.pid);
                running.stop()?;
            }
        }
    }
    let log_start = fs::metadata(LOG).map_or(0, |log| log.len());
    let mut service = Service::spawn(&guard.command("run"))?;
    guard.wait_until_enforcing(&mut service, log_start)?;
    guard.show()
}

/// The program, and how to call it.
struct Guard<'a> {
    binary: PathBuf,
    arguments: &'a [OsString],
    lock: &'a Lock,
}

/// The started guard, by systemd where it is in charge.
enum Service {
    Unit,
    Process(Child),
}

impl Service {
    fn spawn(guard: &Command) -> Result<Self> {
        if Path::new("/run/systemd/system").is_dir() {
            // A unit that failed before keeps its name until it is reset.
            sh::succeeds(Command::new("systemctl").args(["reset-failed", UNIT]));
            let log = format!("append:{LOG}");
            let mut systemd = Command::new("systemd-run");
            systemd.args(["--quiet", "--collect", "--property=Restart=on-failure"]);
            systemd.arg(format!("--unit={UNIT}"));
            systemd.args([format!("--property=StandardOutput={log}"), format!("--property=StandardError={log}")]);
            sh::run(systemd.arg(guard.get_program()).args(guard.get_args()))?;
            return Ok(Self::Unit);
        }
        let log = File::options().create(true).append(true).open(LOG).with_context(|| format!("cannot write {LOG}"))?;
        // setsid: a session of its own, so that closing this terminal does not end it.
        let mut setsid = Command::new("setsid");
        setsid.arg(guard.get_program()).args(guard.get_args());
        setsid.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir("/");
        let child = setsid.spawn().context("cannot start the guard through setsid")?;
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

impl Guard<'_> {
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg(name).args(self.arguments);
        command
    }

    fn wait_until_enforcing(&self, service: &mut Service, log_start: u64) -> Result<()> {
        let started = Instant::now();
        loop {
            if service.ended()? {
                bail!("the guard ended at once; its log, {LOG}, says:\n{}", log_tail(log_start));
            }
            // What an earlier guard left in the kernel may answer before ours does: ours must hold the lock, too.
            if self.lock.holder()?.is_some() && sh::succeeds(self.command("status").arg("--quiet")) {
                return Ok(());
            }
            if started.elapsed() > READY_LIMIT {
                let _ = self.command("status").status(); // says what is partial, where it can
                let (limit, tail) = (READY_LIMIT.as_secs(), log_tail(log_start));
                bail!("the guard runs, but enforces nothing or not all after {limit} s; its log, {LOG}, says:\n{tail}");
            }
            thread::sleep(POLL);
        }
    }

    /// The status table and the two commands to remember.
    fn show(&self) -> Result<()> {
        let status = self.command("status").status().context("cannot run `ollama-guard status`")?;
        println!();
        println!("look again:  sudo {}", words(&self.command("status")));
        println!("undo:        sudo {}", words(&self.command("down")));
        if !status.success() {
            bail!("`ollama-guard status` says that enforcement is absent or partial ({status})");
        }
        Ok(())
    }
}

fn words(command: &Command) -> String {
    let all = [command.get_program()].into_iter().chain(command.get_args());
    all.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// The last lines that were logged since `start`.
fn log_tail(start: u64) -> String {
    let log = fs::read(LOG).unwrap_or_default();
    let fresh = log.get(usize::try_from(start).unwrap_or(0)..).unwrap_or(&log);
    let text = String::from_utf8_lossy(fresh);
    let lines: Vec<_> = text.lines().collect();
    if lines.is_empty() { "(nothing)".into() } else { lines[lines.len().saturating_sub(20)..].join("\n") }
}
