//! Writing to standard output as a good citizen of a pipe.

use std::io::{self, Write};

use anyhow::Context as _;
use serde::Serialize;

use crate::observe::terminal::localized;

/// How a JSON document is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// For people, too.
    Pretty,
    /// One line: a stream of documents.
    Line,
}

/// Prints `text`. A reader that went away early (`ollama-guard status | head -1`) is not a failure.
pub fn print(text: &str) -> anyhow::Result<()> {
    write(&localized(text))
}

fn write(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output: is the disk full, or the pipe closed?"),
    }
}

/// Prints a document and a newline.
pub fn print_json(document: &impl Serialize, layout: Document) -> anyhow::Result<()> {
    let text = match layout {
        Document::Pretty => serde_json::to_string_pretty(document),
        Document::Line => serde_json::to_string(document),
    };
    write(&(text.context("a document cannot be written as JSON; please report this")? + "\n"))
}
