//! `ollama-guard metrics`: the metrics once, for the textfile collector of `node_exporter`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::look::look;
use super::output::print;
use super::{config_file, load_to_look};
use crate::cli::MetricsArgs;
use crate::exit::Exit;
use crate::observe::metrics::{self, Format};

/// Prints them, or replaces a file by them.
pub(super) fn metrics(file: Option<&Path>, args: &MetricsArgs) -> anyhow::Result<Exit> {
    let snapshot = look(&load_to_look(file).paths, &config_file(file))?;
    let text = metrics::write(&snapshot, None, None, Format::Prometheus)?;
    match &args.textfile {
        None => print(&text)?,
        Some(target) => {
            replace(target, &text).with_context(|| format!("cannot write the metrics to {}", target.display()))?;
        }
    }
    Ok(Exit::Fine)
}

/// A reader sees the old content or the new, never a part: the new file is renamed over the old one.
fn replace(target: &Path, text: &str) -> anyhow::Result<()> {
    let name = target.file_name().context("it names no file")?;
    // Not *.prom, so that the collector does not read it. One of a run that was killed may be there.
    let fresh: PathBuf = target.with_file_name(format!(".{}.new", name.to_string_lossy()));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let written = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&fresh, target)
    };
    written().inspect_err(|_| drop(fs::remove_file(&fresh))).context("is the directory there, and may you write to it?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_replaced_and_nothing_else_is_left() {
        let folder = std::env::temp_dir().join(format!("og-textfile-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let target = folder.join("ollama_guard.prom");
        for text in ["one\n", "two\n"] {
            fs::write(folder.join(".ollama_guard.prom.new"), "left by a run that was killed").unwrap();
            replace(&target, text).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), text);
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
        assert!(replace(&target, "").is_err() && replace(Path::new("/"), "").is_err());
    }
}
