//! The guard that runs already, if one does.

use anyhow::{Context as _, Result, bail};
use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// Where the guard reads its configuration when it is told no other place.
const CONFIG: &str = "/etc/ollama-guard/config.toml";
const RUN_DIR: &str = "/run/ollama-guard";
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

/// The file that a running guard holds locked, with its process id inside.
pub(crate) struct Lock(PathBuf);

impl Lock {
    /// The lock of a guard started with these options.
    pub(crate) fn of(arguments: &[OsString]) -> Self {
        let config = config_path(arguments).unwrap_or_else(|| CONFIG.into());
        let text = fs::read_to_string(config).unwrap_or_default(); // the guard itself says what is wrong with it
        Self(run_dir(&text).map_or_else(|| RUN_DIR.into(), PathBuf::from).join("ollama-guard.lock"))
    }

    /// Who holds it. Asks the lock, not the process table: a name there proves nothing.
    pub(crate) fn holder(&self) -> Result<Option<Running>> {
        let path = self.0.display();
        let file = match File::open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
        };
        match file.try_lock_shared() {
            Ok(()) => return Ok(None), // free again when the file closes
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot test the lock on {path}"));
            }
        }
        let text = fs::read_to_string(&self.0).with_context(|| format!("cannot read {path}"))?;
        match text.trim() {
            "" => Ok(None), // locked, not yet written: it is just starting
            text => match text.parse() {
                Ok(pid) => Ok(Some(Running { pid })),
                Err(_) => bail!("{path} is held, but holds no process id: {text:?}"),
            },
        }
    }
}

/// The value of `--config`, in either spelling.
fn config_path(arguments: &[OsString]) -> Option<PathBuf> {
    let joined = arguments.iter().find_map(|word| word.to_str()?.strip_prefix("--config="));
    let next = || arguments.iter().skip_while(|word| *word != "--config").nth(1).map(PathBuf::from);
    joined.map(PathBuf::from).or_else(next)
}

/// `run` of the section `[paths]`.
fn run_dir(config: &str) -> Option<&str> {
    let paths = config.lines().map(str::trim).skip_while(|line| *line != "[paths]").skip(1);
    paths.take_while(|line| !line.starts_with('[')).find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "run").then(|| value.split('"').nth(1)).flatten()
    })
}

impl Running {
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
                bail!(
                    "process {pid} did not end within {} s; look at its log, then end it by hand",
                    STOP_LIMIT.as_secs()
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_lies_where_the_configuration_says() {
        assert_eq!(run_dir("mode = \"enforce\"\n[paths]\nbpf = \"/b\"\nrun = \"/r\" # here\n"), Some("/r"));
        assert_eq!(run_dir("run = \"/not/this\"\n[paths]\n[metrics]\nrun = \"/nor/this\"\n"), None);
    }

    #[test]
    fn the_configuration_is_named_in_either_spelling() {
        let path = |words: &[&str]| config_path(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(path(&["--config", "/a"]), Some("/a".into()));
        assert_eq!(path(&["--config=/a"]), Some("/a".into()));
        assert_eq!(path(&["--quiet"]), None);
    }

    #[test]
    fn a_lock_that_nobody_holds_has_no_holder() -> Result<()> {
        let path = std::env::temp_dir().join(format!("xtask-lock-{}", std::process::id()));
        let lock = Lock(path.clone());
        assert!(lock.holder()?.is_none(), "absent");
        fs::write(&path, "4711\n")?;
        assert!(lock.holder()?.is_none(), "left behind");
        let held = File::open(&path)?;
        held.lock()?;
        assert_eq!(lock.holder()?.map(|running| running.pid), Some(4711));
        fs::remove_file(&path)?;
        Ok(())
    }
}
