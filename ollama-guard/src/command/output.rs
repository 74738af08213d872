//! Writing to standard output as a good citizen of a pipe.

use std::io::{self, Write};

/// Prints `text`. A reader that went away early (`ollama-guard status | head -1`) is not a failure.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
