//! `ollama-guard status`: what is guarded, how, and what was dropped.

use std::io::IsTerminal;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::look::look;
use super::output::{Document, print, print_json};
use super::{config_file, load_to_look};
use crate::cli::StatusArgs;
use crate::clock;
use crate::exit::Exit;
use crate::observe::enforcement::enforcement;
use crate::observe::json;
use crate::observe::snapshot::Snapshot;
use crate::observe::table::{self, Earlier, Options};
use crate::observe::terminal::Style;

/// Sources in the document; `sources --json` has them all.
const TOP: usize = 100;
/// ECMA-48: cursor home, erase the rest of the screen.
const REDRAW: &str = "\x1b[H\x1b[J";

/// Prints the state once, or again and again with rates.
pub(super) fn status(file: Option<&Path>, args: &StatusArgs) -> anyhow::Result<Exit> {
    let paths = load_to_look(file).paths;
    let config = config_file(file);
    let mut earlier: Option<(Snapshot, Duration)> = None;
    loop {
        let mut snapshot = look(&paths, &config)?;
        snapshot.rank_sources(Some(TOP));
        let taken = clock::boot();
        let exit = if enforcement(&snapshot).is_full() { Exit::Fine } else { Exit::NotEnforcing };
        match (args.quiet, args.json, args.watch) {
            (true, ..) => {}
            (_, true, None) => print_json(&json::Status::from(&snapshot), Document::Pretty)?,
            (_, true, Some(_)) => print_json(&json::Status::from(&snapshot), Document::Line)?,
            (_, false, watch) => {
                let earlier =
                    earlier.as_ref().map(|(snapshot, at)| Earlier { snapshot, elapsed: taken.saturating_sub(*at) });
                let mut screen = String::new();
                if watch.is_some() && std::io::stdout().is_terminal() {
                    screen.push_str(REDRAW);
                }
                let options = Options { all: args.all, style: Style::of_stdout() };
                table::write(&mut screen, &snapshot, earlier, options)?;
                print(&screen)?;
            }
        }
        let Some(period) = args.watch else { return Ok(exit) };
        earlier = Some((snapshot, taken));
        sleep(period);
    }
}
