//! The configuration file: text → [`Policy`]. Parsed, not validated: whatever leaves this module is sound.
//!
//! Every key is optional. All faults of a file are found in one pass and reported together, each with its
//! line, its key, what is wrong and what to write instead; a file with a fault yields no policy at all, so that
//! whatever was in force stays.

mod allows;
mod defaults;
mod error;
mod file;
mod interfaces;
mod limits;
pub mod lockout;
mod metrics;
mod paths;
mod read;
mod section;
mod services;
mod syntax;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use toml::de::DeTable;

pub use error::{ConfigError, Fault};
pub use file::File;

use crate::policy::{Paths, Policy, Profile};
use error::Faults;
use section::Section;
pub(crate) use section::closest;

/// Read when no `--config` is given. May be missing: the defaults then apply.
pub const DEFAULT_PATH: &str = "/etc/ollama-guard/config.toml";

/// The file that is meant: what somebody typed, else [`DEFAULT_PATH`].
pub fn or_default(path: Option<&Path>) -> &Path {
    path.unwrap_or(Path::new(DEFAULT_PATH))
}

/// The policy of the file at `path`, or of [`DEFAULT_PATH`] if none is given.
pub fn load(path: Option<&Path>) -> Result<Policy, ConfigError> {
    read_text(path)?.map_or_else(|| Ok(built_in()), |text| parse(or_default(path), &text))
}

/// What the file says; `None` if it may be missing and is.
fn read_text(path: Option<&Path>) -> Result<Option<String>, ConfigError> {
    let file = or_default(path);
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        // Only the default path may be missing: a path that someone typed is a file they meant.
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_none() => Ok(None),
        Err(error) => Err(ConfigError::Unreadable { file: file.to_owned(), error }),
    }
}

/// The policy that `text` describes. `file` is only named in errors.
pub fn parse(file: &Path, text: &str) -> Result<Policy, ConfigError> {
    let faults = Faults::default();
    let (table, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        // What the parser recovered around a syntax error would only yield follow-on faults.
        for syntax::Fault { span, problem, next_step } in syntax::faults(&syntax, text) {
            faults.add(span, "", problem, next_step);
        }
        return Err(faults.into_error(file, text));
    }
    let policy = read::policy(Section::root(table.get_ref(), &faults));
    if faults.is_empty() { Ok(policy) } else { Err(faults.into_error(file, text)) }
}

/// A fault of what a key stands for, told where the file has that key.
pub fn fault_at(file: &Path, key: &[&str], problem: &str, next_step: &str) -> ConfigError {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let (table, _) = DeTable::parse_recoverable(&text);
    let (last, sections) = key.split_last().unwrap_or((&"", &[]));
    let mut inner = Some(table.get_ref());
    for section in sections {
        inner = inner.and_then(|table| table.get(*section)).and_then(|value| value.get_ref().as_table());
    }
    let place = inner.and_then(|table| table.get(*last)).map_or(0..0, toml::Spanned::span);
    let faults = Faults::default();
    faults.add(place, key.join("."), problem, next_step);
    faults.into_error(file, &text)
}

/// The directories that a file names, whatever else is wrong with it: what it put in force is still there.
pub fn paths(path: Option<&Path>) -> Paths {
    paths_in(&std::fs::read_to_string(or_default(path)).unwrap_or_default())
}

/// The parser may not find its way back from a fault: then it begins anew at a table's header, the last one that leads to
/// the paths.
fn paths_in(text: &str) -> Paths {
    let is_broken = !DeTable::parse_recoverable(text).1.is_empty();
    let headers = text.match_indices('[').map(|(at, _)| at).filter(|at| is_first_in_its_line(text, *at));
    let mut starts = headers.rev().filter(|_| is_broken).chain([0]);
    starts.find_map(|at| text.get(at..).and_then(read_paths)).unwrap_or_else(|| built_in().paths)
}

fn is_first_in_its_line(text: &str, at: usize) -> bool {
    text[..at].chars().rev().take_while(|before| *before != '\n').all(char::is_whitespace)
}

/// What the table of paths says as far as it is sound, if there is one.
fn read_paths(text: &str) -> Option<Paths> {
    let (table, _) = DeTable::parse_recoverable(text);
    let (faults, mut paths) = (Faults::default(), built_in().paths);
    let section = Section::root(table.get_ref(), &faults).take("paths")?.table()?;
    paths::read(section, &mut paths);
    Some(paths)
}

/// The policy in force when there is no configuration file.
pub fn built_in() -> Policy {
    defaults::policy(Profile::default())
}
