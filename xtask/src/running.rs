//! The guard that runs already, if one does.

use anyhow::{Context as _, Result, bail};
use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// Held by the running guard, and holds its process id.
const LOCK: &str = "/run/ollama-guard/ollama-guard.lock";
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A running guard.
pub(crate) struct Running {
    /// Its process id.
    pub(crate) pid: u32,
}

/// What to do about it.
pub(crate) enum Verdict {
    /// It is this very build.
    Same,
    /// It was installed by a package or a person; not ours to replace.
    Installed(PathBuf),
    /// It is another build.
    Older,
}

impl Running {
    /// Asks the lock, not the process table: a name there proves nothing.
    pub(crate) fn find() -> Result<Option<Self>> {
        let file = match File::open(LOCK) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {LOCK}")),
        };
        match file.try_lock_shared() {
            Ok(()) => return Ok(None), // free again when the file closes
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot test the lock on {LOCK}")),
        }
        let text = fs::read_to_string(LOCK).with_context(|| format!("cannot read {LOCK}"))?;
        match text.trim().parse() {
            Ok(pid) => Ok(Some(Self { pid })),
            Err(_) if text.trim().is_empty() => Ok(None), // locked, not yet written: it is just starting
            Err(_) => bail!("{LOCK} is held, but holds no process id: {text:?}"),
        }
    }

    /// Sets the running program against the built one.
    pub(crate) fn compare(&self, built: &Path) -> Result<Verdict> {
        let link = format!("/proc/{}/exe", self.pid);
        let running = fs::metadata(&link).with_context(|| format!("cannot look at {link}"))?;
        let ours = fs::metadata(built).with_context(|| format!("cannot look at {}", built.display()))?;
        // The link leads to the file that was started, even when a build has since put another in its place.
        if (running.dev(), running.ino()) == (ours.dev(), ours.ino()) {
            return Ok(Verdict::Same);
        }
        let path = fs::read_link(&link).with_context(|| format!("cannot read {link}"))?;
        let installed = ["/usr", "/opt"].iter().any(|root| path.starts_with(root)) && path != built;
        Ok(if installed { Verdict::Installed(path) } else { Verdict::Older })
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(&self) -> Result<()> {
        let pid = self.pid.to_string();
        crate::sh::run(Command::new("kill").args(["-TERM", &pid]))?;
        let asked = Instant::now();
        while Path::new("/proc").join(&pid).exists() {
            if asked.elapsed() > STOP_LIMIT {
                bail!("process {pid} did not end within {} s; look at its log, then end it by hand", STOP_LIMIT.as_secs());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}
