//! What can be wrong with a configuration, told so that the reader can repair it.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// No policy came out of a configuration file.
#[derive(Debug)]
pub enum ConfigError {
    /// The file could not be read at all.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file was read and has at least one fault.
    Invalid {
        /// The file.
        file: PathBuf,
        /// In the order of the file.
        faults: Vec<Fault>,
    },
}

/// One fault of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// Such as `service.ports`; empty where the text is not TOML.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub next_step: String,
    /// The line as written and how many characters of it are meant.
    #[serde(skip)]
    excerpt: (String, usize),
}

impl ConfigError {
    /// As a list for scripts; a file that cannot be read at all is one fault on line 1.
    pub fn faults(&self) -> Vec<Fault> {
        match self {
            Self::Invalid { faults, .. } => faults.clone(),
            Self::Unreadable { error, .. } => vec![Fault {
                line: 1,
                column: 1,
                key: String::new(),
                problem: error.to_string(),
                next_step: next_step(error).to_owned(),
                excerpt: (String::new(), 0),
            }],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, error } => {
                write!(f, "{}: cannot be read: {error}\n  next: {}", file.display(), next_step(error))
            }
            Self::Invalid { file, faults } => {
                for (nth, fault) in faults.iter().enumerate() {
                    let gap = if nth == 0 { "" } else { "\n\n" };
                    write!(f, "{gap}{}:{fault}", file.display())?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // `Unreadable` prints its cause itself: a chain printer would say it twice.
        None
    }
}

fn next_step(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the path; without --config the built-in defaults apply",
        io::ErrorKind::PermissionDenied => "run as root, or make the file readable for this user",
        io::ErrorKind::InvalidData => "save the file as UTF-8 text",
        _ => "check that the path names a readable text file",
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, key, problem, next_step, excerpt: (text, width) } = self;
        let colon = if key.is_empty() { "" } else { ": " };
        let gutter = line.to_string().len() + 2;
        let indent = column - 1;
        writeln!(f, "{line}:{column}: {key}{colon}{problem}")?;
        writeln!(f, "  {line} | {text}")?;
        writeln!(f, "{:gutter$} | {:indent$}{}", "", "", "^".repeat(*width))?;
        write!(f, "  next: {next_step}")
    }
}

/// How many faults are told. In a file that is no configuration every byte may be one, and each shows its line.
const MOST_TOLD: usize = 100;

struct Finding {
    span: Range<usize>,
    key: String,
    problem: String,
    next_step: String,
}

/// Collects faults while a file is read. Shared by every reader, hence the `RefCell`.
#[derive(Default)]
pub(super) struct Faults(RefCell<Vec<Finding>>);

impl Faults {
    pub(super) fn add(
        &self,
        span: Range<usize>,
        key: impl Into<String>,
        problem: impl Into<String>,
        next_step: impl Into<String>,
    ) {
        let (key, problem, next_step) = (key.into(), problem.into(), next_step.into());
        self.0.borrow_mut().push(Finding { span, key, problem, next_step });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(super) fn into_error(self, file: &Path, text: &str) -> ConfigError {
        let mut findings = self.0.into_inner();
        findings.sort_by_key(|finding| finding.span.start);
        let beyond = findings.len().saturating_sub(MOST_TOLD);
        if let Some(first) = findings.get_mut(MOST_TOLD) {
            first.key.clear();
            first.problem = format!("and {beyond} more faults from here on");
            "fix the ones above first".clone_into(&mut first.next_step);
            findings.truncate(MOST_TOLD + 1);
        }
        // Lines are counted on from the fault before: a generated file may have very many.
        let (mut line, mut counted) = (1, 0);
        let locate = |finding: Finding| {
            let start = text.floor_char_boundary(finding.span.start);
            line += text[counted..start].matches('\n').count();
            counted = start;
            finding.locate(text, line)
        };
        let faults = findings.into_iter().map(locate).collect();
        ConfigError::Invalid { file: file.to_owned(), faults }
    }
}

impl Finding {
    fn locate(self, text: &str, line_number: usize) -> Fault {
        let start = text.floor_char_boundary(self.span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let column = text[line_start..start].chars().count() + 1;
        let end = text.floor_char_boundary(self.span.end.min(line_start + line.len())).max(start);
        Fault {
            line: line_number,
            column,
            key: self.key,
            problem: self.problem,
            next_step: self.next_step,
            // A tab or a control character as written would push the caret aside.
            excerpt: (line.replace(char::is_control, " "), text[start..end].chars().count().max(1)),
        }
    }
}
