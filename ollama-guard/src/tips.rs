//! Unknown commands that are other programs' words for ours. Apart from [`crate::cli`], which also stands in `xtask`.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use crate::cli::Cli;
use crate::init::Init;

impl Cli {
    /// Reads the program's arguments; ends the program where they are wrong, or ask for help.
    pub fn read() -> Self {
        Self::try_parse().unwrap_or_else(|error| with_tip(error, Init::here()).exit())
    }
}

/// What people type who know other programs, and what does that here.
fn tip(word: &str, init: Init) -> Option<String> {
    let start = match init {
        Init::Systemd => format!("; as a service: {}", init.start()),
        Init::Other => String::new(),
    };
    Some(match word {
        "start" | "up" | "on" | "enable" => format!("to guard: ollama-guard run{start}"),
        "stop" | "off" | "disable" | "remove" => {
            format!("to open the port: ollama-guard down; to stop the daemon and keep the port closed: {}", init.stop())
        }
        "restart" => "to apply a changed configuration: sudo ollama-guard reload".to_owned(),
        "list" | "ls" | "show" | "ps" => {
            "for interfaces: ollama-guard status; for who sent packets: ollama-guard sources".to_owned()
        }
        "log" | "logs" => {
            format!("to see drops as they happen: ollama-guard events; of the daemon, see {}", init.log())
        }
        "top" | "watch" => {
            "to keep watching: ollama-guard status --watch; for the heaviest sources: ollama-guard sources".to_owned()
        }
        "test" | "validate" | "config" => "to check the configuration and explain it: ollama-guard check".to_owned(),
        _ => return None,
    })
}

/// An unknown command that is another program's word for one of ours is told ours.
fn with_tip(error: clap::Error, init: Init) -> clap::Error {
    let word = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) => word.clone(),
        _ => return error,
    };
    tip(&word, init).map_or(error, |tip| {
        let words = format!("unrecognized subcommand '{word}'\n\n  tip: {tip}");
        Cli::command().error(ErrorKind::InvalidSubcommand, words)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_programs_words_get_a_tip() {
        for (word, tip) in [
            ("start", "ollama-guard run"),
            ("up", "ollama-guard run"),
            ("stop", "ollama-guard down"),
            ("list", "ollama-guard sources"),
            ("log", "ollama-guard events"),
            ("top", "ollama-guard status --watch"),
        ] {
            let error = with_tip(Cli::try_parse_from(["ollama-guard", word]).unwrap_err(), Init::Systemd);
            let said = error.to_string();
            assert!(said.contains("\n  tip: ") && said.contains(tip) && said.contains("Usage:"), "{said}");
            assert!(!said.contains("similar"), "one tip, not two: {said}");
            assert_eq!(error.exit_code(), 2);
        }
        let misspelt =
            with_tip(Cli::try_parse_from(["ollama-guard", "stauts"]).unwrap_err(), Init::Systemd).to_string();
        assert!(misspelt.contains("'status'"), "{misspelt}");
    }
}
