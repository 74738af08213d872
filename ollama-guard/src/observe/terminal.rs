//! What the terminal takes: its width, and colours by meaning.

use std::fmt;
use std::io::{self, IsTerminal};

/// How to draw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Characters a line may have; none if nobody counts, as in a pipe.
    pub width: Option<usize>,
    /// May escape codes be written?
    pub color: bool,
}

impl Style {
    /// For standard output as it is now: nothing fancy unless it is a terminal; no colour if `NO_COLOR` is set
    /// and not empty (no-color.org) or the terminal is dumb.
    pub fn of_stdout() -> Self {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return Self::default();
        }
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let width = terminal_size::terminal_size_of(&stdout).map(|(width, _)| usize::from(width.0));
        Self { width, color: !set("NO_COLOR") && !dumb }
    }

    /// The text in a tone, or plain where colours are not wanted.
    pub fn tone<'a>(&self, text: &'a str, tone: Option<Tone>) -> impl fmt::Display + use<'a> {
        Toned { text, tone: tone.filter(|_| self.color) }
    }
}

/// The colours in use, by meaning. Nothing but meaning is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Needs attention.
    Warning,
    /// Not enforced.
    Bad,
    /// Less important.
    Faint,
}

struct Toned<'a> {
    text: &'a str,
    tone: Option<Tone>,
}

impl fmt::Display for Toned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // ECMA-48 SGR. Bold, because plain yellow vanishes on white.
        let code = match self.tone {
            None => return f.write_str(self.text),
            Some(Tone::Good) => "32",
            Some(Tone::Warning) => "1;33",
            Some(Tone::Bad) => "1;31",
            Some(Tone::Faint) => "2",
        };
        write!(f, "\x1b[{code}m{}\x1b[0m", self.text)
    }
}
