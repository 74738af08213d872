//! Runs other programs, shows what it runs, and knows where it is.

use anyhow::{Context as _, Result, bail};
use std::{
    env,
    ffi::OsStr,
    fs,
    io::IsTerminal as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Prints the command and runs it; anything but success is an error that names it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    finish(command, None)
}

/// As [`run`], but ends the command when it takes longer than `limit`: a machine without network must not hang.
pub(crate) fn run_within(limit: Duration, command: &mut Command) -> Result<()> {
    finish(command, Some(limit))
}

/// Does it succeed? Prints nothing.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// As [`succeeds`], with a limit.
pub(crate) fn succeeds_within(limit: Duration, command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.spawn().is_ok_and(|mut child| matches!(wait(&mut child, limit), Ok(Some(true))))
}

/// The command with root's rights: as it is for root, through sudo for others.
///
/// sudo may ask for a password on a terminal; without one it fails at once.
pub(crate) fn root(program: impl AsRef<OsStr>) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    if !std::io::stdin().is_terminal() {
        sudo.arg("--non-interactive");
    }
    sudo.arg("--preserve-env").arg(program);
    sudo
}

/// Is this process root?
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|owner| owner.uid() == 0)
}

/// The cargo that runs us.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).arg(subcommand);
    cargo
}

/// The workspace's root.
pub(crate) fn workspace() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map(Path::to_owned).unwrap_or(package)
}

/// The folder cargo builds into. We lie in it ourselves, which holds wherever a configuration puts it.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let own = env::current_exe().context("cannot tell where this program lies")?;
    let target = own.parent().and_then(Path::parent);
    target.map(Path::to_owned).with_context(|| format!("{} lies in no target folder", own.display()))
}

/// A program of this name, also where only root's `PATH` leads.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let roots = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(roots).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn finish(command: &mut Command, limit: Option<Duration>) -> Result<()> {
    let line = describe(command);
    eprintln!("$ {line}");
    let mut child = command.spawn().with_context(|| format!("cannot start `{line}`"))?;
    let success = match limit {
        Some(limit) => wait(&mut child, limit)?.with_context(|| format!("`{line}` took over {} s", limit.as_secs()))?,
        None => child.wait()?.success(),
    };
    if !success {
        bail!("`{line}` failed");
    }
    Ok(())
}

/// Whether the child succeeded, or `None` when it had to be ended.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<bool>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    let words = [name].into_iter().chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
