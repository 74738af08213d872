//! Where the real programs are: `cargo xtask setup --real` builds them into the user's cache.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Set to use another folder than the cache.
const OVERRIDE: &str = "OLLAMA_GUARD_REAL";

/// The folder of the real parts, complete.
#[derive(Debug, Clone)]
pub struct Parts {
    folder: PathBuf,
}

impl Parts {
    /// Finds them; an error says how to get them.
    pub fn find() -> Result<Self> {
        let parts = Self { folder: folder()? };
        for name in ["ollama", "tailscaled", "tailscale", "control"] {
            ensure_exists(&parts.program(name))?;
        }
        ensure_exists(&parts.python())?;
        Ok(parts)
    }

    /// One of the programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// The Python that has the official client and the model writer's library.
    pub fn python(&self) -> PathBuf {
        self.folder.join("venv/bin/python")
    }
}

fn ensure_exists(file: &Path) -> Result<()> {
    ensure!(file.exists(), "needs {}: cargo xtask setup --real", file.display());
    Ok(())
}

/// A script of the suites, in the source tree.
pub(super) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("real").join(name)
}

/// A path as an argument.
pub(super) fn utf8(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

fn folder() -> Result<PathBuf> {
    if let Some(folder) = env::var_os(OVERRIDE) {
        return Ok(folder.into());
    }
    let cache = match env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(cache.join("ollama-guard/real/current"))
}
