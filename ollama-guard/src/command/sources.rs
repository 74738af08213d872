//! `ollama-guard sources`: who sent packets to the guarded ports.

use std::io::{self, IsTerminal};
use std::path::Path;

use super::look::look;
use super::output::{Document, print, print_json};
use super::{config_file, load_to_look};
use crate::cli::SourcesArgs;
use crate::exit::Exit;
use crate::observe::{json, sources as table};

/// Sources on a terminal, unless it is said how many.
const SCREENFUL: u32 = 20;

/// Prints every source, or the first of them.
pub(super) fn sources(file: Option<&Path>, args: &SourcesArgs) -> anyhow::Result<Exit> {
    let mut snapshot = look(&load_to_look(file).paths, &config_file(file))?;
    let screen = !args.json && !args.all && io::stdout().is_terminal();
    let top = args.top.or(screen.then_some(SCREENFUL)).and_then(|top| usize::try_from(top).ok());
    snapshot.rank_sources(top);
    if args.json {
        print_json(&json::Sources::from(&snapshot), Document::Pretty)?;
    } else {
        let mut screen = String::new();
        table::write(&mut screen, &snapshot)?;
        print(&screen)?;
    }
    Ok(Exit::Fine)
}
