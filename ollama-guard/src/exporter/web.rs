//! Encryption and passwords of the metrics, as a file in the format of Prometheus' exporter-toolkit says.
//!
//! The file, and the certificates it names, are looked at before every connection, so that a renewed certificate is used
//! without a reload. A faulty file never opens the metrics to more people: the sound one before it stays in force, and
//! without one nothing is served.

mod file;
mod tls;
mod users;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::TlsAcceptor;

pub use file::{Asks, WebError, check};
pub(super) use users::Users;

/// What is asked of whoever connects.
#[derive(Clone, Default)]
pub(super) struct Web {
    /// Encryption; none for plain HTTP.
    pub(super) tls: Option<TlsAcceptor>,
    /// Who may read; none if everybody may.
    pub(super) users: Option<Arc<Users>>,
}

/// The file in force.
pub(super) struct Keeper {
    path: PathBuf,
    web: Web,
    /// When what was read was written.
    stamps: Vec<(PathBuf, Option<SystemTime>)>,
}

impl Keeper {
    /// Reads the file for the first time.
    pub(super) fn open(path: &Path) -> Result<Self, WebError> {
        let read = file::read(path)?;
        let stamps = stamps(&read.files);
        Ok(Self { path: path.to_owned(), web: read.web()?, stamps })
    }

    /// What was read last.
    pub(super) const fn web(&self) -> &Web {
        &self.web
    }

    /// What is in force. The second value is told once, when a changed file is read.
    pub(super) fn current(&mut self) -> (Web, Option<Result<(), WebError>>) {
        let files: Vec<PathBuf> = self.stamps.iter().map(|(file, _)| file.clone()).collect();
        let now = stamps(&files);
        if now == self.stamps {
            return (self.web.clone(), None);
        }
        // Whatever comes of it: not again before the next change.
        self.stamps = now;
        let result = Self::open(&self.path).map(|fresh| {
            *self = fresh;
        });
        (self.web.clone(), Some(result))
    }
}

fn stamps(files: &[PathBuf]) -> Vec<(PathBuf, Option<SystemTime>)> {
    let modified = |file: &PathBuf| std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
    files.iter().map(|file| (file.clone(), modified(file))).collect()
}

/// What fuzzing feeds: the bytes as the file, and as what a request says of who asks and what for. All else of a request
/// is hyper's to read.
///
/// # Panics
///
/// If a fault is not told where it is.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    users::credentials(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = crate::observe::metrics::Format::accepted(text);
    if let Err(error) = file::parse(Path::new("/web.yml"), text) {
        let words = error.to_string();
        assert!(words.starts_with("/web.yml:") && words.len() < 50_000 + 10 * text.len(), "{words}");
    }
}
