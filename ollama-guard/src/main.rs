//! The program: exit codes only. clap exits with 2 by itself on wrong usage.

use std::process::ExitCode;

use ollama_guard::cli::Cli;
use ollama_guard::command;
use ollama_guard::exit::{Exit, in_words};

fn main() -> ExitCode {
    let exit = command::run(&Cli::read()).unwrap_or_else(|error| {
        eprintln!("ollama-guard: {}", in_words(&error));
        Exit::Failed
    });
    exit.into()
}
