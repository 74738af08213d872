//! What the terminal takes: its width, and colors by meaning.

use std::borrow::Cow;
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
    /// For standard output as it is now: nothing fancy unless it is a terminal that [`takes_color`].
    pub fn of_stdout() -> Self {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return Self::default();
        }
        let width = terminal_size::terminal_size_of(&stdout).map(|(width, _)| usize::from(width.0));
        Self { width, color: takes_color() }
    }

    /// The text in a tone, or plain where colors are not wanted.
    pub fn tone<'a>(&self, text: &'a str, tone: Option<Tone>) -> impl fmt::Display + use<'a> {
        Toned { text, tone: tone.filter(|_| self.color) }
    }
}

/// Are colors wanted on a terminal? Not if `NO_COLOR` is set and not empty (no-color.org) or the terminal is dumb.
pub fn takes_color() -> bool {
    let set = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    !set && !dumb
}

/// The text as the locale can show it: in ASCII where a locale is set that is not UTF-8.
pub fn localized(text: &str) -> Cow<'_, str> {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
    if locale.is_none_or(|locale| is_utf8(&locale.to_string_lossy())) { text.into() } else { ascii(text).into() }
}

/// Names of locales: `de_DE.UTF-8`, `C.utf8` (setlocale(3)).
fn is_utf8(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Nothing but ASCII. What stands in a table keeps its width.
fn ascii(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '→' => plain.push_str("->"),
            '…' => plain.push_str("..."),
            '·' | '–' | '—' => plain.push('-'),
            '’' | '‘' => plain.push('\''),
            '“' | '”' => plain.push('"'),
            other if other.is_ascii() => plain.push(other),
            _ => plain.push('?'),
        }
    }
    plain
}

/// The colors in use, by meaning. Nothing but meaning is colored.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_without_unicode_gets_ascii() {
        assert!(["C.UTF-8", "de_DE.utf8", "en_US.UTF-8@x"].into_iter().all(is_utf8));
        assert!(!["C", "POSIX", "de_DE.ISO-8859-1", "ja_JP.eucJP"].into_iter().any(is_utf8));
        assert_eq!(ascii("eth0 · 10.0.0.1 → [::1]:9 … é"), "eth0 - 10.0.0.1 -> [::1]:9 ... ?");
    }
}
